"""Sums of rows of bits: how the partial products of a multiplier are added.

A row is a list of signals, one for each weight from 1, of the width of the sum; `ZERO` where it
has no bit. Sums are taken modulo ``2**width``.

.. [Wallace1964] C. S. Wallace, "A suggestion for a fast multiplier", IEEE Transactions on
   Electronic Computers EC-13(1), 1964. doi:10.1109/PGEC.1964.263830
.. [Dadda1965] L. Dadda, "Some schemes for parallel multipliers", Alta Frequenza 34, 1965.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from axopt.circuits.builder import ZERO, NetlistBuilder
from axopt.circuits.families.parameters import OneOf

Rows = list[list[int]]


def sum_of_rows(build: NetlistBuilder, rows: Rows, width: int, reduction: str) -> list[int]:
    """Return the ``width`` bits of the sum of rows.

    Args:
        build: Where the gates are added.
        rows: Rows of ``width`` signals.
        width: Number of bits of the sum.
        reduction: One of `REDUCTIONS`.

    Example:
        >>> build = NetlistBuilder(2, 2, signed=False)
        >>> build.netlist(sum_of_rows(build, [[*build.a, 0], [*build.w, 0]], 3, "array")).counts
        Counter({'has': 1, 'hac': 1, 'fas': 1, 'fac': 1})
    """
    rows = REDUCTIONS[reduction](build, [row for row in rows if any(row)], width)
    first, second = (*rows, [ZERO] * width, [ZERO] * width)[:2]
    return build.ripple_add(first, second)[:width]


def product_rows(
    build: NetlistBuilder, x: Sequence[int], y: Sequence[int], width: int
) -> list[list[int]]:
    """Return the partial products of two unsigned numbers, one row for each bit of ``x``."""
    rows = []
    for i, bit in enumerate(x):
        row = [ZERO] * i + [build.and_(bit, other) for other in y]
        rows.append((row + [ZERO] * width)[:width])
    return rows


def rows_of_columns(columns: Sequence[Sequence[int]]) -> Rows:
    """Return rows that hold the bits of columns."""
    height = max((len(column) for column in columns), default=0)
    return [[c[k] if k < len(c) else ZERO for c in columns] for k in range(height)]


def _array(build: NetlistBuilder, rows: Rows, width: int) -> Rows:
    """Add row after row, each with a ripple-carry adder."""
    for _ in range(len(rows) - 2):
        rows = [build.ripple_add(rows[0], rows[1])[:width], *rows[2:]]
    return rows


def _carry_save(build: NetlistBuilder, rows: Rows, width: int) -> Rows:
    """Add row after row to a sum and its carries."""
    while len(rows) > 2:
        rows = [*_three_to_two(build, rows[:3]), *rows[3:]]
    return rows


def _wallace(build: NetlistBuilder, rows: Rows, width: int) -> Rows:
    """Turn all groups of three rows into two at a time [Wallace1964]_."""
    while len(rows) > 2:
        whole = len(rows) - len(rows) % 3
        reduced = [_three_to_two(build, rows[k : k + 3]) for k in range(0, whole, 3)]
        rows = [row for pair in reduced for row in pair] + rows[whole:]
    return rows


def _three_to_two(build: NetlistBuilder, rows: Rows) -> Rows:
    pairs = [build.full_adder(x, y, z) for x, y, z in zip(*rows, strict=True)]
    return [[low for low, _ in pairs], [ZERO, *(carry for _, carry in pairs[:-1])]]


def _dadda(build: NetlistBuilder, rows: Rows, width: int) -> Rows:
    """Reduce columns to 9, 6, 4, 3, 2 bits, with as few adders as that takes [Dadda1965]_."""
    columns = [[row[c] for row in rows if row[c] != ZERO] for c in range(width)]
    heights = [2]
    while heights[-1] < max(map(len, columns), default=0):
        heights.append(heights[-1] * 3 // 2)
    for height in reversed(heights):
        for c, column in enumerate(columns):
            while len(column) > height:
                take = min(3, len(column) - height + 1)
                adder = build.full_adder if take == 3 else build.half_adder
                low, carry = adder(*column[:take])
                column[:take] = []
                column.append(low)
                if c + 1 < width:
                    columns[c + 1].append(carry)
    return rows_of_columns(columns)


REDUCTIONS: dict[str, Callable[[NetlistBuilder, Rows, int], Rows]] = {
    "array": _array,
    "carry_save": _carry_save,
    "wallace": _wallace,
    "dadda": _dadda,
}
"""Ways to reduce rows to two, which a ripple-carry adder adds."""

REDUCTION = OneOf(
    "reduction", "how partial products are added", "dadda", choices=tuple(REDUCTIONS)
)
