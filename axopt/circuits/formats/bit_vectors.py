"""Arithmetic on integers whose bits are signals of a gate list under construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from axopt.circuits.builder import ONE, ZERO, NetlistBuilder


@dataclass(frozen=True, slots=True)
class BitVector:
    """An integer in two's complement: bits from the lowest, and the signal of all bits above.

    ``BitVector((x,), ZERO)`` is the bit x as 0 or 1, ``BitVector((), ONE)`` is -1.
    """

    low: tuple[int, ...]
    above: int

    def bit(self, place: int) -> int:
        """Return the signal of a bit."""
        return self.low[place] if place < len(self.low) else self.above

    def wrapped(self, width: int, signed: bool) -> BitVector:
        """Return the integer modulo ``2**width``, as the type of that width holds it."""
        if len(self.low) < width and (signed or self.above == ZERO):
            return self
        low = tuple(self.bit(place) for place in range(width))
        return _trimmed(low, low[-1] if signed else ZERO)

    @property
    def value(self) -> int | None:
        """The integer if all its bits are constant."""
        if not {self.above, *self.low} <= {ZERO, ONE}:
            return None
        ones = sum(1 << place for place, bit in enumerate(self.low) if bit == ONE)
        return ones - (1 << len(self.low)) * (self.above == ONE)


def constant(value: int) -> BitVector:
    """Return a constant."""
    low = tuple(ONE if value >> place & 1 else ZERO for place in range(value.bit_length()))
    return BitVector(low, ONE if value < 0 else ZERO)


def bitwise(operation: Callable[[int, int], int], x: BitVector, y: BitVector) -> BitVector:
    """Combine the bits of both integers with an operation of a builder."""
    width = max(len(x.low), len(y.low))
    low = tuple(operation(x.bit(place), y.bit(place)) for place in range(width))
    return _trimmed(low, operation(x.above, y.above))


def complement(build: NetlistBuilder, x: BitVector) -> BitVector:
    """Return ``-x - 1``."""
    return BitVector(tuple(build.not_(bit) for bit in x.low), build.not_(x.above))


def is_zero(build: NetlistBuilder, x: BitVector) -> BitVector:
    """Return 1 where ``x`` is 0, else 0."""
    any_bit = x.above
    for bit in x.low:
        any_bit = build.or_(any_bit, bit)
    return BitVector((build.not_(any_bit),), ZERO)


def shifted_left(x: BitVector, places: int) -> BitVector:
    """Return ``x * 2**places``."""
    return BitVector((ZERO,) * places + x.low, x.above)


def shifted_right(x: BitVector, places: int) -> BitVector:
    """Return ``x / 2**places``, rounded down."""
    return BitVector(x.low[places:], x.above)


def total(build: NetlistBuilder, x: BitVector, y: BitVector, carry: int = ZERO) -> BitVector:
    """Return ``x + y + carry``, with a ripple-carry adder."""
    width = max(len(x.low), len(y.low)) + 1
    low = []
    for place in range(width):
        bit, carry = build.full_adder(x.bit(place), y.bit(place), carry)
        low.append(bit)
    above, _ = build.full_adder(x.above, y.above, carry)
    return _trimmed(tuple(low), above)


def difference(build: NetlistBuilder, x: BitVector, y: BitVector) -> BitVector:
    """Return ``x - y``."""
    return total(build, x, complement(build, y), ONE)


def product(build: NetlistBuilder, x: BitVector, y: BitVector) -> BitVector:
    """Return ``x * y``, with one adder for each bit of ``x``."""
    result = constant(0)
    for place, bit in enumerate(x.low):
        if bit != ZERO:
            row = bitwise(build.and_, y, BitVector((bit,) * len(y.low), bit))
            result = total(build, result, shifted_left(row, place))
    row = bitwise(build.and_, y, BitVector((x.above,) * len(y.low), x.above))
    return difference(build, result, shifted_left(row, len(x.low)))


def _trimmed(low: Sequence[int], above: int) -> BitVector:
    """Return a bit vector without high bits that repeat the one above."""
    width = len(low)
    while width and low[width - 1] == above:
        width -= 1
    return BitVector(tuple(low[:width]), above)
