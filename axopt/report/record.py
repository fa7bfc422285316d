"""The record of a run, as plain values: the only input of this room.

A run folder keeps it as ``record.json``, so that `axopt report` can write every output again
without the model or the data.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Self

from axopt.errors import ReportError
from axopt.report.decoding import decode, parse
from axopt.report.entries import Layer, LayerOption, LeftOut, TrialRow, UsedMultiplier
from axopt.report.rules import check_interval, check_option, check_plain, check_plain_fields, short

SCHEMA = 2
READABLE_SCHEMAS = (1, 2)  # 1 lacks the fields that have defaults below
ESTIMATES = ("rel_power", "rel_area", "delay_ns")
"""Figures of a point that may be estimates."""


class Quality(NamedTuple):
    """A quality with its 95 % interval, in the record's unit.

    Attributes:
        value: The quality.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Example:
        >>> Quality(99.2, 97.6, 99.7).low
        97.6
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Point:
    """An assignment of multipliers to layers, with its quality and hardware cost.

    Attributes:
        label: Name of the point: ``"point-00"``, or a multiplier's key for a uniform assignment.
        split: Split that the quality was measured on: ``"test"`` or ``"validation"``.
        quality: Quality in the record's unit.
        quality_low: Lower end of the quality's 95 % interval.
        quality_high: Upper end of the quality's 95 % interval.
        rel_power: Power relative to the record's reference multiplier.
        rel_area: Area relative to the record's reference multiplier.
        delay_ns: Largest delay of the multipliers in use, in ns.
        layers: What each layer uses, in the order of the record's layers.
        assignment: File of the assignment, relative to the run folder; empty if there is none.
        validation: Quality on the validation split, which the search saw; None if not measured.
            The baseline of records of earlier versions has none.
        drop: How much worse the quality is than the baseline's, measured on the same samples;
            positive is worse. None if it was not measured.
        drop_low: Lower end of the drop's 95 % paired interval.
        drop_high: Upper end of the drop's 95 % paired interval.
        dominated: Whether another point of the front is at least as good in the metric and in
            every cost on ``split`` and better in one. False for points outside the front.
        intervals: Lowest and highest value of ``rel_power``, ``rel_area`` and ``delay_ns``, by
            these names, where the figure is an estimate; empty where all figures are published.
        rel_power_activity: Power under the layers' own data relative to that of the record's
            reference multiplier; None if the search did not minimise it.
        divergence: Mean divergence of the outputs from those of the exact network on ``split``;
            None if it was not measured.
        validation_divergence: The same on the validation split.
        alike: Label of the next point of less power that is not dominated, if the samples of
            ``split`` cannot tell the two apart: the 95 % paired interval of the difference of
            their qualities contains 0. Empty otherwise.

    Raises:
        ReportError: If a value breaks its rule, or a quality or drop is outside its interval.

    Example:
        >>> from axopt.report import example_record
        >>> point = example_record().front[1]
        >>> point.label, point.quality, point.drop, point.dominated
        ('point-01', 98.6, 0.6, True)
    """

    label: str
    split: str
    quality: float
    quality_low: float
    quality_high: float
    rel_power: float
    rel_area: float
    delay_ns: float
    layers: tuple[LayerOption, ...]
    assignment: str = ""
    validation: Quality | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    dominated: bool = False
    intervals: dict[str, Any] = field(default_factory=dict)
    rel_power_activity: float | None = None
    divergence: float | None = None
    validation_divergence: float | None = None
    alike: str = ""

    def __post_init__(self) -> None:
        check_plain_fields(self)
        self._check_intervals()
        check_interval("quality", Quality(self.quality, self.quality_low, self.quality_high))
        check_interval("validation", self.validation)
        self._check_drop()
        path = PurePosixPath(self.assignment)
        if path.is_absolute() or ".." in path.parts:
            raise ReportError(
                f"`assignment` must be a path inside the run folder, got {short(self.assignment)}."
            )

    def _check_intervals(self) -> None:
        checked = {}
        for name, interval in self.intervals.items():
            if name not in ESTIMATES:
                raise ReportError(
                    f"`intervals` must be of {', '.join(ESTIMATES)}, got {short(name)}."
                )
            if not isinstance(interval, list | tuple) or len(interval) != 2:
                raise ReportError(
                    f"`intervals` must map names to [low, high], got {short(interval)}."
                )
            checked[name] = tuple(interval)
            check_interval(f"intervals.{name}", (getattr(self, name), *interval))
        object.__setattr__(self, "intervals", checked)

    def _check_drop(self) -> None:
        drop, low, high = self.drop, self.drop_low, self.drop_high
        if drop is None and low is None and high is None:
            return
        if drop is None or low is None or high is None:
            raise ReportError(
                "`drop`, `drop_low` and `drop_high` must be all numbers or all null, "
                f"got {(drop, low, high)}."
            )
        check_interval("drop", Quality(drop, low, high))


@dataclass(frozen=True)
class RunRecord:
    """A search: its settings, its trials, and the points measured after it.

    ``exact``, ``baseline``, ``uniform`` and ``front`` are measured on the same split.

    Attributes:
        title: Heading of the report.
        model: Name of the model.
        data: Name of the data set.
        metric: Name of the metric.
        unit: Unit of every quality: ``"%"``, or ``""`` for plain numbers.
        n_validation: Number of validation samples.
        n_test: Number of test samples.
        algorithm: Name of the search algorithm that ran.
        seed: Seed of the algorithm.
        budget: Number of distinct assignments that the search was allowed to evaluate.
        n_evaluated: Number of assignments evaluated.
        n_cached: Number of evaluations that the store of an earlier run answered.
        n_failed: Number of evaluations that failed.
        stop_reason: Why the search stopped.
        seconds: Duration of the run.
        reference: Key of the exact multiplier that power and area are relative to.
        layers: The emulated layers in the order of execution.
        exact: The exact multiplier in every layer, without corrections.
        float_quality: Quality of the float model; None if not measured.
        uniform: One multiplier in every layer, labelled with the multiplier's key.
        front: The front that the search found on the validation split, by falling ``rel_power``.
        trials: Every evaluation of the search.
        higher_is_better: Whether larger qualities are better.
        metric_title: Title of the metric for axes and tables; ``""`` in records of schema 1.
        baseline: The exact multiplier in every layer with the same treatment (corrections,
            re-estimated batch norms) as the front. Drops are relative to it. None in records of
            schema 1, whose drops are relative to ``exact``.
        coverage: Emulated share of the multiplications of one sample, 0..1; None if unknown.
        left_out: The products that stay in float, largest first.
        algorithm_asked: The algorithm that was asked for, if another one ran; else None.
        options: Options of the algorithm; values are texts, numbers, true, false or null.
        notes: Sentences about the run that its reader must know.
        remarks: Sentences on how the search went.
        partial: Whether the run was interrupted before it was complete.
        multipliers: The multipliers that the search could choose from; empty in records of
            earlier versions.
        objectives: Names of what the search minimised; empty in records of earlier versions.
        corner: The reference point of the hypervolume: the worst value of interest of each
            objective. Empty if there is none.
        hypervolumes: Hypervolume of the front on the validation split after each trial, bounded
            by ``corner``.

    Example:
        >>> from axopt.report import example_record
        >>> record = RunRecord.from_json(example_record().to_json())
        >>> record.title, record.coverage, len(record.front)
        ('small_cnn on digits', 0.995, 3)

    Raises:
        ReportError: If a value breaks its rule. NaN and infinity are never accepted.
    """

    title: str
    model: str
    data: str
    metric: str
    unit: str
    n_validation: int
    n_test: int
    algorithm: str
    seed: int
    budget: int
    n_evaluated: int
    n_cached: int
    n_failed: int
    stop_reason: str
    seconds: float
    reference: str
    layers: tuple[Layer, ...]
    exact: Point
    float_quality: Quality | None
    uniform: tuple[Point, ...]
    front: tuple[Point, ...]
    trials: tuple[TrialRow, ...]
    higher_is_better: bool = True
    metric_title: str = ""
    baseline: Point | None = None
    coverage: float | None = None
    left_out: tuple[LeftOut, ...] = ()
    algorithm_asked: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    partial: bool = False
    multipliers: tuple[UsedMultiplier, ...] = ()
    objectives: tuple[str, ...] = ()
    corner: tuple[float, ...] = ()
    hypervolumes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_plain_fields(self)
        check_interval("float_quality", self.float_quality)
        self._check_points()
        self._check_extent()

    def _check_points(self) -> None:
        named = [("exact", self.exact)]
        if self.baseline is not None:
            named.append(("baseline", self.baseline))
        named += [(f"uniform[{i}]", point) for i, point in enumerate(self.uniform)]
        named += [(f"front[{i}]", point) for i, point in enumerate(self.front)]
        for name, point in named:
            self._check_fits(name, point)
        powers = [point.rel_power for point in self.front]
        if powers != sorted(powers, reverse=True):
            raise ReportError(
                f"`front` must be sorted by `rel_power`, falling, got {short(powers)}."
            )
        labels = [point.label for point in self.front]
        if len(set(labels)) != len(labels):
            raise ReportError(f"`front` must have distinct labels, got {short(labels)}.")
        for i, point in enumerate(self.front):
            if point.alike and point.alike not in labels[i + 1 :]:
                raise ReportError(
                    f"`front[{i}].alike` must be the label of a later point, "
                    f"got {short(point.alike)}."
                )

    def _check_extent(self) -> None:
        if self.coverage is not None and not 0 <= self.coverage <= 1:
            raise ReportError(f"`coverage` must be in 0..1, got {self.coverage!r}.")
        texts = {
            "notes": self.notes,
            "remarks": self.remarks,
            "objectives": self.objectives,
        }
        for field_name, values in texts.items():
            for i, text in enumerate(values):
                check_plain(f"{field_name}[{i}]", str, text)
        self._check_hypervolumes()
        for name, value in self.options.items():
            check_option(name, value)

    def _check_hypervolumes(self) -> None:
        numbers = {"corner": self.corner, "hypervolumes": self.hypervolumes}
        for name, values in numbers.items():
            for i, value in enumerate(values):
                check_plain(f"{name}[{i}]", float, value)
        expected = (len(self.objectives), len(self.trials)) if self.corner else (0, 0)
        if (len(self.corner), len(self.hypervolumes)) != expected:
            raise ReportError(
                "`corner` must have one value an objective and `hypervolumes` one a trial, or "
                f"both none, got {len(self.corner)} and {len(self.hypervolumes)}."
            )

    def _check_fits(self, name: str, point: Point) -> None:
        if point.split != self.exact.split:
            raise ReportError(
                f"`{name}` must be on the split {self.exact.split!r} of the exact multiplier's "
                f"point, got {point.split!r}."
            )
        if len(point.layers) != len(self.layers):
            raise ReportError(
                f"`{name}.layers` must have one entry for each of the {len(self.layers)} layers, "
                f"got {len(point.layers)}."
            )

    @property
    def reference_point(self) -> Point:
        """The point that drops are relative to: the baseline, or ``exact`` in old records."""
        return self.exact if self.baseline is None else self.baseline

    @property
    def has_uncorrected(self) -> bool:
        """Whether ``exact`` was measured beside a baseline that is corrected."""
        return self.baseline is not None and self.baseline.label != self.exact.label

    def drop(self, point: Point) -> float:
        """Return how much worse a point's quality is than the baseline's; positive is worse.

        It is the measured ``point.drop`` where there is one, else the difference of qualities.
        """
        if point.drop is not None:
            return point.drop
        difference = self.reference_point.quality - point.quality
        return difference if self.higher_is_better else -difference

    @property
    def n_samples(self) -> int:
        """Number of samples behind each quality of ``exact``, ``uniform`` and ``front``."""
        return self.n_validation if self.exact.split == "validation" else self.n_test

    def to_json(self) -> str:
        """Return JSON that `from_json` turns into an equal record."""
        return json.dumps({"schema": SCHEMA, "record": asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild a record from `to_json`'s text.

        Raises:
            ReportError: If ``text`` is not JSON, is of another schema, or breaks a rule.
        """
        document = parse(text)
        schema = document.get("schema") if isinstance(document, dict) else None
        if type(schema) is not int or schema not in READABLE_SCHEMAS:
            readable = " or ".join(map(str, READABLE_SCHEMAS))
            raise ReportError(
                f"`schema` of the run record must be {readable}, got {short(schema)}."
            )
        record: Self = decode(cls, document.get("record"), "record")
        return record
