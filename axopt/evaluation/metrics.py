"""The metrics: what is kept of each sample, and what quality and interval follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from axopt.errors import DatasetError
from axopt.evaluation import generation
from axopt.evaluation.intervals import jackknife_interval, wilson_interval


@dataclass(frozen=True)
class Metric:
    """A way to measure a model.

    Attributes:
        name: What it is called in code and files.
        unit: "%", or "" for a plain number.
        higher_is_better: Whether larger values are better; these are percentages, at most 100.
            Others are at least 0, which is the best.
        logits: Whether outputs are logits ``(N, classes)`` and targets class numbers.
        reference: Whether targets are the outputs of another model, see `against`.
        of_samples: Outputs and targets of a batch -> what is kept of each sample, ``(N, ...)``.
        of_all: What was kept of all samples -> value and 95 % interval, (value, low, high).
    """

    name: str
    unit: str
    higher_is_better: bool
    logits: bool
    reference: bool
    of_samples: Callable[[Tensor, Tensor], Tensor]
    of_all: Callable[[Tensor], tuple[float, float, float]]

    @property
    def error_name(self) -> str:
        """Name of `error`."""
        return "error_pct" if self.higher_is_better else self.name

    def error(self, value: float) -> float:
        """What a search minimises: how much ``value`` falls short of the best one."""
        return 100 - value if self.higher_is_better else value


def _top1(logits: Tensor, targets: Tensor) -> Tensor:
    _check_logits(logits, targets)
    return logits.argmax(1) == targets


def _top5(logits: Tensor, targets: Tensor) -> Tensor:
    _check_logits(logits, targets)
    return (logits.topk(min(5, logits.shape[1]), 1).indices == targets[:, None]).any(1)


def _decisions(logits: Tensor, targets: Tensor) -> Tensor:
    """Predicted and true class, ``(N, 2)``."""
    _check_logits(logits, targets)
    return torch.stack([logits.argmax(1), targets], 1)


def _recognised(images: Tensor, digits: Tensor) -> Tensor:
    logits = generation.judge_logits(images)
    _check_logits(logits, digits)
    return logits.argmax(1) == digits


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Sums of squares of the difference and of the reference, ``(N, 2)`` float64."""
    _check_finite(outputs)
    if not targets.is_floating_point() or outputs.shape != targets.shape:
        raise DatasetError(
            "targets must be the outputs of a reference model, of the shape of the model's own "
            f"{list(outputs.shape)}, got {targets.dtype} {list(targets.shape)}."
        )
    outputs, targets = outputs.double().flatten(1), targets.double().flatten(1)
    return torch.stack([(outputs - targets).square().sum(1), targets.square().sum(1)], 1)


def _features(images: Tensor, _: Tensor) -> Tensor:
    _check_finite(images)
    return generation.judge_features(images)


def _percentage(right: Tensor) -> tuple[float, float, float]:
    successes, n = int(right.sum()), len(right)
    low, high = wilson_interval(successes, n)
    return 100 * successes / n, 100 * low, 100 * high


def macro_f1_pct(decisions: Tensor) -> float:
    """Mean over the classes of the harmonic mean of precision and recall, in percent.

    Args:
        decisions: Predicted and true class of each sample, ``(N, 2)``.

    Returns:
        The mean over all classes that are predicted or true anywhere.
    """
    predicted, true = decisions.T
    classes = int(decisions.max()) + 1
    right = torch.bincount(true[predicted == true], minlength=classes).double()
    total = torch.bincount(decisions.flatten(), minlength=classes)  # 2 TP + FP + FN
    present = total > 0
    return float(100 * (2 * right[present] / total[present]).mean())


def _f1(decisions: Tensor) -> tuple[float, float, float]:
    value, low, high = jackknife_interval(decisions, macro_f1_pct)
    return value, max(0.0, low), min(100.0, high)


def relative_rms_pct(squares: Tensor) -> float:
    """Root mean square of differences in percent of that of the reference.

    Args:
        squares: Sums of squares of each sample's difference and reference, ``(N, 2)``.

    Raises:
        DatasetError: If the reference is zero everywhere.
    """
    difference, reference = squares.sum(0).tolist()
    if reference == 0:
        raise DatasetError("the reference's outputs are all zero: nothing is relative to them.")
    return float(100 * (difference / reference) ** 0.5)


def _distance(squares: Tensor) -> tuple[float, float, float]:
    value, low, high = jackknife_interval(squares, relative_rms_pct)
    return value, max(0.0, low), high


def _frechet(features: Tensor) -> tuple[float, float, float]:
    value, low, high = jackknife_interval(features, generation.frechet_distance_to_real)
    return value, max(0.0, low), high


def _check_finite(outputs: Tensor) -> None:
    if not isinstance(outputs, Tensor) or not bool(outputs.isfinite().all()):
        raise DatasetError("the model must return finite numbers.")


def _check_logits(logits: Any, targets: Any) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(targets):
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DatasetError(
            f"the model must return logits (N, classes) for N={len(targets)} targets, got {shape}."
        )
    if targets.is_floating_point() or targets.ndim != 1:
        raise DatasetError(
            f"targets must be class numbers (N,), got {targets.dtype} {list(targets.shape)}."
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < logits.shape[1]:
        raise DatasetError(
            f"targets must be in 0..{logits.shape[1] - 1} (the model has {logits.shape[1]} "
            f"outputs), got {int(targets.min())}..{int(targets.max())}."
        )


_ALL = (
    Metric("top1", "%", True, True, False, _top1, _percentage),
    Metric("top5", "%", True, True, False, _top5, _percentage),
    Metric("f1", "%", True, True, False, _decisions, _f1),
    Metric("recognised", "%", True, False, False, _recognised, _percentage),
    Metric("frechet", "", False, False, False, _features, _frechet),
    Metric("distance", "%", False, False, True, _squares, _distance),
)

METRICS = {metric.name: metric for metric in _ALL}
"""The metrics by name.

* ``top1``, ``top5``, ``f1``: of classifiers.
* ``recognised``: digits that a classifier of the zoo sees in generated images as asked for.
* ``frechet``: distance of generated digits to real ones in that classifier's features.
* ``distance``: of any outputs to those of a reference, relative root mean square.
"""
