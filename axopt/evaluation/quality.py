"""Run a model over samples and measure how good its outputs are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation.metrics import Metric, OfSamples, as_metric

BATCH_SIZE = 64
"""Samples at a time by default.

Activations of more than 32 MB are memory that glibc gives back and asks for again in each layer,
every page of it new: 250 images at a time took MobileNetV2 of the zoo 2 to 3 times as long.
"""


@dataclass(frozen=True)
class Evaluation:
    """A measured quality.

    Attributes:
        metric: Name of the metric.
        value: The quality in the metric's unit, such as percent of the samples that are right.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        n: Number of samples.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int


class Measurement(NamedTuple):
    """A measured quality, and what the metric kept of each sample.

    Attributes:
        evaluation: The quality.
        samples: What the metric kept, ``(N, ...)``, on the CPU; see `paired_drop`.
    """

    evaluation: Evaluation
    samples: Tensor


def measure(
    model: nn.Module,
    data: Any,
    metric: str | Metric | OfSamples = "top1",
    *,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
) -> Measurement:
    """Measure a model as `evaluate` does, and keep the metric's numbers of each sample.

    Args:
        model: As for `evaluate`.
        data: As for `evaluate`.
        metric: As for `evaluate`.
        split: As for `evaluate`.
        batch_size: As for `evaluate`.

    Returns:
        The evaluation and the samples' numbers, which `paired_drop` compares.

    Raises:
        ArgumentError: As `evaluate`.
        DatasetError: As `evaluate`.

    Example:
        >>> logits = torch.eye(4)
        >>> evaluation, samples = measure(nn.Identity(), [(logits, torch.tensor([0, 1, 2, 0]))])
        >>> evaluation.value, samples.tolist()
        (75.0, [True, True, True, False])
    """
    chosen = as_metric(metric, directed=False)
    kept: list[Tensor] = []
    device = next((value.device for value in model.parameters()), torch.device("cpu"))
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            for inputs, targets in _batches(data, split, batch_size):
                outputs, targets = model(inputs.to(device)), targets.to(device)
                kept.append(chosen.kept(outputs, targets))
    finally:
        for module in training:
            module.training = True
    if sum(map(len, kept)) == 0:
        raise DatasetError("`data` holds no samples to evaluate on.")
    samples = torch.cat(kept)
    evaluation = Evaluation(chosen.name, *chosen.with_interval(samples), len(samples))
    return Measurement(evaluation, samples)


def evaluate(
    model: nn.Module,
    data: Any,
    metric: str | Metric | OfSamples = "top1",
    *,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
) -> Evaluation:
    """Measure a model, emulated or float, in evaluation mode.

    Args:
        model: Maps a batch of inputs to logits ``(N, classes)``, or to what else the metric takes;
            inputs are moved to its device.
        data: A data set with splits, one split, or an iterable of (inputs, targets).
        metric: A name of `METRICS`, a `Metric`, or a function of outputs and targets that returns
            one number per sample, ``(N,)``, whose mean is the value.
        split: Which split of a data set to use: "train", "validation" or "test".
        batch_size: Samples at a time; emulated results do not depend on it.

    Returns:
        The value with its 95 % interval.

    Raises:
        ArgumentError: If the metric, the split or the batch size breaks its rule.
        DatasetError: If there is no sample, or targets and outputs do not fit each other.

    Example:
        >>> logits = torch.eye(4)
        >>> result = evaluate(nn.Identity(), [(logits, torch.tensor([0, 1, 2, 0]))])
        >>> print(f"{result.value} % of {result.n}, {result.low:.1f}..{result.high:.1f}")
        75.0 % of 4, 30.1..95.4
    """
    return measure(model, data, metric, split=split, batch_size=batch_size).evaluation


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
