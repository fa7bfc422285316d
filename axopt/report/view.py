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

METRIC_TITLES = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "f1": "Macro F1",
    "recognised": "Recognised digits",
    "frechet": "Frechet distance",
    "distance": "RMS distance to the float model",
}


@dataclass(frozen=True)
class Limits:
    """The part of the plane that is shown, better qualities higher up.

    ``y_low`` and ``y_high`` are the qualities at the lower and at the upper edge, the smaller one
    at the upper edge where smaller is better. Points below the plane stand at the lower edge.
    """

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def is_below(self, point: Point) -> bool:
        return not self.holds(point.quality)

    def holds(self, quality: float) -> bool:
        """Whether ``quality`` is at or above the lower edge."""
        return quality >= self.y_low if self.y_low < self.y_high else quality <= self.y_low


def limits(record: RunRecord) -> Limits:
    """Choose what to show: every power, and the qualities near the best."""
    points = [record.exact, *record.uniform, *record.front]
    sign = 1 if record.higher_is_better else -1
    ranges = [
        (sign * p.quality, _sorted(sign * p.quality_low, sign * p.quality_high)) for p in points
    ]
    shown = [ends for _, ends in ranges]
    if record.float_quality is not None:
        shown.append(_sorted(sign * record.float_quality.low, sign * record.float_quality.high))
    low = min(ends[0] for ends in shown)
    high = max(ends[1] for ends in shown)
    if high - low > WHOLE_RANGE_PP:
        floor = max(quality for quality, _ in ranges) - FOCUS_PP
        low = max(floor, min(ends[0] for quality, ends in ranges if quality >= floor))
    x_low, x_high = _padded(
        min(point.rel_power for point in points),
        max(point.rel_power for point in points),
        MIN_SPAN_POWER,
    )
    y_low, y_high = _padded(low, high, MIN_SPAN_PP)
    return Limits(x_low, x_high, sign * y_low, sign * y_high)


def _sorted(a: float, b: float) -> tuple[float, float]:
    return min(a, b), max(a, b)


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
        f"{name}: {with_unit(f'{point.quality:.1f}', record.unit)}"
        if limits.is_below(point)
        else name
        for name, point in zip(names, points, strict=True)
    ]


def uniform_title(record: RunRecord) -> str:
    prefix, _ = short_names([point.label for point in compared_points(record)])
    return f"one multiplier everywhere ({prefix}...)" if prefix else "one multiplier everywhere"


def exact_title(record: RunRecord) -> str:
    return f"exact 8-bit model: {with_unit(f'{record.exact.quality:.2f}', record.unit)}"


def float_title(record: RunRecord) -> str:
    value = "unknown" if record.float_quality is None else f"{record.float_quality.value:.2f}"
    return f"float model: {with_unit(value, record.unit)}"


def trials_title(record: RunRecord) -> str:
    return f"evaluated (validation, n = {record.n_validation:,})"


def metric_title(record: RunRecord) -> str:
    return METRIC_TITLES.get(record.metric, record.metric)


def with_unit(number: str, unit: str) -> str:
    return f"{number} {unit}" if unit else number


def titled(title: str, unit: str) -> str:
    return f"{title} ({unit})" if unit else title


def quality_axis(record: RunRecord) -> str:
    title = titled(metric_title(record), record.unit)
    return f"{title}, {record.exact.split} split, n = {record.n_samples:,}"


def difference_unit(record: RunRecord) -> str:
    """Unit of the difference of two qualities, percentage points for percentages."""
    return "pp" if record.unit == "%" else record.unit


def run_line(record: RunRecord) -> str:
    return (
        f"{record.algorithm}, seed {record.seed}, {record.n_evaluated:,} evaluations on "
        f"{record.n_validation:,} validation samples; bars: 95 % intervals"
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
    """Return at most ``most`` round numbers between ``low`` and ``high``, evenly spaced."""
    low, high = min(low, high), max(low, high)
    step = (high - low) / most
    scale: float = 10.0 ** ceil(log10(step) - 1)
    spacing = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= step)
    first = ceil(low / spacing)
    return [i * spacing for i in range(first, first + most + 1) if i * spacing <= high]
