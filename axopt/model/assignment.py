"""Assignments: the multiplier of each layer, as a value that can be saved and loaded.

The file is JSON with sorted keys, UTF-8, written atomically. Besides the layers it holds the data
that reproduce a result: the digest of the model, the quantisation parameters, metrics and cost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from axopt.errors import AssignmentError
from axopt.files import as_path, read_bytes, write_text_atomically

SCHEMA = 1

_MAX_FILE_BYTES = 64 << 20
"""Most bytes that `Assignment.load` reads; a corrected layer takes a few kilobytes."""

_SECTIONS = ("model", "quantisation", "metrics", "cost")


@dataclass(frozen=True)
class LayerAssignment:
    """The multiplier of one layer.

    Attributes:
        multiplier: Key in the library, "release/name".
        digest: sha256 of the product table, which identifies the multiplier.
        swap: Whether the weight is the first operand.
        bits: Widths of the multiplier's first and second operand; files of earlier versions have
            none, and all their multipliers are of 8 x 8 bits.

    Example:
        >>> import axopt
        >>> multiplier = axopt.load_library()["mul8s_1L2H"]
        >>> LayerAssignment(multiplier.key, multiplier.digest).multiplier
        'v1/mul8s_1L2H'
    """

    multiplier: str
    digest: str
    swap: bool = False
    bits: tuple[int, int] = (8, 8)


@dataclass(frozen=True)
class Assignment:
    """The multipliers of all emulated layers of a model.

    Attributes:
        layers: Layer name -> its multiplier: in the order of execution when made from a model,
            sorted by name when read from a file.
        model: Facts about the model; "digest" identifies the emulated model.
        quantisation: Layer name -> parameters of activations and weights.
        metrics: Measured quality.
        cost: Power, area and delay figures.

    Example:
        >>> import axopt
        >>> multiplier = axopt.load_library()["mul8s_1L2H"]
        >>> assignment = Assignment({"fc": LayerAssignment(multiplier.key, multiplier.digest)})
        >>> Assignment.from_json(assignment.to_json()) == assignment
        True
    """

    layers: Mapping[str, LayerAssignment]
    model: Mapping[str, Any] = field(default_factory=dict)
    quantisation: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of the file."""
        document: dict[str, Any] = {section: getattr(self, section) for section in _SECTIONS}
        document["schema"] = SCHEMA
        document["layers"] = {name: _layer_entry(a) for name, a in self.layers.items()}
        _check_finite(document, "assignment")
        return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "assignment") -> Assignment:
        """Parse the text of a file.

        Args:
            text: The JSON document.
            source: Name of the text in error messages.

        Raises:
            AssignmentError: If the text is not an assignment; names the field and the value.
        """
        try:
            document = json.loads(
                text, object_pairs_hook=_unique_keys, parse_constant=_no_constants
            )
        except (ValueError, RecursionError) as error:
            raise AssignmentError(f"{source}: not valid JSON: {error}") from None
        if not isinstance(document, dict):
            raise AssignmentError(f"{source}: must be an object, got {_short(document)}.")
        if document.get("schema") != SCHEMA:
            raise AssignmentError(
                f"{source}: `schema` must be {SCHEMA}, got {_short(document.get('schema'))}."
            )
        unknown = set(document) - {"schema", "layers", *_SECTIONS}
        if unknown:
            raise AssignmentError(f"{source}: unknown field {sorted(unknown)[0]!r}.")
        _check_finite(document, source)
        layers = _object(document, "layers", source)
        return cls(
            {name: _parse_layer(name, entry, source) for name, entry in layers.items()},
            **{section: _object(document, section, source, {}) for section in _SECTIONS},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file atomically, replacing an existing one."""
        write_text_atomically(as_path(path, "path"), self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Assignment:
        """Read a file.

        Raises:
            AssignmentError: If it is not an assignment; the message names the file and field.
            OSError: If it cannot be read, is not a regular file or has more than 64 MiB.
        """
        path = as_path(path, "path")
        content = read_bytes(path, limit=_MAX_FILE_BYTES)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise AssignmentError(f"{path}: not UTF-8: {error}") from None
        return cls.from_json(text, str(path))


def _layer_entry(layer: LayerAssignment) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "multiplier": layer.multiplier,
        "digest": layer.digest,
        "swap": layer.swap,
    }
    if layer.bits != (8, 8):
        entry["bits"] = list(layer.bits)
    return entry


def _parse_layer(name: str, entry: Any, source: str) -> LayerAssignment:
    where = f"{source}: layers[{name!r}]"
    if not isinstance(entry, dict):
        raise AssignmentError(f"{where} must be an object, got {_short(entry)}.")
    unknown = set(entry) - {"multiplier", "digest", "swap", "bits"}
    if unknown:
        raise AssignmentError(f"{where}: unknown field {sorted(unknown)[0]!r}.")
    for key in ("multiplier", "digest"):
        if not isinstance(entry.get(key), str):
            raise AssignmentError(f"{where}.{key} must be a string, got {_short(entry.get(key))}.")
    swap = entry.get("swap", False)
    if not isinstance(swap, bool):
        raise AssignmentError(f"{where}.swap must be true or false, got {_short(swap)}.")
    bits = entry.get("bits", [8, 8])
    right = isinstance(bits, list) and len(bits) == 2
    if not right or not all(type(n) is int and 2 <= n <= 8 for n in bits):
        raise AssignmentError(f"{where}.bits must be two integers in 2..8, got {_short(bits)}.")
    return LayerAssignment(entry["multiplier"], entry["digest"], swap, (bits[0], bits[1]))


def _check_finite(document: Mapping[str, Any], source: str) -> None:
    """Refuse NaN and infinity: JSON has neither, but Python parses ``1e999`` as infinity."""
    pending: list[tuple[str, Any]] = list(document.items())
    while pending:
        name, value = pending.pop()
        if isinstance(value, float) and not isfinite(value):
            raise AssignmentError(f"{source}: `{name}` must be a finite number, got {value}.")
        if isinstance(value, Mapping):
            pending += [(f"{name}.{key}", part) for key, part in value.items()]
        elif isinstance(value, list | tuple):
            pending += [(f"{name}[{i}]", part) for i, part in enumerate(value)]


def _object(document: dict[str, Any], key: str, source: str, default: Any = None) -> Any:
    value = document.get(key, default)
    if not isinstance(value, dict):
        raise AssignmentError(f"{source}: `{key}` must be an object, got {_short(value)}.")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"duplicate key {key!r}")
        found[key] = value
    return found


def _no_constants(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
