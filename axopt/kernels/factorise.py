"""Integer rank factorisations of a product table, found in the bits of its operands.

A table is a polynomial in the bits of both operands, ``sum C[S, U] prod(a_i, i in S)
prod(w_j, j in U)`` (the Moebius transform). Partial products that a multiplier drops are zeros of
``C``, and its compressors add a few monomials, so ``C`` is sparse. Its rows have small norms and
give integer factors; the rows of the table itself often do not.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Factors = tuple[Integers, Integers]
"""Activation factors and weight factors, ``(r, 256)`` each."""

CODES = 256
_PRIME = 2**31 - 1
_BITS = 8
# Coefficients of a 16-bit table stay below 2**32. The bound on coordinates keeps sums of their
# products exact in int64; larger coordinates never lead to factors of 8 bits.
_MAX_COORDINATE = 2**16
_MAX_COEFFICIENT = 2**32


def coefficients(table: Integers) -> Integers:
    """Return the coefficients ``[S, U]`` of a ``(256, 256)`` table; S and U are sets of bits."""
    bits = table.reshape((2,) * (2 * _BITS)).copy()
    for axis in range(2 * _BITS):
        halves = np.moveaxis(bits, axis, 0)
        halves[1] -= halves[0]
    return bits.reshape(CODES, CODES)


def interaction_rank(coefficient: Integers, limit: int) -> int:
    """Return a lower bound on the number of terms of a table, at most ``limit + 1``.

    Functions of one operand alone (the first row and column) are not counted. The bound is the
    rank modulo a prime, which never exceeds the true rank. Factorisations are verified later.
    """
    return len(_pivots(_interaction(coefficient), limit + 1))


def factorisations(coefficient: Integers) -> Iterator[Factors]:
    """Yield integer factorisations of the table, the most promising first.

    For each of them, ``table - activation.T @ weight`` is a function of the activation plus one of
    the weight, and all factors are 0 at code 0.

    Args:
        coefficient: The result of `coefficients`.
    """
    block = _interaction(coefficient)
    seen: set[bytes] = set()
    for method in (_skeleton, _reduced_skeleton, _every_row):
        for transposed in (False, True):
            found = method(block.T if transposed else block)
            if found is None:
                continue
            activation, weight = found[::-1] if transposed else found
            key = activation.tobytes() + weight.tobytes()
            if key not in seen and _plausible(activation) and _plausible(weight):
                seen.add(key)
                yield _values(activation), _values(weight)


def _interaction(coefficient: Integers) -> Integers:
    """Return the coefficients of monomials with bits of both operands, the others set to 0."""
    block = coefficient.copy()
    block[0, :] = block[:, 0] = 0
    return block


def _plausible(factors: Integers) -> bool:
    """Whether all factors have about 16 bits at most, which also excludes overflowed products."""
    largest = np.abs(factors).max(axis=1)
    return bool(((largest > 0) & (largest < _MAX_COEFFICIENT)).all())


def _values(monomials: Integers) -> Integers:
    """Evaluate polynomials of one operand, ``(r, 256)`` coefficients, at every code."""
    bits = monomials.reshape(-1, *(2,) * _BITS).copy()
    for axis in range(1, _BITS + 1):
        halves = np.moveaxis(bits, axis, 0)
        halves[1] += halves[0]
    return bits.reshape(-1, CODES)


def _every_row(block: Integers) -> Factors:
    """Factor ``block`` as ``left.T @ right``; rows that are multiples of another share a factor.

    Args:
        block: ``(256, 256)`` coefficients.
    """
    used = np.flatnonzero(block.any(axis=1))
    divisor = np.gcd.reduce(block[used], axis=1)
    leading = block[used, (block[used] != 0).argmax(axis=1)]
    divisor = divisor * np.sign(leading)
    right, kind = np.unique(block[used] // divisor[:, None], axis=0, return_inverse=True)
    left = np.zeros((len(right), CODES), np.int64)
    left[kind.reshape(-1), used] = divisor
    return left, right


def _skeleton(block: Integers) -> Factors | None:
    """Choose independent rows of `_every_row`, the simplest first; express the others in them.

    Returns:
        As many factors as the rank, or None if that needs fractions.
    """
    left, rows = _every_row(block)
    simplest = np.lexsort((np.abs(rows).sum(axis=1), np.count_nonzero(rows, axis=1)))
    pivots = _pivots(rows[simplest], len(rows))
    basis = rows[sorted(simplest[[row for row, _ in pivots]])]
    share = _coordinates(rows, basis, [column for _, column in pivots])
    return None if share is None else (share.T @ left, basis)


def _reduced_skeleton(block: Integers) -> Factors | None:
    """Subtract multiples of the other rows from the wide rows of `_skeleton`.

    A row that a compressor changed, say ``64 w + (w & 8)``, needs 16 bits by itself. If ``w`` is a
    row as well, ``w & 8`` is left.
    """
    factors = _skeleton(block)
    if factors is None:
        return None
    left, right = factors
    wide = np.ptp(_values(right), axis=1) >= CODES
    for i, j in itertools.product(np.flatnonzero(wide), np.flatnonzero(~wide)):
        direction = right[j].astype(np.float64)
        times = int(np.rint(right[i] @ direction / (direction @ direction)))
        right[i] -= times * right[j]
        left[j] += times * left[i]
    return left, right


def _pivots(matrix: Integers, limit: int) -> list[tuple[int, int]]:
    """Eliminate modulo a prime; return at most ``limit`` pivots, in the first non-zero rows."""
    rest = matrix % _PRIME
    columns = np.flatnonzero(rest.any(axis=0))
    rest = rest[:, columns]
    pivots: list[tuple[int, int]] = []
    for row in range(len(rest)):
        if len(pivots) == limit:
            break
        nonzero = np.flatnonzero(rest[row])
        if not len(nonzero):
            continue
        column = int(nonzero[0])
        inverse = pow(int(rest[row, column]), -1, _PRIME)
        scaled = rest[row] * inverse % _PRIME
        below = row + 1 + np.flatnonzero(rest[row + 1 :, column])
        rest[below] = (rest[below] - rest[below, column, None] * scaled % _PRIME) % _PRIME
        pivots.append((row, int(columns[column])))
    return pivots


def _coordinates(rows: Integers, basis: Integers, columns: list[int]) -> Integers | None:
    """Express ``rows`` in ``basis`` with integer coordinates, or return None if that fails."""
    try:
        solved = np.linalg.solve(
            basis[:, columns].T.astype(np.float64), rows[:, columns].T.astype(np.float64)
        ).T
    except np.linalg.LinAlgError:  # invertible modulo the prime, but not in floating point
        return None
    share = np.rint(solved)
    if not np.isfinite(share).all() or np.abs(share).max(initial=0) > _MAX_COORDINATE:
        return None
    exact = share.astype(np.int64)
    return exact if np.array_equal(exact @ basis, rows) else None
