"""Gates around the leading one of a number: detector, encoder, selection, shifts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

from axopt.circuits.builder import ZERO, NetlistBuilder


def any_of(build: NetlistBuilder, bits: Iterable[int]) -> int:
    """Return whether any bit is 1."""
    return reduce(build.or_, bits, ZERO)


def leading_ones(build: NetlistBuilder, x: Sequence[int], lowest: int) -> tuple[list[int], int]:
    """Detect the leading one of a number.

    Args:
        build: Where the gates are added.
        x: The bits of the number, from the lowest.
        lowest: The lowest position that is looked at.

    Returns:
        A signal for each position from ``lowest``: whether the leading one is there; and whether
        it is at any of them.
    """
    found = ZERO
    detected = []
    for bit in reversed(x[lowest:]):
        detected.append(build.and_(bit, build.not_(found)))
        found = build.or_(found, bit)
    return detected[::-1], found


def encoded(build: NetlistBuilder, lines: Sequence[int], first: int) -> list[int]:
    """Return, in binary, the number of the line that is 1, counted from ``first``."""
    last = first + len(lines) - 1
    return [
        any_of(build, (line for n, line in enumerate(lines, first) if n >> bit & 1))
        for bit in range(last.bit_length())
    ]


def shifted(
    build: NetlistBuilder, x: Sequence[int], by: Sequence[int], width: int, unit: int = 1
) -> list[int]:
    """Return ``x`` shifted left by a binary number times ``unit``, ``width`` bits of it."""
    x = (list(x) + [ZERO] * width)[:width]
    for stage, bit in enumerate(by):
        distance = min(unit << stage, width)
        moved = [ZERO] * distance + x[: width - distance]
        x = [build.mux(bit, stay, move) for stay, move in zip(x, moved, strict=True)]
    return x
