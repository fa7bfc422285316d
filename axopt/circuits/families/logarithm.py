"""Mitchell's multiplier: it adds approximate logarithms."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.circuits.builder import ONE, ZERO, NetlistBuilder
from axopt.circuits.families.leading_one import any_of, encoded, leading_ones, shifted
from axopt.circuits.families.parameters import Integer, bits
from axopt.circuits.families.registry import register_family
from axopt.circuits.netlist import MAX_BITS, Netlist


@register_family(
    "mitchell",
    title="antilogarithm of the sum of logarithms, both linear between powers of two",
    article="Mitchell, IRE Trans. Electronic Computers 1962",
    parameters=[
        bits("bits_a", "first"),
        bits("bits_w", "second"),
        Integer(
            "fraction_bits",
            "bits of the fractions of the logarithms; the others are cut off",
            MAX_BITS - 1,
            1,
            MAX_BITS - 1,
        ),
    ],
)
def mitchell(bits_a: int, bits_w: int, fraction_bits: int) -> Netlist:
    """Add the logarithms ``k + x`` of operands ``2**k (1 + x)`` and take ``2**K (1 + X)`` of it.

    The product with 0 is 0. Seven bits of fraction hold all of an 8-bit operand.

    J. N. Mitchell, "Computer multiplication and division using binary logarithms", IRE
    Transactions on Electronic Computers EC-11(4), 1962, doi:10.1109/TEC.1962.5219391.
    """
    build = NetlistBuilder(bits_a, bits_w, signed=False)
    log_a, some_a = _logarithm(build, build.a, fraction_bits)
    log_w, some_w = _logarithm(build, build.w, fraction_bits)
    total = build.ripple_add(log_a, log_w)
    mantissa, exponent = [*total[:fraction_bits], ONE], total[fraction_bits:]
    power = shifted(build, mantissa, exponent, fraction_bits + bits_a + bits_w)
    some = build.and_(some_a, some_w)
    return build.netlist([build.and_(some, bit) for bit in power[fraction_bits:]])


def _logarithm(build: NetlistBuilder, x: Sequence[int], fraction: int) -> tuple[list[int], int]:
    """Return fraction and exponent in binary, from the lowest bit, and whether ``x`` is not 0."""
    lines, some = leading_ones(build, x, 0)
    bits_below = []
    for distance in range(fraction, 0, -1):  # below the leading one
        taken = [build.and_(lines[k], x[k - distance]) for k in range(distance, len(x))]
        bits_below.append(any_of(build, taken) if taken else ZERO)
    return [*bits_below, *encoded(build, lines, 0)], some
