"""Multipliers whose low columns are added by approximate 4:2 compressors.

A compressor turns four bits of a column into a sum bit of that column and a carry bit of the next.
Their values, for the number of ones ``n`` of the four bits:

* ``momeni`` [Momeni2015]_, design 2: sum ``xnor(x1, x2) or xnor(x3, x4)``, carry
  ``(x1 or x2) and (x3 or x4)``; wrong in 4 of 16 cases, 1 instead of 0 among them.
* ``yang`` [Yang2015]_, ACCI1: ``min(n, 3)``; wrong in 1 case.
* ``akbari`` [Akbari2017]_, DQ4:2C1: sum ``x1``, carry ``x4``; no gates, wrong in 10 cases.
* ``venkatachalam`` [Venkatachalam2017]_: sum ``xor(x1, x2) or xor(x3, x4) or x1 x2 x3 x4``, carry
  ``x1 x2 or x3 x4``; wrong in 5 cases.

.. [Momeni2015] A. Momeni, J. Han, P. Montuschi and F. Lombardi, "Design and analysis of
   approximate compressors for multiplication", IEEE Transactions on Computers 64(4), 2015.
   doi:10.1109/TC.2014.2308214
.. [Yang2015] Z. Yang, J. Han and F. Lombardi, "Approximate compressors for error-resilient
   multiplier design", DFTS 2015.
.. [Akbari2017] O. Akbari, M. Kamal, A. Afzali-Kusha and M. Pedram, "Dual-quality 4:2 compressors
   for utilizing in dynamic accuracy configurable multipliers", IEEE Transactions on VLSI Systems
   25(4), 2017.
.. [Venkatachalam2017] S. Venkatachalam and S.-B. Ko, "Design of power and area efficient
   approximate multipliers", IEEE Transactions on VLSI Systems 25(5), 2017.
   doi:10.1109/TVLSI.2016.2643639
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from axopt.circuits.builder import NetlistBuilder
from axopt.circuits.families.kept import insert_constant, partial_products
from axopt.circuits.families.parameters import Integer, OneOf, bits
from axopt.circuits.families.reduction import rows_of_columns, sum_of_rows
from axopt.circuits.families.registry import register_family
from axopt.circuits.netlist import Netlist

Compressor = Callable[[NetlistBuilder, int, int, int, int], tuple[int, int]]


def _momeni(build: NetlistBuilder, x1: int, x2: int, x3: int, x4: int) -> tuple[int, int]:
    low = build.not_(build.and_(build.xor(x1, x2), build.xor(x3, x4)))
    return low, build.and_(build.or_(x1, x2), build.or_(x3, x4))


def _yang(build: NetlistBuilder, x1: int, x2: int, x3: int, x4: int) -> tuple[int, int]:
    first, both_first = build.half_adder(x1, x2)
    second, both_second = build.half_adder(x3, x4)
    low, carry = build.half_adder(first, second)
    all_four = build.and_(both_first, both_second)
    return build.or_(low, all_four), build.or_(carry, build.or_(both_first, both_second))


def _akbari(build: NetlistBuilder, x1: int, x2: int, x3: int, x4: int) -> tuple[int, int]:
    return x1, x4


def _venkatachalam(build: NetlistBuilder, x1: int, x2: int, x3: int, x4: int) -> tuple[int, int]:
    first, second = build.and_(x1, x2), build.and_(x3, x4)
    low = build.or_(build.or_(build.xor(x1, x2), build.xor(x3, x4)), build.and_(first, second))
    return low, build.or_(first, second)


COMPRESSORS: dict[str, Compressor] = {
    "momeni": _momeni,
    "yang": _yang,
    "akbari": _akbari,
    "venkatachalam": _venkatachalam,
}


@register_family(
    "compressor",
    title="low columns reduced by approximate 4:2 compressors, the others exactly",
    label="comp",
    article="Momeni et al., IEEE Trans. Computers 2015",
    parameters=[
        bits("bits_a", "first"),
        bits("bits_w", "second"),
        OneOf("compressor", "which compressor", choices=tuple(COMPRESSORS)),
        Integer("columns", "number of low columns with approximate compressors", 8),
    ],
    signed="own",
)
def compressor(bits_a: int, bits_w: int, compressor: str, columns: int, signed: bool) -> Netlist:
    """Reduce the low columns of partial products with approximate 4:2 compressors.

    The reduction goes stage by stage. In a stage, a low column of at least four bits gives its
    first four to a compressor, the next four to another, and so on; left over bits stay. A column
    holds the carries of the column to its right, then its own sums, then left over bits, at first
    ``a_i w_j`` by ascending ``i``. When no low column has four bits, the rest is added exactly.
    Signed operands: partial products of negative weight enter complemented, and the constant of
    Baugh and Wooley is added with the rest.

    A. Momeni, J. Han, P. Montuschi and F. Lombardi, "Design and analysis of approximate
    compressors for multiplication", IEEE Transactions on Computers 64(4), 2015,
    doi:10.1109/TC.2014.2308214; the articles of the other compressors are in the module.
    """
    build = NetlistBuilder(bits_a, bits_w, signed=signed)
    width = bits_a + bits_w
    table: list[list[int]] = [[] for _ in range(width)]
    products, constant = partial_products(build, np.ones((bits_a, bits_w), np.bool_), signed)
    for (i, j), product in products.items():
        table[i + j].append(product)
    while any(len(column) >= 4 for column in table[:columns]):
        table = _stage(build, table, columns, COMPRESSORS[compressor])
    rows = rows_of_columns(table)
    insert_constant(rows, constant % 2**width, width)
    return build.netlist(sum_of_rows(build, rows, width, "dadda"))


def _stage(
    build: NetlistBuilder, table: list[list[int]], columns: int, compress: Compressor
) -> list[list[int]]:
    after: list[list[int]] = [[] for _ in table]
    for c, column in enumerate(table):
        groups = len(column) // 4 if c < columns else 0
        for k in range(groups):
            low, carry = compress(build, *column[4 * k : 4 * k + 4])
            after[c].append(low)
            after[c + 1].append(carry)
        after[c] += column[4 * groups :]
    return after
