"""Rules for the plain values of a record; a message names the field, the rule and the value."""

from collections.abc import Sequence
from dataclasses import fields
from math import isfinite
from types import UnionType
from typing import Any, get_args, get_origin

from axopt.errors import ReportError

ROUNDING = 1e-9  # the Wilson interval of 100 % may end a rounding error below 100 %
MAX_INTEGER = 2**63 - 1
MAX_NUMBER = 1e100  # differences and ratios of larger numbers overflow
MAX_TEXT = 10_000
_SHOWN_CHARACTERS = 80

_RULES = {
    str: f"a text of at most {MAX_TEXT:,} Unicode characters",
    bool: "true or false",
    int: "an integer in 0..2**63 - 1",
    float: f"a finite number, at most {MAX_NUMBER:g} in magnitude",
}


def short(value: object) -> str:
    """Return the representation of ``value``, elided in the middle if it is long."""
    if type(value) is int and abs(value) > MAX_INTEGER:
        return f"an integer of {value.bit_length()} bits"  # its decimal digits may be refused
    try:
        text = repr(value)
    except ValueError:  # a container with such an integer
        return f"a {type(value).__name__} with an integer of thousands of digits"
    half = _SHOWN_CHARACTERS // 2
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:half]} ... {text[-half:]}"


def check_plain_fields(instance: Any) -> None:
    """Check each field of a dataclass that is annotated with a plain type, or it or None.

    Raises:
        ReportError: If a value breaks the rule of its type.
    """
    for part in fields(instance):
        value = getattr(instance, part.name)
        kind = part.type
        if get_origin(kind) is UnionType:
            if value is None:
                continue
            kind = get_args(kind)[0]
        if kind in _RULES:
            check_plain(part.name, kind, value)


def check_plain(name: str, kind: Any, value: object) -> None:
    """Check that ``value`` is a text, boolean, integer or number that a report can show.

    Raises:
        ReportError: If it is not.
    """
    if not _is_plain(kind, value):
        raise ReportError(f"`{name}` must be {_RULES[kind]}, got {short(value)}.")


def check_interval(name: str, quality: Sequence[float] | None) -> None:
    """Check that ``quality`` is a number and the ends of an interval around it, or None.

    Raises:
        ReportError: If it is not.
    """
    if quality is None:
        return
    if not all(_is_plain(float, number) for number in quality):
        rule = f"must hold finite numbers, at most {MAX_NUMBER:g} in magnitude"
        raise ReportError(f"`{name}` {rule}, got {short(tuple(quality))}.")
    value, low, high = quality
    if not low - ROUNDING <= value <= high + ROUNDING:
        raise ReportError(f"`{name}` must lie in its interval, got {short(tuple(quality))}.")


def check_option(name: object, value: object) -> None:
    """Check an option of an algorithm: a text, a number, true, false or null.

    Raises:
        ReportError: If its name or value is anything else.
    """
    right = value is None or isinstance(value, bool) or _is_plain(str, value)
    if not _is_plain(str, name) or not (right or _is_plain(float, value)):
        raise ReportError(
            "`options` must map names to texts, finite numbers, true, false or null, "
            f"got {short(name)}: {short(value)}."
        )


def _is_plain(kind: Any, value: object) -> bool:
    if kind is float:
        return _is_number(value)
    if kind is int:
        return type(value) is int and 0 <= value <= MAX_INTEGER
    if kind is str:
        return isinstance(value, str) and len(value) <= MAX_TEXT and _is_unicode(value)
    return isinstance(value, kind)


def _is_number(value: object) -> bool:
    if type(value) is int:
        return abs(value) <= MAX_NUMBER
    return isinstance(value, float) and isfinite(value) and abs(value) <= MAX_NUMBER


def _is_unicode(text: str) -> bool:
    """Whether ``text`` is free of lone surrogates, which no file can hold as UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
