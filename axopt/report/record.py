"""What a run found, as plain values: the only input of this room.

A record is JSON in the store's meta table, so that `axopt report` can rebuild every output
without the model or the data.
"""

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from math import isfinite
from pathlib import PurePosixPath
from types import UnionType
from typing import Any, NamedTuple, Self, get_args, get_origin

from axopt.errors import ArgumentError

SCHEMA = 1
ROUNDING = 1e-9  # the Wilson interval of 100 % may end a rounding error below 100 %


class Quality(NamedTuple):
    """A quality and the ends of its confidence interval, in the record's unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Layer:
    """An emulated layer: its name and kind, and the MACs that one input costs in it."""

    name: str
    kind: str
    macs: int

    def __post_init__(self) -> None:
        _check_plain_fields(self)


@dataclass(frozen=True)
class Choice:
    """What one layer uses: a multiplier's key, and whether its operands are swapped."""

    multiplier: str
    swap: bool

    def __post_init__(self) -> None:
        _check_plain_fields(self)


@dataclass(frozen=True)
class Trial:
    """One evaluation of the search.

    ``quality`` is on the validation split; it and ``rel_power`` are None if the trial failed.
    """

    number: int
    state: str
    quality: float | None
    rel_power: float | None

    def __post_init__(self) -> None:
        _check_plain_fields(self)


@dataclass(frozen=True)
class Point:
    """An assignment of multipliers to layers, with what it reaches and costs.

    ``quality`` and its interval are on ``split``, in the record's unit; ``rel_power`` and
    ``rel_area`` are relative to the record's reference circuit; ``layers`` is in the order of
    the record's layers. ``assignment`` is the file of a point of the front, relative to the run
    folder, and empty for a point that has none. ``validation`` is the quality that the search saw.
    """

    label: str
    split: str
    quality: float
    quality_low: float
    quality_high: float
    rel_power: float
    rel_area: float
    delay_ns: float
    layers: tuple[Choice, ...]
    assignment: str = ""
    validation: Quality | None = None

    def __post_init__(self) -> None:
        _check_plain_fields(self)
        _check_interval("quality", Quality(self.quality, self.quality_low, self.quality_high))
        _check_interval("validation", self.validation)
        path = PurePosixPath(self.assignment)
        if path.is_absolute() or ".." in path.parts:
            raise ArgumentError(
                f"`assignment` must be a path inside the run folder, got {self.assignment!r}."
            )


@dataclass(frozen=True)
class RunRecord:
    """A finished or stopped search.

    ``front`` is sorted by ``rel_power``, highest first, so that ``point-00`` is the one that
    loses least on the validation split. Its qualities, on the test split, need not fall
    steadily. ``exact``, ``uniform`` and ``front`` are on one split; ``uniform`` points are
    labelled with their multiplier's key. ``n_validation`` and ``n_test`` count samples.
    ``higher_is_better`` tells how qualities compare.

    Raises:
        ArgumentError: If a value breaks its rule. NaN and infinity are never accepted.
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
    trials: tuple[Trial, ...]
    higher_is_better: bool = True  # what records that do not say so mean

    def __post_init__(self) -> None:
        _check_plain_fields(self)
        _check_interval("float_quality", self.float_quality)
        named = [("exact", self.exact)]
        named += [(f"uniform[{i}]", point) for i, point in enumerate(self.uniform)]
        named += [(f"front[{i}]", point) for i, point in enumerate(self.front)]
        for name, point in named:
            _check_fits(name, point, self.exact.split, len(self.layers))
        powers = [point.rel_power for point in self.front]
        if powers != sorted(powers, reverse=True):
            raise ArgumentError(f"`front` must be sorted by `rel_power`, falling, got {powers}.")
        labels = [point.label for point in self.front]
        if len(set(labels)) != len(labels):
            raise ArgumentError(f"`front` must have distinct labels, got {labels}.")

    def loss(self, quality: float) -> float:
        """How much worse ``quality`` is than that of the exact model."""
        difference = self.exact.quality - quality
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
            ArgumentError: If ``text`` is not JSON, is of another schema, or breaks a rule.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArgumentError(f"`text` must be the JSON of a run record: {error}.") from error
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != SCHEMA:
            raise ArgumentError(f"`schema` of the run record must be {SCHEMA}, got {schema!r}.")
        record: Self = _decode(cls, document.get("record"), "record")
        return record


_RULES = {
    str: "a string",
    bool: "true or false",
    int: "an integer >= 0",
    float: "a finite number",
}


def _check_plain_fields(instance: Any) -> None:
    for field in fields(instance):
        value = getattr(instance, field.name)
        kind = field.type
        if get_origin(kind) is UnionType:
            if value is None:
                continue
            kind = get_args(kind)[0]
        if kind in _RULES and not _is_plain(kind, value):
            raise ArgumentError(f"`{field.name}` must be {_RULES[kind]}, got {value!r}.")


def _is_plain(kind: Any, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and type(value) is not bool and isfinite(value)
    if kind is int:
        return type(value) is int and value >= 0
    return isinstance(value, kind)


def _check_interval(name: str, quality: Quality | None) -> None:
    if quality is None:
        return
    if not all(_is_plain(float, number) for number in quality):
        raise ArgumentError(f"`{name}` must hold finite numbers, got {tuple(quality)}.")
    if not quality.low - ROUNDING <= quality.value <= quality.high + ROUNDING:
        raise ArgumentError(f"`{name}` must lie in its interval, got {tuple(quality)}.")


def _check_fits(name: str, point: Point, split: str, n_layers: int) -> None:
    if point.split != split:
        raise ArgumentError(
            f"`{name}` must be on the split {split!r} of the exact model, got {point.split!r}."
        )
    if len(point.layers) != n_layers:
        raise ArgumentError(
            f"`{name}.layers` must have one entry for each of the {n_layers} layers, "
            f"got {len(point.layers)}."
        )


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Rebuild ``value`` as ``kind``; plain values are checked by the class that holds them."""
    if get_origin(kind) is UnionType:
        return None if value is None else _decode(get_args(kind)[0], value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ArgumentError(f"`{where}` must be a list, got {type(value).__name__}.")
        item = get_args(kind)[0]
        return tuple(_decode(item, part, f"{where}[{i}]") for i, part in enumerate(value))
    if kind is Quality:
        if not isinstance(value, list) or len(value) != 3:
            raise ArgumentError(f"`{where}` must be [value, low, high], got {value!r}.")
        return Quality(*value)
    if not is_dataclass(kind):
        return value
    return _decode_object(kind, value, where)


def _decode_object(kind: Any, value: Any, where: str) -> Any:
    names = {field.name for field in fields(kind)}
    if not isinstance(value, dict):
        raise ArgumentError(f"`{where}` must be an object, got {type(value).__name__}.")
    if kind is RunRecord:
        value = {"higher_is_better": True} | value
    if wrong := sorted(names ^ value.keys()):
        raise ArgumentError(f"`{where}` must have the fields of {kind.__name__}, check {wrong}.")
    parts = {
        field.name: _decode(field.type, value[field.name], f"{where}.{field.name}")
        for field in fields(kind)
    }
    try:
        return kind(**parts)
    except ArgumentError as error:
        raise ArgumentError(f"`{where}`: {error}") from error
