"""How much worse a model is than a baseline on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from axopt.errors import ArgumentError
from axopt.evaluation.intervals import jackknife_interval, paired_proportion_interval
from axopt.evaluation.metrics import Metric, OfSamples, as_metric


@dataclass(frozen=True)
class Drop:
    """How much worse a model is than a baseline, in the metric's unit.

    Attributes:
        value: The drop; positive where the model is worse, whether higher is better or lower.
        low: Lower bound of its paired 95 % interval.
        high: Upper bound of its paired 95 % interval.

    Example:
        >>> Drop(value=0.4, low=-0.1, high=0.9).value
        0.4
    """

    value: float
    low: float
    high: float


def paired_drop(metric: str | Metric | OfSamples, ours: Tensor, baseline: Tensor) -> Drop:
    """Compare two models that were measured on the same samples, in the same order.

    Both are wrong on many of the same samples, so the interval is far narrower than the two
    models' own intervals suggest. Proportions get Tango's score interval, which excludes 0
    exactly where McNemar's test rejects equality; other metrics get a jackknife over the same
    groups of samples of both models. Nothing is drawn at random.

    Args:
        metric: What both were measured by: a name, a `Metric`, or a function with an attribute
            ``higher_is_better``.
        ours: What `measure` kept of the samples of the model, ``(N, ...)``.
        baseline: What it kept of those of the baseline, of the same shape.

    Returns:
        The drop with its interval; both bounds equal the value for a metric without interval.

    Raises:
        ArgumentError: If the shapes differ, or there is no sample.
        DatasetError: If a value is not finite.

    Example:
        >>> baseline = torch.ones(1000, dtype=torch.bool)
        >>> ours = torch.arange(1000) >= 12
        >>> drop = paired_drop("top1", ours, baseline)
        >>> print(f"{drop.value:.1f} pp, {drop.low:.2f}..{drop.high:.2f}")
        1.2 pp, 0.69..2.09
    """
    chosen = as_metric(metric)
    if ours.shape != baseline.shape or len(ours) == 0:
        raise ArgumentError(
            "`ours` and `baseline` must be of the same samples, at least one, got shapes "
            f"{list(ours.shape)} and {list(baseline.shape)}."
        )
    if chosen.interval == "wilson":
        return _of_proportions(chosen, ours, baseline)
    sign = -1 if chosen.higher_is_better else 1

    def difference(places: Tensor) -> float:
        return sign * (chosen.value(ours[places]) - chosen.value(baseline[places]))

    places = torch.arange(len(ours))
    if chosen.interval is None:
        return Drop(difference(places), difference(places), difference(places))
    return Drop(*jackknife_interval(places, difference))


def _of_proportions(metric: Metric, ours: Tensor, baseline: Tensor) -> Drop:
    n, more = len(ours), metric.successes(ours) - metric.successes(baseline)
    only_baseline = int((baseline & ~ours).sum())
    low, high = paired_proportion_interval(only_baseline, only_baseline + more, n)
    scale = 100 if metric.unit == "%" else 1
    value = -more / n
    if not metric.higher_is_better:
        value, low, high = -value, -high, -low
    return Drop(scale * value, scale * low, scale * high)
