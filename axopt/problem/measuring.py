"""What one pass of a candidate over samples tells: its qualities and its divergence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from axopt.data import Split
from axopt.errors import ArgumentError
from axopt.evaluation import BATCH_SIZE, Evaluation, Metric, OutputPart, References
from axopt.evaluation.quality import (
    Observer,
    evaluation_mode,
    evaluation_of,
    observe,
    observer_of,
)
from axopt.model import EmulatedModel, Memo
from axopt.model.adapter import device_of, moved
from axopt.problem.parts import PartwiseEvaluation, ValuesOf


@dataclass(frozen=True)
class Readings:
    """What was read of a model on some samples.

    Attributes:
        quality: Value of the metric of the task.
        samples: What that metric kept of each sample, ``(N, ...)``.
        divergences: Divergence of each sample from the reference, ``(N,)`` float64; None where
            nothing is compared.
        others: Name of another metric -> its value.
    """

    quality: Evaluation
    samples: Tensor
    divergences: Tensor | None
    others: Mapping[str, Evaluation]

    @property
    def divergence(self) -> float | None:
        """The mean divergence; None where nothing is compared."""
        return None if self.divergences is None else float(self.divergences.mean())


class Meter:
    """Reads metrics and divergence of the candidate that is applied, in one pass over samples.

    Args:
        emulated: The model; it has the candidate.
        metric: The metric of the task.
        others: Further metrics.
        parts: What the divergence compares; () for none.
        apply_reference: Puts the candidate into the model whose outputs are the reference.
        batch_size: Samples at a time.
    """

    def __init__(
        self,
        emulated: EmulatedModel,
        metric: Metric,
        parts: Sequence[OutputPart],
        apply_reference: Callable[[], object],
        *,
        others: Sequence[Metric] = (),
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._emulated = emulated
        self._metrics = (metric, *others)
        self._parts = parts
        self._apply_reference = apply_reference
        self._batch_size = batch_size
        self._known: dict[str, tuple[References, Split]] = {}

    def settle(self, split: Split) -> Split:
        """Run the reference on samples that it has not seen; the reference is applied then.

        Args:
            split: The samples.

        Returns:
            The samples; with the reference's outputs as targets if they have none and a metric
            compares with a reference.
        """
        if split.digest not in self._known:
            as_targets = not split.labelled and any(m.reference for m in self._metrics)
            references, labelled = References(self._parts), split
            if self._parts or as_targets:
                self._apply_reference()
                labelled = self._run_reference(split, references, as_targets)
            self._known[split.digest] = references, labelled
        return self._known[split.digest][1]

    def _run_reference(self, split: Split, references: References, as_targets: bool) -> Split:
        """Record the reference's outputs; return the samples, with them as targets if asked."""

        def record(outputs: Any, targets: Any, _: int | Tensor) -> Tensor:
            references.record(outputs)
            picked = self._emulated.adapter.pick(outputs)
            return picked.detach().cpu() if as_targets else torch.empty(len(targets), 0)

        try:
            (outputs,) = self._observe(split, [record])
        except ArgumentError as error:
            raise ArgumentError(
                f"{error} A divergence compares one tensor, or those of `divergence_outputs`; "
                "`objective`='error' searches on the metric alone."
            ) from error
        return Split(split.stored, outputs) if as_targets else split

    def read(self, split: Split) -> Readings:
        """Read the candidate that is applied.

        Args:
            split: Samples that were settled.
        """
        references, labelled = self._known[split.digest]
        return self.readings(self._observe(labelled, self._observers(references)))

    def read_each(
        self,
        split: Split,
        applies: Sequence[Callable[[], object]],
        memo: Memo,
        on_step: Callable[[int, int], object] | None = None,
    ) -> list[Readings]:
        """Read several candidates, batch by batch, so that they share activations.

        Args:
            split: Samples that were settled.
            applies: Each puts a candidate into the model.
            memo: Keeps the results of layers that candidates have in common. It is emptied after
                every batch.
            on_step: Called with the number of forward passes done and of all.
        """
        references, labelled = self._known[split.digest]
        observers = self._observers(references)
        kept: list[list[list[Tensor]]] = [[[] for _ in observers] for _ in applies]
        device, adapter = device_of(self._emulated), self._emulated.adapter
        first, done, passes = 0, 0, len(applies) * -(-len(split) // self._batch_size)
        with evaluation_mode(self._emulated), torch.no_grad():
            for inputs, targets in labelled.batches(self._batch_size):
                here, there = moved(inputs, device), moved(targets, device)
                for of_candidate, apply_ in zip(kept, applies, strict=True):
                    apply_()
                    memo.check(partial(adapter.call, self._emulated, here))
                    with memo.reusing(), memo.batch(b"%d" % first, len(targets)):
                        outputs = adapter.call(self._emulated, here)
                    for values, observer in zip(of_candidate, observers, strict=True):
                        values.append(observer(outputs, there, first))
                    done += 1
                    if on_step is not None:
                        on_step(done, passes)
                first += len(targets)
                memo.clear()
        return [self.readings([torch.cat(v) for v in of_candidate]) for of_candidate in kept]

    def partwise(self, split: Split, values_of: ValuesOf | None, memo: Memo) -> PartwiseEvaluation:
        """Return what evaluates several candidates at a time, on parts of the samples.

        Args:
            split: The samples; the reference runs on them if it has not.
            values_of: See `PartwiseEvaluation`.
            memo: Keeps the results of layers that candidates have in common.
        """
        labelled = self.settle(split)
        references, _ = self._known[split.digest]
        observers = self._observers(references)
        return PartwiseEvaluation(
            self._emulated, labelled, references, observers, values_of, memo, self._batch_size
        )

    def readings(self, kept: Sequence[Tensor]) -> Readings:
        """Return what follows from what the observers kept of all samples.

        Args:
            kept: One tensor an observer, in the stored order of the samples.
        """
        quality, *others = (
            evaluation_of(metric, samples)
            for metric, samples in zip(self._metrics, kept, strict=False)
        )
        divergences = kept[-1] if self._parts else None
        return Readings(quality, kept[0], divergences, {other.metric: other for other in others})

    def _observers(self, references: References) -> list[Observer]:
        observers = [observer_of(metric, self._emulated.adapter) for metric in self._metrics]
        if self._parts:
            observers.append(lambda outputs, _, first: references.divergences(outputs, first))
        return observers

    def _observe(self, split: Split, observers: Sequence[Observer]) -> list[Tensor]:
        batches = split.batches(self._batch_size)
        return observe(self._emulated, batches, self._emulated.adapter, observers)
