"""Exact multipliers, and exact multipliers of the top bits of wider operands."""

from __future__ import annotations

import numpy as np

from axopt.circuits.families.kept import sum_of_kept
from axopt.circuits.families.parameters import REQUIRED, Integer, bits
from axopt.circuits.families.reduction import REDUCTION
from axopt.circuits.families.registry import register_family
from axopt.circuits.netlist import MAX_BITS, Netlist
from axopt.errors import CircuitError


@register_family(
    "exact",
    title="the exact product",
    article="Baugh and Wooley, IEEE Trans. Computers 1973; Dadda, Alta Frequenza 1965",
    parameters=[bits("bits_a", "first"), bits("bits_w", "second"), REDUCTION],
    signed="own",
)
def exact(bits_a: int, bits_w: int, reduction: str, signed: bool) -> Netlist:
    """Multiply exactly; signed operands by the method of Baugh and Wooley.

    C. R. Baugh and B. A. Wooley, "A two's complement parallel array multiplication algorithm",
    IEEE Transactions on Computers C-22(12), 1973.
    """
    kept = np.ones((bits_a, bits_w), np.bool_)
    return sum_of_kept(kept, signed=signed, constant=0, reduction=reduction)


@register_family(
    "truncated",
    title="the exact product of the top bits_a and bits_w bits of wider operands",
    label="trunc",
    article="Jiang et al., Proceedings of the IEEE 2020",
    parameters=[
        Integer("bits_a", "top bits of the first operand that count", REQUIRED, 1, MAX_BITS),
        Integer("bits_w", "top bits of the second operand that count", REQUIRED, 1, MAX_BITS),
        Integer("slot_a", "width of the first operand", MAX_BITS, 2, MAX_BITS),
        Integer("slot_w", "width of the second operand", MAX_BITS, 2, MAX_BITS),
        REDUCTION,
    ],
    signed="own",
)
def truncated(
    bits_a: int, bits_w: int, slot_a: int, slot_w: int, reduction: str, signed: bool
) -> Netlist:
    """Ignore the low bits of the operands; a narrow exact multiplier in a wider slot.

    Truncation of operands is the oldest approximation; H. Jiang, F. J. H. Santiago, H. Mo, L. Liu
    and J. Han, "Approximate arithmetic circuits: a survey, characterization, and recent
    applications", Proceedings of the IEEE 108(12), 2020, doi:10.1109/JPROC.2020.3006451, compare
    it with others.
    """
    for name, top, slot in (("bits_a", bits_a, slot_a), ("bits_w", bits_w, slot_w)):
        if top > slot:
            raise CircuitError(f"`{name}` must be at most `slot{name[4:]}` = {slot}, got {top}.")
    kept = np.zeros((slot_a, slot_w), np.bool_)
    kept[slot_a - bits_a :, slot_w - bits_w :] = True
    return sum_of_kept(kept, signed=signed, constant=0, reduction=reduction)
