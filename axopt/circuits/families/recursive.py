"""Kulkarni's multiplier: built from 2 x 2 blocks that compute 3 * 3 = 7."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.circuits.builder import NetlistBuilder
from axopt.circuits.families.parameters import Integer
from axopt.circuits.families.registry import register_family
from axopt.circuits.netlist import Netlist
from axopt.errors import CircuitError


@register_family(
    "recursive",
    title="2 x 2 blocks with 3 * 3 = 7, added exactly",
    label="kulkarni",
    article="Kulkarni, Gupta and Ercegovac, VLSI Design 2011",
    parameters=[
        Integer("bits_a", "width of the first operand: 2, 4 or 8", 8, low=2, high=8),
        Integer("bits_w", "width of the second operand, equal to the first", 8, low=2, high=8),
        Integer("exact_from", "column from which blocks are exact", 16),
    ],
)
def recursive(bits_a: int, bits_w: int, exact_from: int) -> Netlist:
    """Split operands into halves down to 2 bits and add the four products of each level.

    A block has three outputs, because it computes 7 instead of 9. ``exact_from`` leaves the blocks
    of high weight exact.

    P. Kulkarni, P. Gupta and M. Ercegovac, "Trading accuracy for power with an underdesigned
    multiplier architecture", VLSI Design 2011, doi:10.1109/VLSID.2011.51.
    """
    if bits_a != bits_w or bits_a not in (2, 4, 8):
        raise CircuitError(
            f"`bits_a` and `bits_w` must both be 2, 4 or 8, got {bits_a} and {bits_w}."
        )
    build = NetlistBuilder(bits_a, bits_w, signed=False)
    return build.netlist(_product(build, build.a, build.w, 0, exact_from))


def _product(
    build: NetlistBuilder, x: Sequence[int], y: Sequence[int], column: int, exact_from: int
) -> list[int]:
    """Return the bits of the product, twice as many as ``x`` has, of weight ``2**column``."""
    if len(x) == 2:
        return _block(build, x, y, exact=column >= exact_from)
    half = len(x) // 2
    low, high = slice(0, half), slice(half, None)
    parts = {
        (i, j): _product(build, x[p], y[q], column + (i + j) * half, exact_from)
        for i, p in enumerate((low, high))
        for j, q in enumerate((low, high))
    }
    middle = build.ripple_add(parts[0, 1], parts[1, 0])
    outer = parts[0, 0] + parts[1, 1]
    return outer[:half] + build.ripple_add(outer[half:], middle)[: 3 * half]


def _block(build: NetlistBuilder, x: Sequence[int], y: Sequence[int], exact: bool) -> list[int]:
    low, high = build.and_(x[0], y[0]), build.and_(x[1], y[1])
    crossed = build.and_(x[1], y[0]), build.and_(x[0], y[1])
    if not exact:
        return [low, build.or_(*crossed), high, 0]
    middle, carry = build.half_adder(*crossed)
    return [low, middle, *build.half_adder(high, carry)]
