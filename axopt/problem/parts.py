"""Evaluations of several candidates at a time, on a growing number of samples.

All candidates run on a batch before the next batch, those with the same first layers one after
the other. So they share the results of these layers, with little memory.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from axopt.data import Split
from axopt.evaluation import References
from axopt.evaluation.quality import Observer, evaluation_mode
from axopt.exploration import Genes, Outcome, Partial
from axopt.exploration.staging import parts_of
from axopt.model import Adapter, EmulatedModel, Memo, Work
from axopt.model.adapter import device_of, moved
from axopt.problem.candidate import Candidate

_GOLDEN = 2654435769  # 2^32 / golden ratio: multiples spread evenly over 32 bits

ValuesOf = Callable[[Sequence[Tensor]], Tensor]
"""What the observers kept of some samples -> first objective of each sample, ``(n,)``."""


@dataclass
class Kept:
    """What an evaluation under way has of its candidate.

    Attributes:
        candidate: The candidate.
        observed: What each observer kept, one tensor a batch.
    """

    candidate: Candidate
    observed: list[list[Tensor]]


class PartwiseEvaluation:
    """Observes candidates on parts of the samples.

    Samples that the reference is least certain of come first: they diverge most, so the sum over
    the first samples soon shows that a candidate is worse than another one. Where the reference
    tells no certainty, samples are in an order like a random one.

    Args:
        emulated: The model.
        split: The samples.
        references: Outputs of the reference on these samples.
        observers: What is kept of every batch.
        values_of: First objective of each sample; None where it is no mean over samples, and all
            samples are one part.
        memo: Keeps the results of layers that candidates have in common.
        batch_size: Samples at a time.
    """

    def __init__(
        self,
        emulated: EmulatedModel,
        split: Split,
        references: References,
        observers: Sequence[Observer],
        values_of: ValuesOf | None,
        memo: Memo,
        batch_size: int,
    ) -> None:
        self._emulated = emulated
        self._split = split
        self._references = references
        self._observers = observers
        self._values_of = values_of
        self._memo = memo
        self._batch_size = batch_size
        self.parts = (len(split),) if values_of is None else parts_of(len(split))

    @property
    def work(self) -> Work:
        """How many results of layers were computed and reused so far."""
        return self._memo.work

    @property
    def shuffled(self) -> bool:
        """Whether the order of the samples is like a random one."""
        return self._uncertainty is None

    @cached_property
    def _uncertainty(self) -> Tensor | None:
        return None if self._values_of is None else self._references.uncertainty()

    @cached_property
    def order(self) -> Tensor:
        """Positions of the samples in the split, in the order of evaluation, ``(N,)`` int64."""
        if self._values_of is None:
            return torch.arange(len(self._split))
        if self._uncertainty is not None:
            return self._uncertainty.argsort(descending=True, stable=True)
        return (torch.arange(len(self._split)) * _GOLDEN % 2**32).argsort()

    def begin(self, genes: Genes, candidate: Candidate) -> Partial:
        """Return an evaluation that has no part yet.

        Args:
            genes: The point.
            candidate: What it stands for.
        """
        kept = Kept(candidate, [[] for _ in self._observers])
        return Partial(genes, state=kept, info={"sample_layers": 0})

    def extend(self, partials: Sequence[Partial], part: int) -> None:
        """Measure the samples of a part for some evaluations, see `SampledProblem`.

        Args:
            partials: Evaluations whose state is a `Kept`.
            part: Number of the part.
        """
        first = self.parts[part - 1] if part else 0
        n_before = [len(partial.state.observed[0]) for partial in partials]
        ordered = sorted(partials, key=lambda partial: partial.genes)
        with evaluation_mode(self._emulated), torch.no_grad(), self._memo.reusing():
            for start in range(first, self.parts[part], self._batch_size):
                stop = min(start + self._batch_size, self.parts[part])
                self._run_batch([one for one in ordered if one.goes_on], start, stop)
        if self._values_of is None:
            return
        for partial, n in zip(partials, n_before, strict=True):
            if partial.goes_on:
                new = [torch.cat(batches[n:]) for batches in partial.state.observed]
                partial.values.append(self._values_of(new).double().numpy())

    def _run_batch(self, partials: Sequence[Partial], start: int, stop: int) -> None:
        """Run all candidates on the samples ``start .. stop - 1`` of the order."""
        samples = self._split.select(self.order[start:stop])
        device = device_of(self._emulated)
        ((inputs, targets),) = samples.batches(stop - start)
        inputs, targets = moved(inputs, device), moved(targets, device)
        for partial in partials:
            began, before = time.monotonic(), self._memo.work.total
            try:
                partial.state.candidate.apply_(self._emulated)
                self._memo.check(lambda: self._adapter.call(self._emulated, inputs))
                with self._memo.batch(b"%d:%d" % (start, stop), stop - start):
                    outputs = self._adapter.call(self._emulated, inputs)
                for kept, observer in zip(partial.state.observed, self._observers, strict=True):
                    kept.append(observer(outputs, targets, self.order[start:stop]))
            except Exception as error:
                partial.fault = error
            partial.info["sample_layers"] += self._memo.work.total - before
            partial.seconds += time.monotonic() - began

    @property
    def _adapter(self) -> Adapter:
        return self._emulated.adapter

    def in_stored_order(self, partial: Partial) -> list[Tensor]:
        """Return what each observer kept of all samples, in the order of the split.

        Args:
            partial: An evaluation that had all parts.
        """
        inverse = self.order.argsort()
        return [torch.cat(batches)[inverse] for batches in partial.state.observed]


class EvaluatedByParts(ABC):
    """What makes a problem of candidates a `axopt.exploration.SampledProblem`."""

    @property
    @abstractmethod
    def _partwise(self) -> PartwiseEvaluation:
        """What observes the candidates."""

    @abstractmethod
    def candidate(self, genes: Genes) -> Candidate:
        """Settle what every layer gets."""

    @abstractmethod
    def outcome_of(self, candidate: Candidate, kept: Sequence[Tensor]) -> Outcome:
        """Return the outcome of a candidate from what was kept of all samples."""

    @property
    def work(self) -> Work:
        """How many results of layers evaluations computed and reused so far."""
        return self._partwise.work

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of samples after which an evaluation may stop; the last is of all."""
        return self._partwise.parts

    @property
    def shuffled(self) -> bool:
        """Whether the samples are in an order like a random one."""
        return self._partwise.shuffled

    def begin(self, genes: Genes) -> Partial:
        """Begin an evaluation, see `axopt.exploration.SampledProblem`.

        Args:
            genes: A point of the space.
        """
        return self._partwise.begin(genes, self.candidate(genes))

    def extend(self, partials: Sequence[Partial], part: int) -> None:
        """Measure the samples of a part for some points.

        Args:
            partials: Evaluations that had all earlier parts.
            part: Number of the part.
        """
        self._partwise.extend(partials, part)

    def finish(self, partial: Partial) -> Outcome:
        """Return the outcome of an evaluation that had all parts.

        Args:
            partial: The evaluation.
        """
        kept = self._partwise.in_stored_order(partial)
        outcome = self.outcome_of(partial.state.candidate, kept)
        return replace(outcome, info={**partial.info, **outcome.info})

    def evaluate(self, genes: Genes) -> Outcome:
        """Evaluate one point on all samples.

        Args:
            genes: A point of the space.
        """
        one = self.begin(genes)
        for part in range(len(self.parts)):
            self.extend([one], part)
            if one.fault is not None:
                raise one.fault
        return self.finish(one)
