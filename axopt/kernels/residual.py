"""Exact decompositions of product tables into one product and a small non-negative residual.

Multipliers that drop or simplify partial products of the low bits of both operands multiply like
an ordinary one, less something that depends on those bits only. Where at most 16 kinds of
weight codes differ in it, it is a row of 16 bytes for every activation code, which processors
look up in registers: cheaper than the terms that an exact sum of products takes from the third
on. Found from the table alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from axopt.kernels.factorise import Integers
from axopt.kernels.terms import Terms

T = TypeVar("T", bound=np.integer)

CLASSES = 16
"""Kinds of weight codes: the entries that a byte shuffle chooses from."""

LARGEST = 127
"""Of the residual: two of them are added in a byte."""

_CODES = np.arange(256)
_HALF = 128


@dataclass(frozen=True, eq=False)
class Residual:
    """An exact decomposition of a product table (codes 0..255 both ways).

    ``table[a, w] == term.table()[a, w] - rows[a, weight_class[w]]``. The arrays are read-only.

    Attributes:
        term: One separable term.
        rows: What is taken off, per activation code and weight class, ``(256, 16)`` uint8,
            0..127.
        weight_class: ``(256,)`` uint8, 0..15.
    """

    term: Terms
    rows: NDArray[np.uint8]
    weight_class: NDArray[np.uint8]

    @property
    def maximum(self) -> int:
        """The most that is taken off a product."""
        return int(self.rows.max())

    def table(self) -> NDArray[np.int32]:
        """Rebuild the table, ``(256, 256)``."""
        return self.term.table() - self.rows[:, self.weight_class]


def find_residual(table: NDArray[np.int32]) -> Residual | None:
    """Decompose a table into a product of masked codes and a residual, or return None.

    The result was compared with the table on all 65,536 entries. A table that is one
    product has no residual.

    Args:
        table: Products, ``(256, 256)``; ``table[a, w]`` belongs to activation code ``a`` and
            weight code ``w``.
    """
    entries = table.astype(np.int64)
    for term in _products():
        residual = _less(term, entries)
        if residual is not None and np.array_equal(residual.table(), table):
            return residual
    return None


def _products() -> Iterator[Terms]:
    """Products of operands without their lowest bits, of signed and of unsigned multipliers."""
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
    """What `term` exceeds the table by, up to an offset per weight, if it is a residual."""
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
