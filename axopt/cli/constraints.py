"""Flags that restrict which multipliers layers may have."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from axopt.cli.arguments import figure, names
from axopt.cli.settings import StorePairs, option_pair
from axopt.errors import UnknownMultiplierError

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier, MultiplierLibrary

EXACT = "exact"
"""The exact multiplier that power is relative to, as the name of a multiplier."""


def add_layer_options(group: argparse._ArgumentGroup) -> None:
    """Add ``--fix`` and ``--candidates``."""
    group.add_argument(
        "--fix",
        dest="fixed",
        type=option_pair,
        action=StorePairs,
        metavar="PATTERN=NAME",
        help="layers, by name or pattern, that keep one multiplier of the library, or 'exact'; "
        "repeatable",
    )
    group.add_argument(
        "--candidates",
        type=_candidates_pair,
        action=StorePairs,
        metavar="PATTERN=NAME,...",
        help="layers, by name or pattern, and the multipliers that they choose from, by name or "
        "pattern; repeatable (default: all that are searched among)",
    )


def add_caps(group: argparse._ArgumentGroup) -> None:
    """Add ``--max-drop``, ``--max-power`` and ``--max-delay``."""
    group.add_argument(
        "--max-drop",
        type=figure,
        metavar="DROP",
        help="look for assignments that lose at most DROP against the exact multiplier, in the "
        "metric's unit, on the validation split; the front holds only these (default: any drop)",
    )
    group.add_argument(
        "--max-power",
        type=_positive,
        metavar="POWER",
        help="look for assignments whose relative power is at most POWER, likewise (default: any "
        "power)",
    )
    group.add_argument(
        "--max-delay",
        dest="max_delay_ns",
        type=_positive,
        metavar="NS",
        help="use only multipliers with a delay of at most NS nanoseconds (default: any delay)",
    )


def _positive(text: str) -> float:
    """Argument type of a finite number > 0."""
    value = figure(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"must be a finite number > 0, got {text!r}")
    return value


def _candidates_pair(text: str) -> tuple[str, list[str]]:
    """Argument type of ``pattern=name,name``."""
    pattern, listed = option_pair(text)
    return pattern, names(listed)


def fixed_of(
    library: MultiplierLibrary, fixed: Mapping[str, str] | None
) -> dict[str, str | Multiplier]:
    """Return the multipliers of ``--fix``, looked up in the library.

    Raises:
        UnknownMultiplierError: If a name is unknown; names the flag and the pattern.
    """
    return {
        pattern: _looked_up(library, "--fix", pattern, name)
        for pattern, name in (fixed or {}).items()
    }


def candidates_of(
    library: MultiplierLibrary, candidates: Mapping[str, Sequence[str]] | None
) -> dict[str, list[str | Multiplier]]:
    """Return the multipliers of ``--candidates``, looked up in the library; patterns stay.

    Raises:
        UnknownMultiplierError: If a name is unknown; names the flag and the pattern.
    """
    return {
        pattern: [_looked_up(library, "--candidates", pattern, name) for name in listed]
        for pattern, listed in (candidates or {}).items()
    }


def _looked_up(library: MultiplierLibrary, flag: str, pattern: str, name: str) -> str | Multiplier:
    if name == EXACT or (flag == "--candidates" and any(c in name for c in "*?[")):
        return name
    try:
        return library[name]
    except UnknownMultiplierError as error:
        raise UnknownMultiplierError(f"`{flag}` of {pattern!r}: {error}") from None
