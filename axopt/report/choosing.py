"""One point of a front, chosen by what the validation split says.

The test split only reports: a point that was chosen by its test figures would look better than
it is.

The knee is the point that is farthest below the line between the two ends of the front, where
both axes are scaled to 0..1 [Das1999]_: beyond it, further saving costs more quality than before.

.. [Das1999] I. Das, "On characterizing the 'knee' of the Pareto curve based on Normal-Boundary
   Intersection", Structural Optimization 18, 1999.
"""

from dataclasses import dataclass
from math import isfinite

from axopt.errors import ArgumentError
from axopt.report.record import Point, RunRecord
from axopt.report.texts import difference_unit, fixed, with_unit

MIN_KNEE_DISTANCE = 1e-9
"""Distance below the line between the ends from which a point is a knee."""


@dataclass(frozen=True)
class ChosenPoint:
    """A point of a front, chosen on the validation split.

    Its text says how it was chosen, and its figures on both splits.

    Attributes:
        point: The point, with its figures on the test split. In the record of an interrupted run
            these are of the validation split too.
        validation_drop: How much worse than the baseline it is on the validation split.
        rule: How it was chosen.
        unit: Unit of drops, such as "%".
        n_validation: Number of validation samples.
        n_samples: Number of samples of the point's own figures.

    Example:
        >>> from axopt.report import example_record
        >>> chosen = best_point(example_record(), max_drop=0.5)
        >>> chosen.point.label, round(chosen.validation_drop, 2)
        ('point-02', 0.3)
        >>> print(chosen)
        point-02: the largest saving with a drop of at most 0.5 pp, chosen on the validation split
        saves 75.0 % of the power
        drop on validation: 0.30 pp (359 samples)
        drop on test: 0.30 pp, 95 % interval -0.10..0.70 (359 samples)
    """

    point: Point
    validation_drop: float
    rule: str
    unit: str
    n_validation: int
    n_samples: int

    def __str__(self) -> str:
        point = self.point
        lines = [
            f"{point.label}: {self.rule}, chosen on the validation split",
            f"saves {fixed(100 * (1 - point.rel_power), 1)} % of the power",
            f"drop on validation: {self._with_unit(self.validation_drop)} "
            f"({self.n_validation} samples)",
        ]
        if point.split == "validation":
            lines.append("drop on test: not measured, the search was interrupted")
        elif point.drop is not None and point.drop_low is not None and point.drop_high is not None:
            lines.append(
                f"drop on test: {self._with_unit(point.drop)}, 95 % interval "
                f"{fixed(point.drop_low, 2)}..{fixed(point.drop_high, 2)} "
                f"({self.n_samples} samples)"
            )
        return "\n".join(lines)

    __repr__ = __str__

    def _with_unit(self, drop: float) -> str:
        return with_unit(fixed(drop, 2), self.unit)


def validation_drop(record: RunRecord, point: Point) -> float:
    """Return how much worse than the baseline a point of the front is on the validation split.

    Args:
        record: The record.
        point: A point of its front.

    Returns:
        The difference in the metric's unit; positive is worse.

    Raises:
        ArgumentError: If one of the two was not measured on the validation split.

    Example:
        >>> from axopt.report import example_record
        >>> record = example_record()
        >>> round(validation_drop(record, record.front[2]), 2)
        0.3
    """
    exact = _validation_quality(record.reference_point)
    quality = _validation_quality(point)
    if exact is None or quality is None:
        label = point.label if exact is not None else "the exact multiplier"
        raise ArgumentError(
            f"a point can be chosen on the validation split only; the run has no validation "
            f"quality of {label}. Resume it with this version to measure it."
        )
    return exact - quality if record.higher_is_better else quality - exact


def best_point(
    record: RunRecord, *, max_drop: float | None = None, max_power: float | None = None
) -> ChosenPoint:
    """Choose a point of the front within caps, by its quality on the validation split.

    Args:
        record: The record of a search.
        max_drop: Largest drop against the baseline on the validation split, in the metric's
            unit. The point of the largest saving within the caps is chosen.
        max_power: Largest relative power. Without ``max_drop``, the point of the smallest drop is
            chosen.

    Returns:
        The point, with its figures on both splits.

    Raises:
        ArgumentError: If neither cap is given, one is no finite number, no point is within them,
            or the run has no validation qualities.

    Example:
        >>> from axopt.report import example_record
        >>> best_point(example_record(), max_power=0.9).point.label
        'point-00'
    """
    caps = {"max_drop": max_drop, "max_power": max_power}
    for name, cap in caps.items():
        if cap is not None and (type(cap) not in (int, float) or not isfinite(cap)):
            raise ArgumentError(f"`{name}` must be a finite number, got {cap!r}.")
    if max_drop is None and max_power is None:
        raise ArgumentError("`max_drop` or `max_power` must be given, got neither.")
    drops = _drops(record)
    within = [
        (point, drop)
        for point, drop in drops
        if (max_drop is None or drop <= max_drop)
        and (max_power is None or point.rel_power <= max_power)
    ]
    if not within:
        raise ArgumentError(_none_within(record, drops, max_drop, max_power))
    power = "" if max_power is None else f"at most {max_power:g} of the power"
    if max_drop is None:
        point, drop = min(within, key=lambda pair: (pair[1], pair[0].rel_power))
        return _chosen(record, point, drop, f"the smallest drop with {power}")
    point, drop = min(within, key=lambda pair: (pair[0].rel_power, pair[1]))
    rule = f"the largest saving with a drop of at most {max_drop:g}"
    rule = with_unit(rule, difference_unit(record)) + (f" and {power}" if power else "")
    return _chosen(record, point, drop, rule)


def knee_point(record: RunRecord) -> ChosenPoint:
    """Choose the knee of the front: beyond it, saving costs more quality than before.

    It is the point that is farthest below the line between the two ends of the front, in axes of
    relative power and drop on the validation split, each scaled to 0..1.

    Args:
        record: The record of a search.

    Returns:
        The point, with its figures on both splits.

    Raises:
        ArgumentError: If no point lies below that line, as in a front of two points, or the run
            has no validation qualities.

    Example:
        >>> from dataclasses import replace
        >>> from axopt.report import Quality, example_record
        >>> record = example_record()
        >>> exact, *_, cheap = record.front
        >>> between = replace(cheap, label="point-01", rel_power=0.3, drop=0.3)
        >>> last = replace(exact, label="point-02", rel_power=0.2, validation=Quality(90, 89, 91))
        >>> knee_point(replace(record, front=(exact, between, last))).point.label
        'point-01'
    """
    drops = _drops(record)
    best, best_drop = min(drops, key=lambda pair: (pair[1], pair[0].rel_power))
    cheapest, most_drop = min(drops, key=lambda pair: (pair[0].rel_power, pair[1]))
    powers, span = best.rel_power - cheapest.rel_power, most_drop - best_drop

    def below(pair: tuple[Point, float]) -> float:
        x = (pair[0].rel_power - cheapest.rel_power) / powers
        y = (pair[1] - best_drop) / span
        return 1 - x - y  # sqrt(2) times the distance from the line x + y = 1

    if powers > 0 and span > 0:
        point, drop = max(drops, key=below)
        if below((point, drop)) > MIN_KNEE_DISTANCE:
            rule = "the knee of the front, farthest below the line between its ends"
            return _chosen(record, point, drop, rule)
    raise ArgumentError(
        "the front has no knee: no point is below the line between its ends, "
        f"{best.label} and {cheapest.label}."
    )


def _drops(record: RunRecord) -> list[tuple[Point, float]]:
    if not record.front:
        raise ArgumentError("the run has no front: no trial is complete.")
    return [(point, validation_drop(record, point)) for point in record.front]


def _chosen(record: RunRecord, point: Point, drop: float, rule: str) -> ChosenPoint:
    unit = difference_unit(record)
    return ChosenPoint(point, drop, rule, unit, record.n_validation, record.n_samples)


def _none_within(
    record: RunRecord,
    drops: list[tuple[Point, float]],
    max_drop: float | None,
    max_power: float | None,
) -> str:
    """Say that no point is within the caps, and which come near."""
    unit = difference_unit(record)
    least, drop = min(drops, key=lambda pair: (pair[1], pair[0].rel_power))
    cheapest, its_drop = min(drops, key=lambda pair: (pair[0].rel_power, pair[1]))
    caps = [
        *([] if max_drop is None else [f"`max_drop` {max_drop:g}"]),
        *([] if max_power is None else [f"`max_power` {max_power:g}"]),
    ]
    return (
        f"no point of the front is within {' and '.join(caps)} on the validation split: "
        f"the smallest drop is {with_unit(fixed(drop, 2), unit)} ({least.label}, power "
        f"{least.rel_power:.3f}), the least power {cheapest.rel_power:.3f} ({cheapest.label}, "
        f"drop {with_unit(fixed(its_drop, 2), unit)})."
    )


def _validation_quality(point: Point) -> float | None:
    if point.validation is not None:
        return point.validation.value
    return point.quality if point.split == "validation" else None
