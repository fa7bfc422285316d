"""Signed multipliers from unsigned ones."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.circuits.builder import ZERO, NetlistBuilder
from axopt.circuits.netlist import Netlist
from axopt.errors import CircuitError


def sign_magnitude(netlist: Netlist) -> Netlist:
    """Make a signed multiplier: negate negative operands, multiply, negate the product if needed.

    Args:
        netlist: An unsigned multiplier.

    Returns:
        A signed multiplier of the same widths. It multiplies magnitudes up to
        ``2**(bits - 1)``.

    Raises:
        CircuitError: If ``netlist`` is signed, or the product of two such magnitudes is too large
            for a signed product of ``bits_a + bits_w`` bits.

    Example:
        >>> from axopt.circuits import generate
        >>> signed = sign_magnitude(generate("exact", bits_a=3, bits_w=2))
        >>> signed.table().tolist()[0]  # -4 * (-2, -1, 0, 1)
        [8, 4, 0, -4]
    """
    if netlist.signed:
        raise CircuitError("`netlist` must be unsigned, got a signed one.")
    half_a, half_w = 2 ** (netlist.bits_a - 1), 2 ** (netlist.bits_w - 1)
    largest = int(netlist.table()[: half_a + 1, : half_w + 1].max())
    width = netlist.bits_a + netlist.bits_w
    if largest >= 2 ** (width - 1):
        raise CircuitError(
            f"`netlist` must give products below {2 ** (width - 1)} for magnitudes up to {half_a}"
            f" and {half_w}, got {largest}."
        )
    build = NetlistBuilder(netlist.bits_a, netlist.bits_w, signed=True)
    magnitudes = [_negated_if(build, x[:-1], x[-1]) for x in (build.a, build.w)]
    product = build.insert(netlist, *magnitudes)[: largest.bit_length()]
    negative = build.xor(build.a[-1], build.w[-1])
    return build.netlist(_negated_if(build, [*product, ZERO], negative)[:-1])


def _negated_if(build: NetlistBuilder, bits: Sequence[int], negative: int) -> list[int]:
    """Return ``-bits`` where ``negative`` is 1, and one bit more."""
    return build.ripple_add([build.xor(bit, negative) for bit in bits], [], negative)
