"""Multipliers of short segments of the operands: DRUM, dynamic and static segments.

A segment of ``segment`` bits of each operand is multiplied exactly and the product is shifted to
its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from axopt.circuits.builder import NetlistBuilder
from axopt.circuits.families.leading_one import any_of, encoded, leading_ones, shifted
from axopt.circuits.families.parameters import REQUIRED, Integer, bits
from axopt.circuits.families.reduction import REDUCTION, product_rows, sum_of_rows
from axopt.circuits.families.registry import register_family
from axopt.circuits.netlist import MAX_BITS, Netlist
from axopt.errors import CircuitError

PARAMETERS = (
    bits("bits_a", "first"),
    bits("bits_w", "second"),
    Integer("segment", "bits of each operand that are multiplied", REQUIRED, 2, MAX_BITS),
    REDUCTION,
)


@register_family(
    "drum",
    title="exact product of segments that start at the leading one and end in a one",
    article="Hashemi et al., ICCAD 2015",
    parameters=PARAMETERS,
)
def drum(bits_a: int, bits_w: int, segment: int, reduction: str) -> Netlist:
    """Multiply the ``segment`` bits from the leading one; the lowest of them is set to 1.

    Operands below ``2**segment`` are exact. The one stands for the mean of the bits that are cut
    off, so the error has hardly any bias.

    S. Hashemi, R. I. Bahar and S. Reda, "DRUM: a dynamic range unbiased multiplier for approximate
    applications", ICCAD 2015, doi:10.1109/ICCAD.2015.7372600.
    """
    return _dynamic(bits_a, bits_w, segment, reduction, unbiased=True)


@register_family(
    "dynamic_segment",
    title="exact product of segments that start at the leading one",
    label="dsm",
    article="Narayanamoorthy et al., IEEE TVLSI 2015",
    parameters=PARAMETERS,
)
def dynamic_segment(bits_a: int, bits_w: int, segment: int, reduction: str) -> Netlist:
    """Multiply the ``segment`` bits from the leading one; bits below them are cut off.

    S. Narayanamoorthy, H. A. Moghaddam, Z. Liu, T. Park and N. S. Kim, "Energy-efficient
    approximate multiplication for digital signal processing and classification applications",
    IEEE Transactions on VLSI Systems 23(6), 2015, doi:10.1109/TVLSI.2014.2333366.
    """
    return _dynamic(bits_a, bits_w, segment, reduction, unbiased=False)


@register_family(
    "static_segment",
    title="exact product of the high or the low bits of each operand",
    label="ssm",
    article="Narayanamoorthy et al., IEEE TVLSI 2015",
    parameters=PARAMETERS,
)
def static_segment(bits_a: int, bits_w: int, segment: int, reduction: str) -> Netlist:
    """Multiply the top ``segment`` bits of an operand, or its low ones if those above are 0.

    S. Narayanamoorthy, H. A. Moghaddam, Z. Liu, T. Park and N. S. Kim, "Energy-efficient
    approximate multiplication for digital signal processing and classification applications",
    IEEE Transactions on VLSI Systems 23(6), 2015, doi:10.1109/TVLSI.2014.2333366.
    """
    if 2 * segment < max(bits_a, bits_w):
        raise CircuitError(
            f"`segment` must be at least half of the {max(bits_a, bits_w)} bits of an operand, so"
            f" that two segments cover it, got {segment}."
        )
    build = NetlistBuilder(bits_a, bits_w, signed=False)
    x, high_x = _static(build, build.a, segment)
    y, high_y = _static(build, build.w, segment)
    product = _product(build, x, y, reduction)
    for high, size in ((high_x, bits_a), (high_y, bits_w)):
        product = shifted(build, product, high, bits_a + bits_w, unit=size - segment)
    return build.netlist(product)


def _static(
    build: NetlistBuilder, x: Sequence[int], segment: int
) -> tuple[Sequence[int], list[int]]:
    """Return the segment of an operand, and whether it is the high one, if there are two."""
    cut = len(x) - segment
    if cut <= 0:
        return x, []
    high = any_of(build, x[segment:])
    return [build.mux(high, x[i], x[i + cut]) for i in range(segment)], [high]


def _dynamic(bits_a: int, bits_w: int, segment: int, reduction: str, unbiased: bool) -> Netlist:
    build = NetlistBuilder(bits_a, bits_w, signed=False)
    x, shift_x = _from_leading_one(build, build.a, segment, unbiased)
    y, shift_y = _from_leading_one(build, build.w, segment, unbiased)
    product = _product(build, x, y, reduction)
    distance = build.ripple_add(shift_x, shift_y)
    return build.netlist(shifted(build, product, distance, bits_a + bits_w))


def _from_leading_one(
    build: NetlistBuilder, x: Sequence[int], segment: int, unbiased: bool
) -> tuple[Sequence[int], list[int]]:
    """Return the segment from the leading one, and by how much it was shifted, in binary."""
    if segment >= len(x):
        return x, []
    lines, long = leading_ones(build, x, segment)
    short = build.not_(long)
    bits_of_segment = []
    for i in range(segment):
        taken = [build.and_(line, x[i + n]) for n, line in enumerate(lines, 1)]
        bits_of_segment.append(any_of(build, [build.and_(short, x[i]), *taken]))
    bits_of_segment[-1] = build.or_(long, x[segment - 1])  # the leading one itself
    if unbiased:
        bits_of_segment[0] = build.or_(long, x[0])
    return bits_of_segment, encoded(build, lines, 1)


def _product(build: NetlistBuilder, x: Sequence[int], y: Sequence[int], how: str) -> list[int]:
    width = len(x) + len(y)
    return sum_of_rows(build, product_rows(build, x, y, width), width, how)
