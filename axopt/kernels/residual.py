"""Exact decompositions of product tables into one product minus a small non-negative residual.

A multiplier that drops or simplifies partial products of the low bits of both operands computes an
ordinary product minus a residual that depends on those bits only. If the weight codes fall into at
most 16 classes of equal residuals, the residuals of an activation code are a row of 16 bytes,
which processors look up in registers. This is cheaper than three or more separable terms. The
search reads only the table.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from axopt.kernels.factorise import Integers
from axopt.kernels.terms import Terms

T = TypeVar("T", bound=np.integer)

CLASSES = 16
"""Most classes of weight codes: a byte shuffle chooses from 16 entries."""

LARGEST = 127
"""Largest residual: the sum of two fits a byte."""

_CODES = np.arange(256)
_HALF = 128
_FEW = (slice(None, None, 17), slice(None, None, 17))  # codes with all low and all high halves


@dataclass(frozen=True, eq=False)
class Residual:
    """An exact decomposition of a product table (codes 0..255 both ways).

    ``table[a, w] == term.table()[a, w] - rows[a, weight_class[w]]``. The arrays are read-only.

    Attributes:
        term: One separable term.
        rows: Residual of each activation code and weight class, ``(256, 16)`` uint8, 0..127.
        weight_class: Class of each weight code, ``(256,)`` uint8, 0..15.
    """

    term: Terms
    rows: NDArray[np.uint8]
    weight_class: NDArray[np.uint8]

    @property
    def maximum(self) -> int:
        """The largest residual."""
        return int(self.rows.max())

    def table(self) -> NDArray[np.int32]:
        """Rebuild the table, ``(256, 256)``."""
        return self.term.table() - self.rows[:, self.weight_class]


def find_residual(table: NDArray[np.int32]) -> Residual | None:
    """Decompose a table into a product of masked codes minus a residual, or return None.

    The result has been compared with the table on all 65,536 entries. A table that is one product
    has no residual.

    Args:
        table: Products, ``(256, 256)``; ``table[a, w]`` belongs to activation code ``a`` and
            weight code ``w``.
    """
    entries = table.astype(np.int64)
    few = entries[_FEW]
    for term, few_products in _products():
        if np.ptp(few_products - few, axis=0).max() > LARGEST:
            continue  # all products have no smaller a range
        residual = _less(term, entries)
        if residual is not None and np.array_equal(residual.table(), table):
            return residual
    return None


@functools.cache
def _products() -> tuple[tuple[Terms, Integers], ...]:
    """Return products of operands without their lowest bits, and the few that are tried first."""
    return tuple((term, term.table()[_FEW].astype(np.int64)) for term in _masked_products())


def _masked_products() -> Iterator[Terms]:
    """Yield products of operands without their lowest bits, signed and unsigned."""
    for scale in (0, _HALF):  # unsigned: a * w = a * (w - 128) + 128 * a
        for dropped in range(7):
            for bits in range(dropped + 1):
                kept = {(dropped, bits), (bits, dropped)}
                for a_bits, w_bits in sorted(kept):
                    yield _product(a_bits, w_bits, scale)


def _product(a_bits: int, w_bits: int, scale: int) -> Terms:
    a_mask, w_mask = (255 >> bits << bits for bits in (a_bits, w_bits))
    activation, weight = _CODES & a_mask, (_CODES & w_mask) - _HALF
    return Terms(
        _read_only(activation[None].astype(np.uint8)),
        _read_only(weight[None].astype(np.int8)),
        np.zeros(256, np.int32),
        scale,
        a_mask if scale else 0,
    )


def _less(term: Terms, entries: Integers) -> Residual | None:
    """Return ``term`` minus the table, up to an offset per weight, if that is a residual."""
    excess = term.table() - entries
    least = excess.min(axis=0)
    excess -= least
    if not 0 < excess.max() <= LARGEST:
        return None
    kinds, first, weight_class = np.unique(excess, axis=1, return_index=True, return_inverse=True)
    if len(first) > CLASSES:
        return None
    rows = np.zeros((256, CLASSES), np.uint8)
    rows[:, : len(first)] = kinds
    shifted = Terms(
        term.activation,
        term.weight,
        _read_only((-least).astype(np.int32)),
        term.activation_scale,
        term.activation_mask,
    )
    return Residual(shifted, _read_only(rows), _read_only(weight_class.astype(np.uint8).ravel()))


def _read_only(array: NDArray[T]) -> NDArray[T]:
    array.flags.writeable = False
    return array
