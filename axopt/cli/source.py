"""How model, data and conversion are named: by flags, and by every assignment that is saved."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any

from axopt.errors import ArgumentError, AssignmentError


@dataclass(frozen=True)
class Source:
    """What an emulated model is built from; a search stores it in every assignment.

    ``calibration_samples`` is None for `CALIBRATION_SAMPLES`, or all if there are fewer.
    ``accumulator_bits`` is None for an accumulator that never overflows.
    """

    model: str
    weights: str | None
    data: str
    calibrator: str = "mse"
    weight_scales: str = "per-channel"
    calibration_samples: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    padded_taps: str = "multiply"
    accumulator_bits: int | None = None
    overflow: str | None = None
    library: str | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        if self.overflow is not None and self.accumulator_bits is None:
            raise ArgumentError("`--overflow` goes with `--accumulator-bits`.")

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def source_given(options: argparse.Namespace, model: str) -> Source:
    """Return the source that the options name; the data default to those of the zoo's model.

    Raises:
        ArgumentError: If no data is named and the model has none.
    """
    return Source(
        model=model,
        weights=None if options.weights is None else str(options.weights),
        data=options.data or default_data(model),
        calibrator=options.calibrator or Source.calibrator,
        weight_scales=options.weight_scales or Source.weight_scales,
        calibration_samples=options.calibration_samples,
        include=tuple(options.include or ()),
        exclude=tuple(options.exclude or ()),
        padded_taps=options.padded_taps or Source.padded_taps,
        accumulator_bits=options.accumulator_bits,
        overflow=options.overflow,
        library=None if options.library is None else str(options.library),
        output=getattr(options, "output", None),
    )


_KINDS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "weights": (str, NoneType),
    "data": str,
    "calibrator": str,
    "weight_scales": str,
    "calibration_samples": (int, NoneType),
    "include": list,
    "exclude": list,
    "padded_taps": str,
    "accumulator_bits": (int, NoneType),
    "overflow": (str, NoneType),
    "library": (str, NoneType),
    "output": (str, NoneType),
}
_HARDWARE = ("padded_taps", "accumulator_bits", "overflow")
_GIVEN = ("model", "weights", "data", *_HARDWARE, "library", "output")


def source_of(document: Mapping[str, Any], where: str, options: argparse.Namespace) -> Source:
    """Read a source back from the ``model`` section of an assignment.

    Args:
        document: The section.
        where: The file's name, for messages.
        options: Flags, which win over the file. A factory that a file names is called only if
            the user names it too: reading a file must not import code.

    Raises:
        ArgumentError: If options of the hardware do not fit each other.
        AssignmentError: If a field is malformed, or model or data are in neither.
    """
    given = {name: getattr(options, name, None) for name in _GIVEN}
    instead = {
        name: value if isinstance(value, int) else str(value)
        for name, value in given.items()
        if value is not None
    }
    fields = {name: document[name] for name in _KINDS if name in document} | instead
    for name, value in fields.items():
        if not isinstance(value, _KINDS[name]):
            raise AssignmentError(f"{where}: `model.{name}` is malformed: {value!r}.")
    for name in ("model", "data"):
        if name not in fields:
            raise AssignmentError(f"{where}: does not name its {name}: give `--{name}`.")
    if ":" in fields["model"] and "model" not in instead:
        raise AssignmentError(
            f"{where}: made with the factory {fields['model']!r}, which a file must not start:"
            " give `--model` yourself."
        )
    for name in {"include", "exclude"} & fields.keys():
        fields[name] = tuple(map(str, fields[name]))
    return Source(**{"weights": None, **fields})


def default_data(model: str) -> str:
    """Return the data that a model of the zoo is used with.

    Raises:
        ArgumentError: If it has none, or the model is not of the zoo.
    """
    from axopt import zoo

    data = None if ":" in model else zoo.default_data(model)
    if data is None:
        raise ArgumentError(f"`--data` must be given: {model} has no data of its own.")
    return data
