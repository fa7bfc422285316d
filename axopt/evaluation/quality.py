"""Run a model over samples and measure how good its outputs are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation.metrics import METRICS

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


def evaluate(
    model: nn.Module,
    data: Any,
    metric: str = "top1",
    *,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
) -> Evaluation:
    """Measure a model, emulated or float, in evaluation mode.

    Args:
        model: Maps a batch of inputs to logits ``(N, classes)``, or to what else the metric takes;
            inputs are moved to its device.
        data: A data set with splits, one split, or an iterable of (inputs, targets).
        metric: A name of `METRICS`.
        split: Which split of a data set to use: "train", "validation" or "test".
        batch_size: Samples at a time; emulated results do not depend on it.

    Raises:
        ArgumentError: If the metric, the split or the batch size breaks its rule.
        DatasetError: If there is no sample, or targets and outputs do not fit each other.
    """
    if metric not in METRICS:
        raise ArgumentError(f"`metric` must be one of {', '.join(METRICS)}, got {metric!r}.")
    chosen = METRICS[metric]
    samples: list[Tensor] = []
    device = next((value.device for value in model.parameters()), torch.device("cpu"))
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            for inputs, targets in _batches(data, split, batch_size):
                outputs, targets = model(inputs.to(device)), targets.to(device)
                samples.append(chosen.of_samples(outputs, targets).cpu())
    finally:
        for module in training:
            module.training = True
    n = sum(map(len, samples))
    if n == 0:
        raise DatasetError("`data` holds no samples to evaluate on.")
    value, low, high = chosen.of_all(torch.cat(samples))
    return Evaluation(metric, value, low, high, n)


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
