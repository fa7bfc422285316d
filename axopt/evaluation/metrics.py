"""Metrics: what is kept of each sample, and which value and interval follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation.checks import check_logits
from axopt.evaluation.intervals import jackknife_interval, wilson_interval
from axopt.registry import Registry, blamed_on

OfSamples = Callable[[Any, Any], Tensor]
OfAll = Callable[[Tensor], float]
IntervalOf = Callable[[Tensor], tuple[float, float]]

TARGETS = ("any", "classes", "reference")
OUTPUTS = ("tensor", "logits", "anything")
INTERVALS = ("jackknife", "wilson")


def mean(samples: Tensor) -> float:
    """Return the mean of what was kept of the samples, ``(N,)``."""
    return float(samples.double().mean())


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A way to measure a model.

    A metric works in two steps. `of_samples` reduces a batch of outputs and targets to a few
    numbers per sample; these are kept. `of_all` turns the kept numbers of all samples into the
    value. Intervals and paired differences follow from the kept numbers.

    Attributes:
        name: Its name in code, on the command line and in files.
        of_samples: Outputs and targets of a batch -> tensor ``(N, ...)``, one row per sample.
        of_all: Kept numbers of all samples, ``(N, ...)`` -> value. Default: their mean, times 100
            where the unit is "%".
        title: Its name in tables and plots.
        unit: "%", another unit, or "" for a plain number.
        higher_is_better: Whether larger values are better.
        targets: "classes" (int64 class numbers ``(N,)``), "reference" (the outputs of a reference
            model, see `against`), or "any".
        outputs: "logits" (floats ``(N, classes)``, for which retraining uses cross entropy by
            default), "tensor", or "anything" (all that the model returns, such as a dictionary).
        interval: How the 95 % interval is computed: "jackknife", "wilson" (for kept booleans
            ``(N,)``, whose share is the value), a function of the kept numbers that returns the
            lower and upper bound, or None for no interval (both bounds equal the value).
        best: The best possible value. Default: 100 for a percentage where higher is better, 0
            where lower is better, None (unknown) otherwise.

    Raises:
        ArgumentError: If a field breaks its rule.

    Example:
        >>> error = Metric(
        ...     name="mae",
        ...     of_samples=lambda outputs, targets: (outputs - targets).abs().flatten(1).mean(1),
        ...     higher_is_better=False,
        ... )
        >>> error.value(torch.tensor([0.5, 1.5]))
        1.0
    """

    name: str
    of_samples: OfSamples
    of_all: OfAll | None = None
    title: str = ""
    unit: str = ""
    higher_is_better: bool
    targets: str = "any"
    outputs: str = "tensor"
    interval: str | IntervalOf | None = "jackknife"
    best: float | None = None

    def __post_init__(self) -> None:
        for field, allowed in (("targets", TARGETS), ("outputs", OUTPUTS)):
            value = getattr(self, field)
            if value not in allowed:
                raise ArgumentError(
                    f"`{field}` must be one of {', '.join(allowed)}, got {value!r}."
                )
        if not (self.interval is None or callable(self.interval) or self.interval in INTERVALS):
            raise ArgumentError(
                f"`interval` must be one of {', '.join(INTERVALS)}, a function or None, "
                f"got {self.interval!r}."
            )
        for field in ("title", "unit"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value.isprintable():
                raise ArgumentError(f"`{field}` must be a printable text, got {value!r}.")
        if not isinstance(self.higher_is_better, bool):
            raise ArgumentError(
                f"`higher_is_better` must be a bool, got {self.higher_is_better!r}."
            )
        if self.best is not None and not (
            isinstance(self.best, int | float) and math.isfinite(self.best)
        ):
            raise ArgumentError(f"`best` must be a finite number or None, got {self.best!r}.")
        for field in ("of_samples", "of_all"):
            value = getattr(self, field)
            if not callable(value) and not (field == "of_all" and value is None):
                raise ArgumentError(f"`{field}` must be a function, got {value!r}.")
        if self.outputs == "logits" and self.targets == "reference":
            raise ArgumentError("`targets` must be classes or any where `outputs` is logits.")
        if self.best is None:
            percentage = 100.0 if self.unit == "%" else None
            best = percentage if self.higher_is_better else 0.0
            object.__setattr__(self, "best", best)
        object.__setattr__(self, "title", self.title or self.name)

    @property
    def logits(self) -> bool:
        """Whether outputs are logits ``(N, classes)``."""
        return self.outputs == "logits"

    @property
    def reference(self) -> bool:
        """Whether targets are the outputs of a reference model, see `against`."""
        return self.targets == "reference"

    @property
    def error_name(self) -> str:
        """Name of `error` in stores and records."""
        if not self.higher_is_better:
            return self.name
        return "error_pct" if self.unit == "%" else f"{self.name}_error"

    def error(self, value: float) -> float:
        """Return what a search minimises: how much ``value`` falls short of the best one.

        Args:
            value: A value of the metric, in its unit.
        """
        best = self.best or 0.0
        return best - value if self.higher_is_better else value - best

    def kept(self, outputs: Any, targets: Any) -> Tensor:
        """Return what is kept of a batch, ``(N, ...)``, on the CPU.

        Args:
            outputs: What the model returned for the batch.
            targets: The targets of the batch.

        Raises:
            DatasetError: If outputs or targets are not what the metric takes, or `of_samples`
                does not return one row per sample.
        """
        if isinstance(targets, Tensor) and targets.shape[1:] == (0,):
            raise DatasetError(
                f"metric {self.name!r} takes targets, and the samples have none; `agreement` and "
                "`distance` compare with the outputs of a reference and need none."
            )
        if self.outputs == "logits" and self.targets == "classes":
            check_logits(outputs, targets)
        before = _version(targets)
        with blamed_on("metric", self.name, "of_samples"):
            samples = self.of_samples(outputs, targets)
        if _version(targets) != before:
            raise DatasetError(
                f"metric {self.name!r}: `of_samples` must not change the targets in place."
            )
        n = len(targets) if isinstance(targets, Tensor) and targets.ndim else None
        if not isinstance(samples, Tensor) or samples.ndim == 0 or n not in (None, len(samples)):
            got = list(samples.shape) if isinstance(samples, Tensor) else type(samples).__name__
            raise DatasetError(
                f"metric {self.name!r}: `of_samples` must return a tensor ({n or 'N'}, ...), one "
                f"row per sample, got {got}."
            )
        if samples.layout != torch.strided or samples.is_complex() or samples.is_meta:
            raise DatasetError(
                f"metric {self.name!r}: `of_samples` must return a dense tensor of real numbers, "
                f"got {samples.dtype}, {samples.layout} on {samples.device}."
            )
        return samples.detach().cpu()

    def value(self, samples: Tensor) -> float:
        """Return the value that follows from the kept numbers of all samples.

        Args:
            samples: What `kept` returned, of all batches together.

        Raises:
            DatasetError: If it is not a finite number.
        """
        if self.of_all is None or self.interval == "wilson":
            value = mean(samples) * (100 if self.unit == "%" else 1)
        else:
            with blamed_on("metric", self.name, "of_all"):
                found: Any = self.of_all(samples)
                value = float(found.detach() if isinstance(found, Tensor) else found)
        if not math.isfinite(value):
            raise DatasetError(f"metric {self.name!r}: the value must be finite, got {value}.")
        return value

    def with_interval(self, samples: Tensor) -> tuple[float, float, float]:
        """Return the value and the lower and upper bound of its 95 % interval.

        Args:
            samples: What `kept` returned, of all batches together.

        Raises:
            DatasetError: If the value is not finite, or the samples are no booleans where the
                interval is "wilson".
        """
        if self.interval == "wilson":
            scale = 100 if self.unit == "%" else 1
            successes, n = self.successes(samples), len(samples)
            low, high = wilson_interval(successes, n)
            return scale * successes / n, scale * low, scale * high
        value = self.value(samples)
        if self.interval is None:
            return value, value, value
        if callable(self.interval):
            with blamed_on("metric", self.name, "interval"):
                low, high = map(float, self.interval(samples))
            if not -math.inf < low <= high < math.inf:
                raise DatasetError(
                    f"metric {self.name!r}: `interval` must return a finite lower and upper "
                    f"bound, got {low} and {high}."
                )
            return value, min(low, value), max(value, high)
        _, low, high = jackknife_interval(samples, self.value)
        return value, self._clamped(low), self._clamped(high)

    def successes(self, samples: Tensor) -> int:
        """Return how many of the kept booleans are true.

        Raises:
            DatasetError: If the samples are no booleans ``(N,)``.
        """
        if samples.dtype != torch.bool or samples.ndim != 1:
            raise DatasetError(
                f"metric {self.name!r}: `of_samples` must return booleans (N,) for "
                f"`interval`='wilson', got {samples.dtype} {list(samples.shape)}."
            )
        return int(samples.sum())

    def _clamped(self, value: float) -> float:
        """``value`` within what the metric can be."""
        if self.best is None:
            return value
        if self.higher_is_better:
            return min(self.best, max(0.0, value) if self.unit == "%" else value)
        return max(self.best, value)


def _version(targets: Any) -> int:
    """Return how often a tensor was changed in place, where torch counts it."""
    if not isinstance(targets, Tensor) or targets.is_inference():
        return 0
    return targets._version


class MetricRegistry(Registry[Metric], Mapping[str, Metric]):
    """The known metrics by name; see `Registry`."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def get(self, name: str, default: Any = None) -> Any:
        """Return the metric called ``name``, or ``default``."""
        return self[name] if name in self else default


_BUILT_IN = ("top1", "top5", "f1", "recognised", "frechet", "agreement", "distance")

METRICS = MetricRegistry(
    "metric",
    group="axopt.metrics",
    built_in=dict.fromkeys(_BUILT_IN, "axopt.evaluation.built_in"),
)
"""The metrics by name: those of axopt, of `register_metric` and of installed packages.

* ``top1``, ``top5``, ``f1``: of classifiers.
* ``recognised``: share of generated digits that a classifier of the zoo sees as asked for.
* ``frechet``: distance of generated digits to real ones in that classifier's features.
* ``agreement``: share of samples for which model and reference decide for the same class.
* ``distance``: relative root mean square distance of any outputs to those of a reference.
"""


def register_metric(
    name: str,
    of_samples: OfSamples,
    of_all: OfAll | None = None,
    *,
    higher_is_better: bool,
    title: str = "",
    unit: str = "",
    targets: str = "any",
    outputs: str = "tensor",
    interval: str | IntervalOf | None = "jackknife",
    best: float | None = None,
) -> Metric:
    """Make a metric known by name to `evaluate`, `search`, `retrain` and the command line.

    Args:
        name: A new name; a search stores it.
        of_samples: Outputs and targets of a batch -> tensor ``(N, ...)``, one row per sample.
        of_all: Kept numbers of all samples, ``(N, ...)`` -> value. Default: their mean, times 100
            where the unit is "%".
        higher_is_better: Whether larger values are better. A search minimises `Metric.error`.
        title: Its name in tables and plots; ``name`` by default.
        unit: "%", another unit, or "" for a plain number.
        targets: "classes", "reference" or "any"; see `Metric`.
        outputs: "logits", "tensor" or "anything"; see `Metric`.
        interval: "jackknife", "wilson", a function of the kept numbers, or None; see `Metric`.
        best: The best possible value; see `Metric`.

    Returns:
        The metric.

    Raises:
        ArgumentError: If an argument breaks its rule or the name is taken.

    Example:
        >>> rmse = register_metric(
        ...     "rmse",
        ...     lambda outputs, targets: (outputs - targets).square().flatten(1).mean(1),
        ...     lambda squares: float(squares.mean() ** 0.5),
        ...     title="Root mean square error",
        ...     higher_is_better=False,
        ... )
        >>> from axopt import evaluate
        >>> inputs, targets = torch.zeros(8, 1), torch.full((8, 1), 2.0)
        >>> evaluate(torch.nn.Identity(), [(inputs, targets)], "rmse").value
        2.0
        >>> METRICS.remove("rmse")
    """
    metric = Metric(
        name=name,
        of_samples=of_samples,
        of_all=of_all,
        title=title,
        unit=unit,
        higher_is_better=higher_is_better,
        targets=targets,
        outputs=outputs,
        interval=interval,
        best=best,
    )
    METRICS.add(name, metric)
    return metric


def as_metric(metric: str | Metric | OfSamples, *, directed: bool = True) -> Metric:
    """Return the metric that an argument ``metric=`` means.

    Args:
        metric: The name of a known metric, a `Metric`, or a function of outputs and targets that
            returns one number per sample, ``(N,)``, whose mean is the value.
        directed: Whether the caller compares values, so that it must be known whether higher is
            better. A function says so by an attribute ``higher_is_better``.

    Raises:
        ArgumentError: If no metric has that name, or a function says no direction and
            ``directed`` is set.

    Example:
        >>> as_metric("top1").unit
        '%'
        >>> as_metric(lambda outputs, targets: outputs.abs().flatten(1).mean(1))
        Traceback (most recent call last):
            ...
        axopt.errors.ArgumentError: `metric`: whether higher values of '<lambda>' are better is \
not known; give it an attribute `higher_is_better`, or pass a Metric.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        found = METRICS[metric]
        if not isinstance(found, Metric):
            raise ArgumentError(
                f"`metric` {metric!r} comes from an entry point that must name a Metric or a "
                f"module that registers it, got {type(found).__name__}."
            )
        return found
    if not callable(metric):
        raise ArgumentError(
            "`metric` must be a name, a Metric or a function of outputs and targets, got "
            f"{type(metric).__name__}."
        )
    name = getattr(metric, "__name__", type(metric).__name__)
    direction = getattr(metric, "higher_is_better", None)
    if directed and direction is None:
        raise ArgumentError(
            f"`metric`: whether higher values of {name!r} are better is not known; give it an "
            "attribute `higher_is_better`, or pass a Metric."
        )
    return Metric(name=name, of_samples=metric, higher_is_better=direction is not False)
