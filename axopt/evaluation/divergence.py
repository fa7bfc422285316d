"""How far the outputs of a model are from those of a reference, sample by sample.

For classifiers this is the Kullback-Leibler divergence of the class probabilities. For any other
output it is the squared distance, relative to the mean square of the reference. Both are means
over samples, need no labels, and order assignments with small losses more surely than an accuracy
on the same samples does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation.checks import check_finite
from axopt.evaluation.metrics import Metric
from axopt.model import Adapter
from axopt.model.adapter import only_tensor


@dataclass(frozen=True)
class OutputPart:
    """One output of a model that a divergence compares.

    Attributes:
        path: Path of the output, see `Adapter`; None for models that return one tensor.
        weight: Factor of its divergence in the sum.
        logits: Whether it is logits ``(N, classes)``, compared by the Kullback-Leibler divergence.

    Example:
        >>> OutputPart("logits", 1.0, True).path
        'logits'
    """

    path: str | None
    weight: float
    logits: bool

    def of(self, outputs: Any) -> Tensor:
        """Return this output, ``(N, D)`` floats on the CPU.

        Args:
            outputs: All that the model returned.

        Raises:
            ArgumentError: If there is no such output.
            DatasetError: If it is no finite tensor of floats ``(N, ...)``.
        """
        tensor = only_tensor(Adapter(output=self.path).pick(outputs)).detach().cpu()
        if not tensor.is_floating_point() or tensor.ndim < 2:
            raise DatasetError(
                f"an output must be floats of shape (N, ...) for a divergence, got {tensor.dtype} "
                f"{tuple(tensor.shape)}."
            )
        check_finite(tensor)
        return tensor.flatten(1)


def parts_of_outputs(
    metric: Metric, adapter: Adapter, weights: Mapping[str, float] | None = None
) -> tuple[OutputPart, ...]:
    """Return what a divergence compares: the output that the metric reads, or those with weights.

    Args:
        metric: The metric of the task; the output that it reads as logits is compared as logits.
        adapter: How the model is called, with the path of that output.
        weights: Path of an output -> its weight, for several outputs.

    Returns:
        The parts.

    Raises:
        ArgumentError: If there is no weight, or one is not a positive number.

    Example:
        >>> from axopt.evaluation import as_metric
        >>> parts_of_outputs(as_metric("top1"), Adapter())
        (OutputPart(path=None, weight=1.0, logits=True),)
    """
    if weights is None:
        return (OutputPart(adapter.output, 1.0, metric.logits),)
    if not weights:
        raise ArgumentError("`divergence_outputs` must name at least one output, got none.")
    for path, weight in weights.items():
        if not (isinstance(weight, int | float) and 0 < weight < math.inf):
            raise ArgumentError(
                f"`divergence_outputs[{path!r}]` must be a positive number, got {weight!r}."
            )
    return tuple(
        OutputPart(path, float(weight), metric.logits and path == adapter.output)
        for path, weight in weights.items()
    )


@dataclass
class References:
    """Outputs of a reference model on some samples, and the divergences of others from them.

    Args:
        parts: What is compared.

    Example:
        >>> references = References((OutputPart(None, 1.0, True),))
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> references.record(logits)
        >>> references.divergences(logits, first=0).tolist()
        [0.0, 0.0]
        >>> f"{references.divergences(logits + torch.tensor([1.0, 0.0]), first=0).mean():.4f}"
        '0.0759'
    """

    parts: Sequence[OutputPart]
    _outputs: list[list[Tensor]] = field(default_factory=list)
    _joined: list[Tensor] = field(default_factory=list)
    _mean_squares: list[float] = field(default_factory=list)

    def record(self, outputs: Any) -> None:
        """Keep what the reference returned for the next samples.

        Args:
            outputs: All that it returned for a batch.

        Raises:
            DatasetError: As `OutputPart.of`.
        """
        self._outputs.append([part.of(outputs) for part in self.parts])
        self._joined = []

    def divergences(self, outputs: Any, first: int | Tensor) -> Tensor:
        """Return the divergence of each sample of a batch, ``(n,)`` float64.

        Args:
            outputs: All that a model returned for the batch.
            first: Number of its first sample among those of the reference, or the numbers of all
                its samples, ``(n,)`` int64.

        Raises:
            DatasetError: If the outputs are not of the reference's shapes, or as `OutputPart.of`.
        """
        self._join()
        total = torch.zeros(1, dtype=torch.float64)
        for part, references, square in zip(
            self.parts, self._joined, self._mean_squares, strict=True
        ):
            ours = part.of(outputs)
            if isinstance(first, int):
                theirs = references[first : first + len(ours)]
            else:
                theirs = references[first]
            if ours.shape != theirs.shape:
                raise DatasetError(
                    "outputs must have the shape of the reference's for a divergence, got "
                    f"{tuple(ours.shape)} and {tuple(theirs.shape)} values a sample."
                )
            if part.logits:
                values = _kullback_leibler(theirs.double(), ours.double())
            else:
                values = (ours.double() - theirs.double()).square().sum(1) / square
            total = total + part.weight * values
        return total

    def uncertainty(self) -> Tensor | None:
        """Return the entropy of the reference's class probabilities of each sample.

        Samples that the reference is less certain of diverge more.

        Returns:
            ``(N,)`` float64, the weighted sum over the parts that are logits; None if none is.
        """
        self._join()
        found = [
            part.weight * _entropy(outputs.double())
            for part, outputs in zip(self.parts, self._joined, strict=True)
            if part.logits
        ]
        return torch.stack(found).sum(0) if found else None

    def _join(self) -> None:
        if self._joined:
            return
        self._joined = [torch.cat(of_part) for of_part in zip(*self._outputs, strict=True)]
        self._outputs = [self._joined]
        self._mean_squares = [
            1.0 if part.logits else _mean_square(outputs)
            for part, outputs in zip(self.parts, self._joined, strict=True)
        ]


def _kullback_leibler(reference: Tensor, ours: Tensor) -> Tensor:
    """Return the divergence of class probabilities from those of the reference, in nats."""
    log_p, log_q = reference.log_softmax(1), ours.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1).clamp_min(0.0)  # rounding may go below 0


def _entropy(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


def _mean_square(references: Tensor) -> float:
    mean = float(references.double().square().sum(1).mean())
    if mean == 0:
        raise DatasetError("the reference's outputs must not all be zero.")
    return mean
