"""From the JSON of a record to its dataclasses."""

import json
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin

from axopt.errors import ReportError
from axopt.report.rules import short


def parse(text: str) -> Any:
    """Return the JSON value that ``text`` holds.

    Raises:
        ReportError: If ``text`` is not JSON, too deeply nested, or has an integer of thousands of
            digits.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"`text` must be the JSON of a run record: {error}.") from error


def decode(kind: Any, value: Any, where: str) -> Any:
    """Rebuild a value of JSON as ``kind``.

    Args:
        kind: A dataclass, a named tuple of numbers, ``tuple[T, ...]``, ``dict[str, Any]``,
            ``T | None``, or a plain type. Plain values are checked by the class that holds them.
        value: The JSON value.
        where: Path of the value, for messages.

    Raises:
        ReportError: If the value does not have the form of ``kind``.
    """
    origin = get_origin(kind)
    if origin is UnionType:
        return None if value is None else decode(get_args(kind)[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ReportError(f"`{where}` must be a list, got {short(value)}.")
        item = get_args(kind)[0]
        return tuple(decode(item, part, f"{where}[{i}]") for i, part in enumerate(value))
    if origin is dict:
        return _object(value, where)
    if is_dataclass(kind):
        return _decode_dataclass(kind, _object(value, where), where)
    if isinstance(kind, type) and issubclass(kind, tuple):
        return _decode_named_tuple(kind, value, where)
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ReportError(f"`{where}` must be an object, got {short(value)}.")
    return value


def _decode_named_tuple(kind: Any, value: Any, where: str) -> Any:
    names = kind._fields
    if not isinstance(value, list) or len(value) != len(names):
        raise ReportError(f"`{where}` must be [{', '.join(names)}], got {short(value)}.")
    return kind(*value)


def _decode_dataclass(kind: Any, value: dict[str, Any], where: str) -> Any:
    """Rebuild a dataclass; fields that have a default may be missing, as in older records."""
    known = {part.name: part for part in fields(kind)}
    needed = {
        name
        for name, part in known.items()
        if part.default is MISSING and part.default_factory is MISSING
    }
    if wrong := sorted((needed - value.keys()) | (value.keys() - known.keys())):
        raise ReportError(
            f"`{where}` must have the fields of {kind.__name__}, check {short(wrong)}."
        )
    parts = {
        name: decode(known[name].type, part, f"{where}.{name}") for name, part in value.items()
    }
    try:
        return kind(**parts)
    except ReportError as error:
        raise ReportError(f"`{where}`: {error}") from error
