"""Multipliers that leave partial products out."""

from __future__ import annotations

import numpy as np

from axopt.circuits.families.kept import Kept, sum_of_kept
from axopt.circuits.families.parameters import REQUIRED, Constant, Integer, KeptSet, bits
from axopt.circuits.families.reduction import REDUCTION
from axopt.circuits.families.registry import register_family
from axopt.circuits.netlist import MAX_BITS, Netlist

CONSTANT = Constant(
    "constant", "added to all products; 'mean': the mean of what is left out", default=0
)


@register_family(
    "broken",
    title="the sum of any set of partial products",
    article="Mrazek et al., DATE 2017 (all signed 8-bit multipliers there)",
    parameters=[
        KeptSet(
            "kept",
            "kept partial products: for each bit of the first operand, from the lowest, 'all',"
            " 'none', or a digit 0 or 1 for each bit of the second, from the lowest",
        ),
        CONSTANT,
        REDUCTION,
    ],
    signed="own",
)
def broken(kept: Kept, constant: int | str, reduction: str, signed: bool) -> Netlist:
    """Add the kept partial products, and a constant.

    All 13 signed multipliers of EvoApprox8b are of this kind: V. Mrazek, R. Hrbacek, Z. Vasicek
    and L. Sekanina, "EvoApprox8b: library of approximate adders and multipliers for circuit design
    and benchmarking of approximation methods", DATE 2017, doi:10.23919/DATE.2017.7926993.
    """
    return sum_of_kept(kept, signed=signed, constant=constant, reduction=reduction)


@register_family(
    "broken_array",
    title="an array without the cells below a horizontal and right of a vertical break level",
    label="bam",
    article="Mahdiani et al., IEEE TCAS-I 2010",
    parameters=[
        bits("bits_a", "first"),
        bits("bits_w", "second"),
        Integer("horizontal", "bits j of the second operand below it are ignored", 0, 0, MAX_BITS),
        Integer("vertical", "partial products with i + j below it are left out", REQUIRED),
        CONSTANT,
        REDUCTION,
    ],
    signed="own",
)
def broken_array(
    bits_a: int,
    bits_w: int,
    horizontal: int,
    vertical: int,
    constant: int | str,
    reduction: str,
    signed: bool,
) -> Netlist:
    """Keep the partial products with ``j >= horizontal`` and ``i + j >= vertical``.

    H. R. Mahdiani, A. Ahmadi, S. M. Fakhraie and C. Lucas, "Bio-inspired imprecise computational
    blocks for efficient VLSI implementation of soft-computing applications", IEEE Transactions on
    Circuits and Systems I 57(4), 2010, doi:10.1109/TCSI.2009.2027626.
    """
    i, j = np.ogrid[:bits_a, :bits_w]
    kept = (j >= horizontal) & (i + j >= vertical)
    return sum_of_kept(kept, signed=signed, constant=constant, reduction=reduction)


@register_family(
    "column_truncated",
    title="the sum of the partial products of the high columns, and a constant",
    label="ctrunc",
    article="Schulte and Swartzlander, VLSI Signal Processing 1993",
    parameters=[
        bits("bits_a", "first"),
        bits("bits_w", "second"),
        Integer("columns", "number of low columns that are left out", REQUIRED),
        Constant("constant", CONSTANT.help, default="mean"),
        REDUCTION,
    ],
    signed="own",
)
def column_truncated(
    bits_a: int, bits_w: int, columns: int, constant: int | str, reduction: str, signed: bool
) -> Netlist:
    """Keep the partial products with ``i + j >= columns``; a constant makes up for the others.

    M. J. Schulte and E. E. Swartzlander, "Truncated multiplication with correction constant",
    VLSI Signal Processing VI, 1993, doi:10.1109/VLSISP.1993.404467.
    """
    i, j = np.ogrid[:bits_a, :bits_w]
    return sum_of_kept(i + j >= columns, signed=signed, constant=constant, reduction=reduction)
