"""Flags that restrict which multipliers layers may have."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from axopt.cli.arguments import names
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
