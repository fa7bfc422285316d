"""Layers selected by names or patterns."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterable

from axopt.errors import UnknownLayerError


def matching(names: Collection[str], patterns: Iterable[str], argument: str) -> set[str]:
    """Return the names that match one of the patterns.

    Args:
        names: All names.
        patterns: Names or shell patterns (``layer1.*``).
        argument: Name of the argument in messages.

    Raises:
        UnknownLayerError: If a pattern matches no name; the message lists near misses.

    Example:
        >>> sorted(matching(["conv1", "conv2", "fc"], ["conv*"], "include"))
        ['conv1', 'conv2']
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
