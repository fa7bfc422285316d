"""Run a model over samples and count how often it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation.intervals import wilson_interval


@dataclass(frozen=True)
class Evaluation:
    """A measured quality.

    Attributes:
        metric: Name of the metric.
        value: Percentage of the samples that are right.
        low: Lower bound of the 95 % Wilson interval, percent.
        high: Upper bound, percent.
        n: Number of samples.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, metric: str, correct: int, n: int) -> Evaluation:
        """The quality of ``correct`` right answers of ``n``."""
        low, high = wilson_interval(correct, n)
        return cls(metric, 100 * correct / n, 100 * low, 100 * high, n)


def _top1(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.argmax(1) == targets


def _top5(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.topk(min(5, logits.shape[1]), 1).indices == targets[:, None]).any(1)


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"top1": _top1, "top5": _top5}
"""Name -> function of logits ``(N, classes)`` and targets ``(N,)`` that marks the right ones."""


def evaluate(
    model: nn.Module,
    data: Any,
    metric: str = "top1",
    *,
    split: str = "test",
    batch_size: int = 250,
) -> Evaluation:
    """Measure a model, emulated or float, in evaluation mode.

    Args:
        model: Maps a batch of inputs to logits ``(N, classes)``; inputs are moved to its device.
        data: A data set with splits, one split, or an iterable of (inputs, targets).
        metric: "top1" or "top5", in percent.
        split: Which split of a data set to use: "train", "validation" or "test".
        batch_size: Samples at a time; emulated results do not depend on it.

    Raises:
        ArgumentError: If the metric, the split or the batch size breaks its rule.
        DatasetError: If there is no sample, or targets and outputs do not fit each other.
    """
    if metric not in METRICS:
        raise ArgumentError(f"`metric` must be one of {', '.join(METRICS)}, got {metric!r}.")
    is_right = METRICS[metric]
    correct = n = 0
    device = next((value.device for value in model.parameters()), torch.device("cpu"))
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            for inputs, targets in _batches(data, split, batch_size):
                logits, targets = model(inputs.to(device)), targets.to(device)
                _check(logits, targets)
                correct += int(is_right(logits, targets).sum())
                n += len(targets)
    finally:
        for module in training:
            module.training = True
    if n == 0:
        raise DatasetError("`data` holds no samples to evaluate on.")
    return Evaluation.of(metric, correct, n)


def _batches(data: Any, split: str, batch_size: int) -> Iterable[tuple[Tensor, Tensor]]:
    if batch_size < 1:
        raise ArgumentError(f"`batch_size` must be >= 1, got {batch_size}.")
    if hasattr(data, "test"):
        if split not in ("train", "validation", "test"):
            raise ArgumentError(f"`split` must be train, validation or test, got {split!r}.")
        data = getattr(data, split)
    if hasattr(data, "batches"):
        batches: Iterable[tuple[Tensor, Tensor]] = data.batches(batch_size)
        return batches
    return data  # type: ignore[no-any-return]


def _check(logits: Any, targets: Any) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(targets):
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DatasetError(
            f"the model must return logits (N, classes) for N={len(targets)} targets, got {shape}."
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < logits.shape[1]:
        raise DatasetError(
            f"targets must be in 0..{logits.shape[1] - 1} (the model has {logits.shape[1]} "
            f"outputs), got {int(targets.min())}..{int(targets.max())}."
        )
