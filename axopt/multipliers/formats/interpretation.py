"""Which products a table holds: the order of its operands, their kind, and broken quadrants.

A file rarely says how its table is meant. Every possible reading is compared with the exact
product, and with the error figures that the file states. The conventional reading of the format is
taken unless another one is far better; a note then says what was assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.multipliers.checks import differing_figures
from axopt.multipliers.formats.bit_patterns import swap_halves
from axopt.multipliers.formats.registry import Imported, TableWarning, check_range
from axopt.multipliers.metrics import PUBLISHED_NAMES, TABLE_SHAPE, ErrorMetrics

Order = Literal["numeric", "patterns"]
Products = npt.NDArray[np.integer]

MIN_BITS, MAX_BITS = 2, 8
TABLE_SHAPES = f"(2**m, 2**n), m and n in {MIN_BITS}..{MAX_BITS}"

_FAR_SMALLER = 2.0
"""Ratio of errors that shows a reading; an exact table has 0 instead of 5462."""

_NO_PRODUCT = 1.25
"""A table of a larger score is told; published ones have at most 1, a wrong order has 1.3 to 4."""


class BrokenQuadrantWarning(TableWarning):
    """A table holds M(abs(a), abs(w)) where both operands are negative.

    Example:
        >>> issubclass(BrokenQuadrantWarning, TableWarning)
        True
    """


@dataclass(frozen=True, eq=False)
class _Reading:
    """One way to read a table; ``table`` is in numeric order of the operands."""

    table: Products = field(repr=False)
    signed: bool
    order: Order
    wrapped: bool  # products are bit patterns of the other kind

    @property
    def product_bits(self) -> int:
        return int(self.table.size).bit_length() - 1

    @cached_property
    def mae(self) -> float:
        """Mean absolute error, in units of the product."""
        return _mean_absolute_error(self.table, self.signed)

    @cached_property
    def score(self) -> float:
        """Mean absolute error over that of a table of zeros; good tables have small scores."""
        return self.mae / _mean_absolute_error(np.zeros_like(self.table), self.signed)

    def fits(self, figures: Mapping[str, float]) -> bool:
        """Whether the table has the error figures that its file states."""
        errors = {name: value for name, value in figures.items() if name in PUBLISHED_NAMES}
        if not errors:
            return False
        metrics = ErrorMetrics.of(self.table, self.signed)
        return not differing_figures(metrics.published_figures(self.product_bits), errors)


def interpret(
    raw: Products,
    where: object,
    *,
    order: Order,
    bit_patterns: bool = False,
    any_order: bool = False,
    declared: bool | None = None,
    signed: bool | None = None,
    figures: Mapping[str, float] | None = None,
    notes: Sequence[str | TableWarning] = (),
    name: str = "",
) -> Imported:
    """Return the likeliest multiplier that a table describes, with what was assumed as a note.

    Args:
        raw: ``(2**bits_a, 2**bits_w)`` integers; rows are the first operand.
        where: The file, for messages.
        order: The conventional order of signed operands in the format: "numeric" (-128..127) or
            "patterns" (0..127, -128..-1).
        bit_patterns: Whether operands and products are bit patterns by definition, as those of a
            circuit are, so that only the kind is open.
        any_order: Whether rows and columns of such a file may nevertheless be in numeric order.
        declared: Whether the file declares its operands as signed; None if it does not say.
        signed: Whether the user says so; that is then taken.
        figures: What the file states.
        notes: What else the user should see.
        name: The multiplier's name in the file.

    Raises:
        LutFormatError: If the table has another shape, products of more bits than its operands
            have together, or one signed and one unsigned operand.
    """
    bits = _product_bits(raw, where)
    figures = figures or {}
    kinds = (True, False) if signed is None else (signed,)
    orders: tuple[Order, ...] = ("numeric", "patterns")
    if bit_patterns and not any_order:
        orders = (order,)
    readings = [r for kind in kinds for r in _readings(raw, bits, kind, orders, bit_patterns)]
    if not readings:
        check_range(raw, where, kinds[0], bits)
    usual = [r for r in readings if _is_usual(r, order, declared, kinds)]
    chosen, reason = _choice(usual, readings, figures)
    if signed is None and chosen.score > 0.5:  # it is at least 1 for products of both kinds
        _check_mixed(raw, bits, chosen, where)
    assumed = _assumptions(chosen, order, declared if signed is None else signed)
    if assumed:
        notes = (*notes, f"{where}: {' and '.join(assumed)}: {reason}.")
    if chosen.score > _NO_PRODUCT:
        notes = (*notes, _no_product_note(chosen, where))
    if has_broken_quadrant(chosen.table) and chosen.signed:
        notes = (*notes, _broken_note(where))
    return Imported(chosen.table, chosen.signed, figures, notes, name)


def is_far_nearer(one: Imported, other: Imported) -> bool:
    """Return whether the errors of one reading of a file are far smaller than those of another."""
    errors = [_mean_absolute_error(found.table, found.signed) for found in (one, other)]
    return _FAR_SMALLER * errors[0] < errors[1]


def is_table_shape(shape: tuple[int, ...]) -> bool:
    """Return whether a table has one row and column for each operand of 2 to 8 bits."""
    sizes = {2**bits for bits in range(MIN_BITS, MAX_BITS + 1)}
    return len(shape) == 2 and set(shape) <= sizes


def _product_bits(raw: Products, where: object) -> int:
    """Return the bits of both operands of a table together.

    Raises:
        LutFormatError: If it is no table of products.
    """
    if not is_table_shape(raw.shape) or raw.dtype.kind not in "iu":
        raise LutFormatError(
            f"{where}: expected integers of shape {TABLE_SHAPES}, got {raw.dtype} {raw.shape}."
        )
    return int(raw.size).bit_length() - 1


def _readings(
    raw: Products, bits: int, signed: bool, orders: Sequence[Order], bit_patterns: bool
) -> Iterator[_Reading]:
    """Yield the readings of one kind; the products must fit into the bits of both operands."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    least, most = int(raw.min()), int(raw.max())
    wrapped = least < low or most > high
    if wrapped and (least < -(2 ** (bits - 1)) or most >= 2**bits or most - least >= 2**bits):
        return
    products = raw.astype(np.int64)
    if wrapped:
        products = (products - low) % 2**bits + low
    for order in orders if signed else orders[:1]:
        numeric = swap_halves(products) if signed and order == "patterns" else products
        unusual = wrapped and not bit_patterns
        reading = _Reading(numeric, signed, order if signed else "numeric", unusual)
        if not unusual or reading.score < 1:  # else it looks like no product at all
            yield reading


def _check_mixed(raw: Products, bits: int, chosen: _Reading, where: object) -> None:
    """Refuse products of a signed and an unsigned operand.

    Raises:
        LutFormatError: If the error of that reading is far smaller than that of the chosen one.
    """
    if int(raw.min()) < -(2 ** (bits - 1)) or int(raw.max()) >= 2**bits:
        return
    products = (raw.astype(np.int64) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    for signed, name in (((True, False), "first"), ((False, True), "second")):
        values = [
            np.arange(size, dtype=np.int64) - (size // 2 if kind else 0)
            for size, kind in zip(raw.shape, signed, strict=True)
        ]
        exact = np.multiply.outer(*values)
        axis = signed.index(True)
        for ordered in (products, np.roll(products, raw.shape[axis] // 2, axis)):
            error = float(np.abs(ordered - exact).mean())
            score = error / float(np.abs(exact).mean())
            if _FAR_SMALLER * error < chosen.mae and _FAR_SMALLER * score < chosen.score:
                raise LutFormatError(
                    f"{where}: the {name} operand is recognised as signed and the other one as"
                    f" unsigned: the mean absolute error is then {error:.4g} instead of"
                    f" {chosen.mae:.4g}; multipliers have two signed or two unsigned operands."
                )


def _is_usual(
    reading: _Reading, order: Order, declared: bool | None, kinds: Sequence[bool]
) -> bool:
    kind = reading.signed == declared or declared is None or len(kinds) == 1
    return kind and not reading.wrapped and (not reading.signed or reading.order == order)


def _choice(
    usual: Sequence[_Reading], readings: Sequence[_Reading], figures: Mapping[str, float]
) -> tuple[_Reading, str]:
    """Return the likeliest reading and the reason for it."""
    best = min(readings, key=lambda reading: reading.score)
    if not usual:
        return best, f"the mean absolute error is then {best.mae:.4g}"
    conventional = min(usual, key=lambda reading: reading.score)
    if conventional.fits(figures):
        return conventional, ""
    for reading in sorted(readings, key=lambda reading: reading.score):
        if reading.fits(figures):
            return reading, "the error figures that the file states are then right"
    if _FAR_SMALLER * best.score < conventional.score:
        return best, (
            f"the mean absolute error is then {best.mae:.4g} instead of {conventional.mae:.4g}"
        )
    return conventional, ""


def _assumptions(chosen: _Reading, order: Order, declared: bool | None) -> list[str]:
    """Return phrases that say how a reading differs from the conventional one."""
    assumed = []
    if declared is not None and chosen.signed != declared:
        kind, other = ("signed", "unsigned") if chosen.signed else ("unsigned", "signed")
        assumed.append(f"operands are declared {other} and recognised as {kind}")
    elif chosen.wrapped:
        kind = "two's-complement" if chosen.signed else "unsigned"
        assumed.append(f"products are recognised as {kind} bit patterns")
    if chosen.signed and chosen.order != order:
        rows, columns = (size // 2 for size in chosen.table.shape)
        half = max(rows, columns)
        assumed.append(
            f"rows and columns are recognised as two's-complement bit patterns (0..{half - 1}, "
            f"-{half}..-1) and put in numeric order"
            if order == "numeric"
            else f"rows and columns are recognised as being in numeric order, -{half}..{half - 1}"
        )
    return assumed


def _mean_absolute_error(table: Products, signed: bool) -> float:
    values = [
        np.arange(size, dtype=np.int64) - (size // 2 if signed else 0) for size in table.shape
    ]
    return float(np.abs(table - np.multiply.outer(*values)).mean())


def _no_product_note(chosen: _Reading, where: object) -> str:
    kind = "signed" if chosen.signed else "unsigned"
    return (
        f"{where}: the mean absolute error, {chosen.mae:.4g} for {kind} operands, is larger than"
        " that of a table of zeros: check the kind of the operands, and the order of rows,"
        " columns, bits and bytes."
    )


def _broken_note(where: object) -> BrokenQuadrantWarning:
    return BrokenQuadrantWarning(
        f"{where}: products of two negative operands are M(|a|, |w|), and products with -128"
        " have the wrong sign there, as AdaPT's converter writes them; the multiplier itself"
        " computes something else."
    )


def has_broken_quadrant(table: Products) -> bool:
    """Return whether the converter of AdaPT and TransAxx made a signed table.

    That converter evaluates M(abs(a), abs(w)) where a and w are both negative, and abs(-128) wraps
    to -128. The quadrant of negative operands then repeats the positive one, and in row and column
    -128 the products of two negative operands are negative. A correct table may be symmetric too,
    M(-a, -w) = M(a, w), as the exact one is, but its products with -128 change their sign.

    Args:
        table: ``(256, 256)`` in numeric order, -128..127; tables of other widths are not broken.
    """
    if table.shape != TABLE_SHAPE:
        return False
    negative = np.arange(-128, 0)
    size = np.where(negative == -128, -128, -negative)
    quadrant = table[:128, :128].copy()
    copied = table[np.ix_(size + 128, size + 128)]
    copied[0, 0] = quadrant[0, 0]  # (-128, -128) is computed from itself
    wrong_sign = (copied[0, 1:] < 0).any() or (copied[1:, 0] < 0).any()
    return bool(wrong_sign) and np.array_equal(quadrant, copied)


def repaired(imported: Imported, where: object) -> Imported:
    """Return a table with its broken quadrant rebuilt; one without it is returned as it is.

    The intact three quadrants and the product of -128 and -128 determine the table if it is a sum
    of weighted partial products, as all signed multipliers of EvoApproxLib are: M(a, w) is then
    the sum of ``c[i, j] a_i w_j`` over the bits of both operands, where a constant 1 counts as a
    bit of each. The coefficients follow from 81 intact products. All other intact products must
    agree with them.

    Raises:
        LutFormatError: If the intact products are no such sum.
    """
    broken = [note for note in imported.notes if isinstance(note, BrokenQuadrantWarning)]
    if not broken:
        return imported
    table = np.asarray(imported.table, np.int64)
    rebuilt = _sum_of_partial_products(table)
    intact = np.ones(TABLE_SHAPE, bool)
    intact[:128, :128] = False
    intact[0, 0] = True
    if not np.array_equal(rebuilt[intact], table[intact]):
        raise LutFormatError(
            f"{where}: the products of two negative operands cannot be repaired: the other three"
            " quadrants are no sum of partial products, so that they do not determine them."
        )
    note = (
        f"{where}: the products of two negative operands were M(|a|, |w|), as AdaPT's converter"
        " writes them; they are rebuilt from the other three quadrants as a sum of partial"
        " products."
    )
    notes = tuple(n for n in imported.notes if n not in broken)
    # a gate list computes the broken products
    return replace(imported, table=rebuilt, notes=(*notes, note), netlist=None)


def _sum_of_partial_products(table: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the sum of partial products with the products of single bits of a signed table."""
    single = np.array([0, *(1 << np.arange(7)), -128]) + 128
    corners = table[np.ix_(single, single)]
    coefficients = corners - corners[:1] - corners[:, :1] + corners[0, 0]
    coefficients[0], coefficients[:, 0] = corners[0] - corners[0, 0], corners[:, 0] - corners[0, 0]
    coefficients[0, 0] = corners[0, 0]
    patterns = np.arange(-128, 128) & 0xFF
    bits = np.stack([np.ones(256, np.int64), *((patterns >> bit) & 1 for bit in range(8))], axis=1)
    product: npt.NDArray[np.int64] = bits @ coefficients @ bits.T
    return product
