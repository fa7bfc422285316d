"""Exact decompositions of product tables into a few products of 8-bit factors.

A table with such a decomposition needs no look-up: its sums are ordinary integer matrix products,
unsigned 8-bit activations times signed 8-bit weights, over `len(Terms.weight)` masked or mapped
copies of the operands. Broken-array multipliers, which drop partial products, and arrays with a
few approximate compressors have one. The search reads only the table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from axopt.errors import ArgumentError
from axopt.kernels.factorise import Integers, coefficients, factorisations, interaction_rank

Product = tuple[Integers, Integers]
"""Activation and weight factor of one term, ``(256,)`` each."""

_CODES = np.arange(256)
_BIT_CODES = 1 << np.arange(8)
_U8_MAX, _S8_MIN, _S8_MAX = 255, -128, 127
_FAR = 2**31  # larger than any shift that `_place` considers
_MAX_PARTS = 4  # most products that one pair of factors may be cut into
_MIN_ENTRY, _MAX_ENTRY = -(2**15), 2**16 - 1


@dataclass(frozen=True, eq=False)
class Terms:
    """An exact decomposition of a product table (codes 0..255 both ways).

    ``table[a, w] == sum_t activation[t, a] * weight[t, w] + weight_offset[w]
    + activation_scale * (a & activation_mask)``. The arrays are read-only.

    Attributes:
        activation: Factor of each activation code per term, ``(r, 256)`` uint8.
        weight: Factor of each weight code per term, ``(r, 256)`` int8.
        weight_offset: Part of the product that depends on the weight alone, ``(256,)`` int32.
        activation_scale: Factor of the masked activation code; 0 for signed multipliers that
            only drop partial products.
        activation_mask: Bits of the activation code, 0..255.
    """

    activation: NDArray[np.uint8]
    weight: NDArray[np.int8]
    weight_offset: NDArray[np.int32]
    activation_scale: int
    activation_mask: int

    @property
    def masks(self) -> tuple[int | None, ...]:
        """Per term: m if the activation's factor is ``code & m``, else None."""
        return tuple(_mask_of(factor) for factor in self.activation)

    def table(self) -> NDArray[np.int32]:
        """Rebuild the table, ``(256, 256)``."""
        products = self.activation.T.astype(np.int32) @ self.weight.astype(np.int32)
        masked = self.activation_scale * (_CODES & self.activation_mask).astype(np.int32)
        return products + self.weight_offset + masked[:, None]


def find_terms(table: NDArray[np.integer], *, max_terms: int = 8) -> Terms | None:
    """Decompose a table into a few terms, or return None if no decomposition is found.

    The result has been compared with the table on all 65,536 entries. The same table always
    gives the same terms.

    Args:
        table: Products, ``(256, 256)``, any integer dtype, -32768..65535; ``table[a, w]`` belongs
            to activation code ``a`` and weight code ``w``.
        max_terms: Largest number of terms to accept, >= 0. A constant table has none.

    Raises:
        ArgumentError: If an argument breaks its rule.
    """
    entries = _checked(table)
    if isinstance(max_terms, bool) or not isinstance(max_terms, int) or max_terms < 0:
        raise ArgumentError(f"`max_terms` must be an integer >= 0, got {max_terms!r}.")
    coefficient = coefficients(entries)
    fewest = interaction_rank(coefficient, max_terms)
    if fewest > max_terms:
        return None
    best: Terms | None = None
    limit = max_terms
    for activation, weight in factorisations(coefficient):
        if limit < fewest:
            break
        terms = _fit(entries, activation, weight, limit) if len(activation) <= limit else None
        if terms is not None and np.array_equal(terms.table(), entries):
            best, limit = terms, len(terms.weight) - 1
    return best


def _checked(table: NDArray[np.integer]) -> Integers:
    array = np.asarray(table)
    if array.shape != (256, 256) or array.dtype.kind not in "iu":
        raise ArgumentError(
            "`table` must be an integer array of shape (256, 256), "
            f"got {array.dtype} {array.shape}."
        )
    low, high = int(array.min()), int(array.max())
    if low < _MIN_ENTRY or high > _MAX_ENTRY:
        raise ArgumentError(f"`table` must hold {_MIN_ENTRY}..{_MAX_ENTRY}, got {low}..{high}.")
    return np.ascontiguousarray(array, np.int64)


def _mask_of(factor: NDArray[np.integer]) -> int | None:
    """Return m if ``factor`` is ``code & m``, else None."""
    mask = int(factor[-1])
    return mask if np.array_equal(factor, _CODES & mask) else None


def _fit(entries: Integers, activation: Integers, weight: Integers, limit: int) -> Terms | None:
    """Turn exact factors of any width into at most ``limit`` terms of 8-bit factors, or None."""
    pieces: list[Product] = []
    for f, g in zip(activation, weight, strict=True):
        narrow = _narrow(f, g)
        pieces += narrow or ()
        if narrow is None or len(pieces) > limit:
            return None
    left = np.array([f for f, _ in pieces], np.int64).reshape(-1, 256)
    right = np.array([g for _, g in pieces], np.int64).reshape(-1, 256)
    shift, rest = _place(left, right, entries[:, 0] - left.T @ right[:, 0])
    right += shift[:, None]
    scaled = _scaled_mask(rest)
    if scaled is None:
        last = _activation_only(rest)
        if last is None or len(left) + len(last[0]) > limit:
            return None
        left, right, scaled = np.vstack([left, last[0]]), np.vstack([right, last[1]]), (0, 0)
    scale, mask = scaled
    offset = entries[0] - left[:, 0] @ right
    arrays = (left.astype(np.uint8), right.astype(np.int8), offset.astype(np.int32))
    for array in arrays:
        array.flags.writeable = False
    return Terms(*arrays, scale, mask)


def _narrow(f: Integers, g: Integers) -> list[Product] | None:
    """Write ``f[a] g[w]``, up to functions of ``a`` and of ``w``, as few products that fit.

    Left factors are 0..255. Right factors span at most 255, so they fit int8 after a shift.
    Candidates whose left factor is a mask come first, then those that need no shift.
    """
    f_divisor, g_divisor = int(np.gcd.reduce(f)), int(np.gcd.reduce(g))
    f, g, factor = f // f_divisor, g // g_divisor, f_divisor * g_divisor
    f_span, g_span = int(np.ptp(f)), int(np.ptp(g))
    if factor * f_span * g_span > _MAX_PARTS * _U8_MAX**2:
        return None
    scales = [s for s in range(_U8_MAX // f_span, 0, -1) if factor % s == 0]
    choices = [
        [(_from_zero(sign * s * f), sign * (factor // s) * g)]
        for s in scales
        for sign in (1, -1)
        if factor // s * g_span <= _U8_MAX
    ]
    if not choices:
        parts = [part for sign in (1, -1) for part in _parts(sign * f, sign * g, factor, scales)]
        choices = [part for part in parts if all(map(_spans_8_bits, part))]
    if not choices:
        return None
    return min(
        choices,
        key=lambda choice: (
            len(choice),
            _mask_of(choice[0][0]) is None,
            not all(_S8_MIN <= g.min() and g.max() <= _S8_MAX for _, g in choice),
        ),
    )


def _parts(f: Integers, g: Integers, factor: int, scales: list[int]) -> Iterator[list[Product]]:
    """Write ``factor f[a] g[w]``, up to functions of ``a`` and of ``w``, as two products or more.

    Either factor is cut into high and low bits, or the right one into equal parts. Not all
    products fit.
    """
    left, right = _from_zero(factor * f), factor * g
    for bits in range(1, 8):
        power, half = 1 << bits, 1 << (bits - 1)
        if power * int(np.ptp(g)) <= _U8_MAX:
            yield [(left & (power - 1), g), (left >> bits, power * g)]
        if power * int(np.ptp(f)) <= _U8_MAX:
            low = ((right + half) & (power - 1)) - half
            yield [(_from_zero(f), low), (_from_zero(power * f), (right - low) >> bits)]
    for scale, count in product(scales[:1], range(2, _MAX_PARTS + 1)):
        cuts = [factor // scale * g * i // count for i in range(count + 1)]
        yield [(_from_zero(scale * f), more - less) for less, more in pairwise(cuts)]


def _from_zero(values: Integers) -> Integers:
    result: Integers = values - values.min()
    return result


def _spans_8_bits(part: Product) -> bool:
    return int(part[0].max()) <= _U8_MAX and int(np.ptp(part[1])) <= _U8_MAX


def _place(left: Integers, right: Integers, column: Integers) -> tuple[Integers, Integers]:
    """Choose the shift of each right factor that makes it fit int8.

    Adding d to the right factor of a term subtracts ``d * left[term]`` from ``column``, the part
    of the table that depends on the activation alone.

    Returns:
        The shifts, ``(r,)``, and the remainder of ``column``: ideally a constant or, for disjoint
        masks, a multiple of a masked code.
    """
    least, most = _S8_MIN - right.min(axis=1), _S8_MAX - right.max(axis=1)
    ideal = _combination(left, column)
    # A right factor of unsigned operands cannot take its ideal shift: ``w`` itself misses by 128.
    # If the left factors are disjoint masks, a common difference leaves a multiple of a masked
    # code.
    lowest, highest = ideal - most, ideal - least
    must = (lowest > 0) | (highest < 0)
    common = np.clip(0, lowest[must].max(initial=-_FAR), highest[must].min(initial=_FAR))
    in_reach = (lowest <= common) & (common <= highest)
    shift = ideal - np.where(must & in_reach, common, np.clip(0, lowest, highest))
    return shift, column - shift @ left


def _combination(left: Integers, column: Integers) -> Integers:
    """Return integers for which ``column - combination @ left`` is constant, or zeros."""
    zeros = np.zeros(len(left), np.int64)
    centred = (left - left[:, :1]).T.astype(np.float64)
    solved = np.rint(np.linalg.lstsq(centred, (column - column[0]).astype(np.float64))[0])
    if np.abs(solved).max(initial=0) > _MAX_ENTRY:
        return zeros
    found = solved.astype(np.int64)
    return found if np.ptp(column - found @ left) == 0 else zeros


def _scaled_mask(column: Integers) -> tuple[int, int] | None:
    """Return s and m if ``column`` is ``s * (code & m)`` plus a constant, else None."""
    steps = (column[_BIT_CODES] - column[0]) / _BIT_CODES
    kept = np.flatnonzero(steps)
    if not len(kept):
        return (0, 0) if np.ptp(column) == 0 else None
    scale, mask = int(steps[kept[0]]), int(_BIT_CODES[kept].sum())
    return (scale, mask) if np.ptp(column - scale * (_CODES & mask)) == 0 else None


def _activation_only(column: Integers) -> tuple[Integers, Integers] | None:
    """Write ``column``, up to a constant, as one or two terms with constant right factors."""
    below = column.max() - column
    divisor = int(np.gcd.reduce(below))
    high = -_S8_MIN
    for scale in range(1, high + 1):
        if divisor % scale == 0 and below.max() // scale <= _U8_MAX:
            return below[None] // scale, np.full((1, 256), -scale, np.int64)
    if below.max() // high > _U8_MAX:
        return None
    return np.array([below % high, below // high]), np.array([[-1] * 256, [-high] * 256])
