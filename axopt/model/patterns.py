"""Layers given by name or pattern."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterable

from axopt.errors import UnknownLayerError


def matching(names: Collection[str], patterns: Iterable[str], argument: str) -> set[str]:
    """The names that match one of the patterns.

    Args:
        names: All there are.
        patterns: Names or patterns as a shell has them (``layer1.*``).
        argument: What messages call ``patterns``.

    Raises:
        UnknownLayerError: If a pattern matches none; the message lists near misses.
    """
    found: set[str] = set()
    for pattern in patterns:
        matches = fnmatch.filter(names, pattern)
        if not matches:
            near = difflib.get_close_matches(pattern, names, n=3)
            hint = f"; did you mean {', '.join(map(repr, near))}?" if near else "."
            raise UnknownLayerError(f"`{argument}`: no layer matches {pattern!r}{hint}")
        found.update(matches)
    return found
