"""What both pictures of a front, PNG and SVG, show: limits, points, labels, ticks, colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log10
from os.path import commonprefix
from statistics import median

from axopt.report.record import Point, RunRecord
from axopt.report.texts import one_line, quality_text

# A point at chance level would squeeze the interesting ones into a line. Points that are further
# than this below the best one are marked at the lower edge.
FOCUS_PP = 20.0
FOCUS_RATIO = 4.0  # the same for qualities without a scale, times the baseline's quality
WHOLE_RANGE = 1.25  # of the focus: a range up to this is shown whole
MIN_SPAN_PP = 1.0
MIN_SPAN_RATIO = 0.05
MIN_SPAN_POWER = 0.2
MARGIN = 0.06
ROUNDING = 1e-9  # relative: float arithmetic cannot divide a smaller range

DENSE = 60  # points of the front from which their error bars merge
MAX_LABELS = 40  # more labels hide what they name
LABEL_CHARACTERS = 24

# Okabe and Ito's colours, distinct for every kind of colour vision
FRONT_COLOUR = "#0072B2"
UNIFORM_COLOUR = "#D55E00"
FLOAT_COLOUR = "#009E73"
EXACT_COLOUR = "#222222"
TRIAL_COLOUR = "#B8B8B8"


@dataclass(frozen=True)
class Limits:
    """The part of the plane that is shown; better qualities are higher up.

    Attributes:
        x_low: Relative power at the left edge.
        x_high: Relative power at the right edge.
        y_low: Quality at the lower edge. It is larger than ``y_high`` where smaller is better.
        y_high: Quality at the upper edge.
    """

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def is_below(self, point: Point) -> bool:
        """Whether the point is worse than the lower edge, where it is then marked."""
        return not self.holds(point.quality)

    def holds(self, quality: float) -> bool:
        """Whether ``quality`` is at or above the lower edge."""
        return quality >= self.y_low if self.y_low < self.y_high else quality <= self.y_low


def limits(record: RunRecord) -> Limits:
    """Return the part of the plane to show: every power, and the qualities near the best."""
    points = all_points(record)
    scale = quality_scale(record)
    percent = record.unit == "%"
    focus = FOCUS_PP if percent else FOCUS_RATIO * scale
    low, high = _quality_range(record, points, focus)
    min_span = MIN_SPAN_PP if percent else MIN_SPAN_RATIO * scale
    y_low, y_high = _padded(low, high, min_span)
    powers = [point.rel_power for point in points]
    powers += [end for point in points for end in point.intervals.get("rel_power", ())]
    x_low, x_high = _padded(min(powers), max(powers), MIN_SPAN_POWER)
    sign = 1 if record.higher_is_better else -1
    return Limits(x_low, x_high, sign * y_low, sign * y_high)


def quality_scale(record: RunRecord) -> float:
    """Return the size of a typical quality, for metrics that are no percentages."""
    sizes = [abs(point.quality) for point in all_points(record)]
    return abs(record.reference_point.quality) or median(sizes) or 1.0


def _quality_range(
    record: RunRecord, points: Sequence[Point], focus: float
) -> tuple[float, float]:
    """Return the lowest and the highest quality to show; where smaller is better, negated."""
    sign = 1 if record.higher_is_better else -1
    ranges = [
        (sign * p.quality, _sorted(sign * p.quality_low, sign * p.quality_high)) for p in points
    ]
    shown = [ends for _, ends in ranges]
    if record.float_quality is not None:
        shown.append(_sorted(sign * record.float_quality.low, sign * record.float_quality.high))
    low = min(ends[0] for ends in shown)
    high = max(ends[1] for ends in shown)
    if high - low > WHOLE_RANGE * focus:
        best = max(quality for quality, _ in ranges)
        floor = best - focus
        low = max(floor, min(ends[0] for quality, ends in ranges if quality >= floor))
        high = min(high, best + focus)
    return low, high


def _sorted(a: float, b: float) -> tuple[float, float]:
    return min(a, b), max(a, b)


def _padded(low: float, high: float, min_span: float) -> tuple[float, float]:
    min_span = max(min_span, ROUNDING * abs(low), ROUNDING * abs(high))
    missing = max(0.0, min_span - (high - low)) / 2
    margin = MARGIN * max(high - low, min_span)
    return low - missing - margin, high + missing + margin


def all_points(record: RunRecord) -> list[Point]:
    """Return every point that is measured on the record's split."""
    return [*exact_points(record), *record.uniform, *record.front]


def exact_points(record: RunRecord) -> list[Point]:
    """Return the points of the exact multiplier, the baseline last."""
    uncorrected = [record.exact] if record.has_uncorrected else []
    return [*uncorrected, record.reference_point]


def levels(record: RunRecord) -> list[float]:
    """Return the qualities that horizontal lines mark: the baseline's and the float model's."""
    found = [record.reference_point.quality]
    return found if record.float_quality is None else [*found, record.float_quality.value]


def front_line(record: RunRecord) -> list[Point]:
    """Return the points of the front that its line runs through: those that are not dominated."""
    return [point for point in record.front if not point.dominated]


def line_parts(record: RunRecord) -> tuple[list[tuple[Point, Point]], list[tuple[Point, Point]]]:
    """Return the parts of the front's line, those between points told apart and the others."""
    parts = list(pairwise(front_line(record)))
    alike = [(a, b) for a, b in parts if a.alike == b.label]
    return [(a, b) for a, b in parts if a.alike != b.label], alike


def compared_points(record: RunRecord) -> list[Point]:
    """Return the uniform points without the reference's, which the exact points show."""
    return [point for point in record.uniform if point.label != record.reference]


def completed_trials(record: RunRecord) -> list[tuple[float, float]]:
    """Return relative power and validation quality of each trial that was evaluated in full."""
    return [
        (trial.rel_power, trial.quality)
        for trial in record.trials
        if trial.state != "pruned" and trial.rel_power is not None and trial.quality is not None
    ]


def uniform_labels(record: RunRecord, limits: Limits) -> list[tuple[Point, str]]:
    """Return the uniform points that get a label, at most `MAX_LABELS`, and the label of each.

    The label of a point at the lower edge states its quality. Where there are too many points,
    those that are not dominated come first, then those of the best quality.
    """
    points = compared_points(record)
    _, names = short_names([point.label for point in points])
    sign = 1 if record.higher_is_better else -1
    leading = _not_dominated(points, sign)
    order = sorted(range(len(points)), key=lambda i: (i not in leading, -sign * points[i].quality))
    texts = []
    for i in sorted(order[:MAX_LABELS]):
        name = one_line(names[i], LABEL_CHARACTERS)
        if limits.is_below(points[i]):
            name = f"{name}: {quality_text(record, points[i].quality, digits=1)}"
        texts.append((points[i], name))
    return texts


def _not_dominated(points: Sequence[Point], sign: int) -> set[int]:
    """Return the indices of the points of which no other needs less power for more quality."""
    found = set()
    best = float("-inf")
    for i in sorted(
        range(len(points)), key=lambda i: (points[i].rel_power, -sign * points[i].quality)
    ):
        if sign * points[i].quality > best:
            best = sign * points[i].quality
            found.add(i)
    return found


def short_names(keys: Sequence[str]) -> tuple[str, list[str]]:
    """Split off what all ``keys`` begin with, up to a separator.

    >>> short_names(["v1/mul8s_1L2H", "v1/mul8s_1KR6"])
    ('v1/mul8s_', ['1L2H', '1KR6'])
    """
    shared = commonprefix(list(keys)) if len(keys) > 1 else ""
    length = max(shared.rfind("_"), shared.rfind("/")) + 1
    return shared[:length], [key[length:] for key in keys]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most + 1`` round numbers between ``low`` and ``high``, evenly spaced.

    >>> ticks(69.3, 82.4, 8)
    [70.0, 72.0, 74.0, 76.0, 78.0, 80.0, 82.0]
    """
    low, high = min(low, high), max(low, high)
    step = (high - low) / most
    scale: float = 10.0 ** ceil(log10(step) - 1)
    spacing = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= step)
    first = ceil(low / spacing)
    return [i * spacing for i in range(first, first + most + 1) if i * spacing <= high]
