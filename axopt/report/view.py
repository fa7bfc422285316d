"""What both pictures of a front, PNG and SVG, have to say: limits, colours, names, titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log10
from os.path import commonprefix

from axopt.report.record import Point, RunRecord

# Nobody deploys a model that lost more than this, and a point at chance level would squeeze
# the interesting ones into a line: points further below the best go to the lower edge.
FOCUS_PP = 20.0
WHOLE_RANGE_PP = 25.0
MIN_SPAN_PP = 1.0
MIN_SPAN_POWER = 0.2
MARGIN = 0.06
DENSE = 60  # points of the front from which their error bars merge

# Okabe and Ito's colours, distinct for every kind of colour vision
FRONT_COLOUR = "#0072B2"
UNIFORM_COLOUR = "#D55E00"
FLOAT_COLOUR = "#009E73"
EXACT_COLOUR = "#222222"
TRIAL_COLOUR = "#B8B8B8"

METRIC_TITLES = {"top1": "Top-1 accuracy", "top5": "Top-5 accuracy"}


@dataclass(frozen=True)
class Limits:
    """The part of the plane that is shown. Points below ``y_low`` stand at the lower edge."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def is_below(self, point: Point) -> bool:
        return point.quality < self.y_low


def limits(record: RunRecord) -> Limits:
    """Choose what to show: every power, and the qualities near the best."""
    points = [record.exact, *record.uniform, *record.front]
    tops = [point.quality_high for point in points]
    lows = [point.quality_low for point in points]
    if record.float_quality is not None:
        tops.append(record.float_quality.high)
        lows.append(record.float_quality.low)
    high = max(tops)
    low = min(lows)
    if high - low > WHOLE_RANGE_PP:
        floor = max(point.quality for point in points) - FOCUS_PP
        low = max(floor, min(point.quality_low for point in points if point.quality >= floor))
    x_low, x_high = _padded(
        min(point.rel_power for point in points),
        max(point.rel_power for point in points),
        MIN_SPAN_POWER,
    )
    y_low, y_high = _padded(low, high, MIN_SPAN_PP)
    return Limits(x_low, x_high, y_low, y_high)


def _padded(low: float, high: float, min_span: float) -> tuple[float, float]:
    missing = max(0.0, min_span - (high - low)) / 2
    margin = MARGIN * max(high - low, min_span)
    return low - missing - margin, high + missing + margin


def compared_points(record: RunRecord) -> list[Point]:
    """Return the uniform points less the reference's, which the exact model's marker shows."""
    return [point for point in record.uniform if point.label != record.reference]


def completed_trials(record: RunRecord) -> list[tuple[float, float]]:
    """Return the relative power and the validation quality of each trial that has both."""
    return [
        (trial.rel_power, trial.quality)
        for trial in record.trials
        if trial.rel_power is not None and trial.quality is not None
    ]


def uniform_labels(record: RunRecord, limits: Limits) -> list[str]:
    """Return the labels of `compared_points`; one at the lower edge states its quality."""
    points = compared_points(record)
    _, names = short_names([point.label for point in points])
    return [
        f"{name}: {point.quality:.1f} {record.unit}" if limits.is_below(point) else name
        for name, point in zip(names, points, strict=True)
    ]


def uniform_title(record: RunRecord) -> str:
    prefix, _ = short_names([point.label for point in compared_points(record)])
    return f"one multiplier everywhere ({prefix}...)" if prefix else "one multiplier everywhere"


def exact_title(record: RunRecord) -> str:
    return f"exact 8-bit model: {record.exact.quality:.2f} {record.unit}"


def float_title(record: RunRecord) -> str:
    value = "unknown" if record.float_quality is None else f"{record.float_quality.value:.2f}"
    return f"float model: {value} {record.unit}"


def trials_title(record: RunRecord) -> str:
    return f"evaluated (validation, n = {record.n_validation:,})"


def metric_title(record: RunRecord) -> str:
    return METRIC_TITLES.get(record.metric, record.metric)


def quality_axis(record: RunRecord) -> str:
    return (
        f"{metric_title(record)} ({record.unit}), {record.exact.split} split, "
        f"n = {record.n_samples:,}"
    )


def run_line(record: RunRecord) -> str:
    return (
        f"{record.algorithm}, seed {record.seed}, {record.n_evaluated:,} evaluations on "
        f"{record.n_validation:,} validation samples; bars: 95 % Wilson intervals"
    )


def power_axis(record: RunRecord) -> str:
    return f"Power relative to {record.reference} (multipliers only, MAC-weighted)"


def short_names(keys: Sequence[str]) -> tuple[str, list[str]]:
    """Split off what all ``keys`` begin with, up to a separator.

    >>> short_names(["v1/mul8s_1L2H", "v1/mul8s_1KR6"])
    ('v1/mul8s_', ['1L2H', '1KR6'])
    """
    shared = commonprefix(list(keys)) if len(keys) > 1 else ""
    length = max(shared.rfind("_"), shared.rfind("/")) + 1
    return shared[:length], [key[length:] for key in keys]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round numbers from ``low`` to ``high``, evenly spaced."""
    step = (high - low) / most
    scale: float = 10.0 ** ceil(log10(step) - 1)
    spacing = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= step)
    first = ceil(low / spacing)
    return [i * spacing for i in range(first, first + most + 1) if i * spacing <= high]
