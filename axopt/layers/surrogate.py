"""The surrogate of a product table in the backward pass: its slopes as a few separable terms.

With levels n and m of activation and weight, a layer computes sums of

    scale_a scale_w ((n - zero_a) (m - zero_w) + E(n, m))

where E is the error of the multiplier. The straight-through estimator treats E as constant. The
other surrogates take the slopes of E from the table. A slope is that of the least-squares line
through the products in a window around a level, which smooths the staircase of truncated
multipliers. Each of the two matrices of slopes is approximated by separable terms:

    dE/dn (n, m) ~ other_0(m) + own_1(n) other_1(m) + ...

The first term is the mean over n, the others are singular vectors of the remainder. All are
weighted by how often the layer uses the levels: activations behind a ReLU and weights fill a small
part of the table, and the rest of it affects no result. The backward pass is one ordinary
convolution for each term.

.. [Bengio2013] Y. Bengio, N. Leonard and A. Courville, "Estimating or Propagating Gradients
   Through Stochastic Neurons for Conditional Computation", arXiv:1308.3432.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axopt.errors import ArgumentError
from axopt.multipliers import Multiplier

Floats = NDArray[np.float64]

GRADIENTS = ("ste", "slopes", "table")
"""Kinds of gradients: the straight-through estimator; one slope for each level of the other
operand; slopes in a window, as ``rank`` separable terms."""

LEVELS = 256
_UNSEEN = 0.1
"""Share of the importance that is equal for all levels, as operands move in training."""

_DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Gradient:
    """How an emulated layer is differentiated.

    Attributes:
        kind: One of `GRADIENTS`.
        rank: Largest number of separable terms of "table", each a convolution in the backward
            pass; 1..256.
        half_width: Number of codes on either side that the window of "table" covers, 1..255.
        tolerance: A term is dropped if its root mean square is less than this share of that of
            the exact product's slopes.
        dtype: Dtype of the convolutions in the backward pass: float32 or bfloat16.

    Raises:
        ArgumentError: If a value breaks its rule.

    Example:
        >>> Gradient("table", rank=3).half_width
        16
    """

    kind: str = "ste"
    rank: int = 2
    half_width: int = 16
    tolerance: float = 0.02
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.kind not in GRADIENTS:
            raise ArgumentError(
                f"`gradient` must be one of {', '.join(GRADIENTS)}, got {self.kind!r}."
            )
        if not 1 <= self.rank <= LEVELS:
            raise ArgumentError(f"`rank` must be in 1..{LEVELS}, got {self.rank}.")
        if not 1 <= self.half_width < LEVELS:
            raise ArgumentError(f"`half_width` must be in 1..{LEVELS - 1}, got {self.half_width}.")
        if not self.tolerance >= 0:
            raise ArgumentError(f"`tolerance` must be >= 0, got {self.tolerance}.")
        if self.dtype not in _DTYPES:
            raise ArgumentError(f"`dtype` must be one of {_DTYPES}, got {self.dtype}.")


@dataclass(frozen=True, eq=False)
class Slopes:
    """Slopes of the error along one operand, as separable terms.

    Attributes:
        own: ``(terms, levels)`` float32 by the level of this operand; the first row is 1.
        other: ``(terms, levels)`` float32 by the level of the other operand.
    """

    own: Tensor
    other: Tensor

    @property
    def terms(self) -> int:
        """Number of terms, at least 1."""
        return len(self.own)

    def dense(self) -> Tensor:
        """Return the matrix that the terms sum to, ``(own levels, other levels)``."""
        return self.own.T @ self.other


@dataclass(frozen=True)
class Grid:
    """The levels of one operand, in hashable form.

    Attributes:
        stride: Distance between the codes of neighbouring levels.
        code_of_level: Code of every level, 256 bytes; None: ``level * stride``.
        shares: Share of the operands at each level, bytes of float64; None for equal shares.
    """

    stride: int = 1
    code_of_level: bytes | None = None
    shares: bytes | None = None

    @property
    def levels(self) -> int:
        """Number of levels."""
        return LEVELS // self.stride

    def codes(self) -> NDArray[np.intp]:
        """Return the code of each level, ``(levels,)``."""
        if self.code_of_level is None:
            return np.arange(self.levels) * self.stride
        return np.frombuffer(self.code_of_level, np.uint8)[: self.levels].astype(np.intp)

    def operands(self, *, signed: bool) -> Floats:
        """Return the exact operand value of each level in units of a level, ``(levels,)``."""
        origin = LEVELS // 2 / self.stride if signed else 0
        return np.arange(self.levels, dtype=np.float64) - origin

    def importance(self) -> Floats:
        """Return the weight of each level, ``(levels,)``: its share and a little for all."""
        equal = np.full(self.levels, 1 / self.levels)
        if self.shares is None:
            return equal
        return (1 - _UNSEEN) * np.frombuffer(self.shares, np.float64) + _UNSEEN * equal


@functools.lru_cache(maxsize=512)
def error_slopes(
    multiplier: Multiplier, swap: bool, gradient: Gradient, activation: Grid, weight: Grid
) -> tuple[Slopes, Slopes]:
    """Return the slopes of a multiplier's error along the activation and along the weight.

    Args:
        multiplier: The multiplier.
        swap: Whether the weight is its first operand.
        gradient: Kind and options of the slopes.
        activation: Levels of the activation.
        weight: Levels of the weight.

    Returns:
        In units of one level of each operand: ``d error / d activation``, whose ``own`` levels
        are the activation's, and ``d error / d weight``, whose ``own`` levels are the weight's.
    """
    sizes = (activation.levels, weight.levels)
    if gradient.kind == "ste":
        return _zero(*sizes), _zero(*sizes[::-1])
    error = level_errors(multiplier, swap, activation, weight)
    rank = gradient.rank if gradient.kind == "table" else 1
    grids = (activation, weight)
    found = []
    for (own, other), errors in zip((grids, grids[::-1]), (error, error.T), strict=True):
        lines = _line_operator(own.importance(), _half_width(gradient, own))
        least = gradient.tolerance * _spread(other.importance())
        found.append(_separated(lines @ errors, own, other, rank, least))
    return found[0], found[1]


def level_errors(multiplier: Multiplier, swap: bool, activation: Grid, weight: Grid) -> Floats:
    """Return the error E in products of levels, ``(activation levels, weight levels)``."""
    table = multiplier.code_table.T if swap else multiplier.code_table
    products = table[np.ix_(activation.codes(), weight.codes())]
    exact = np.outer(*(grid.operands(signed=multiplier.signed) for grid in (activation, weight)))
    errors: Floats = products / (activation.stride * weight.stride) - exact
    return errors


def _zero(own: int, other: int) -> Slopes:
    return Slopes(torch.ones(1, own), torch.zeros(1, other))


def _half_width(gradient: Gradient, grid: Grid) -> int:
    """Return the number of levels on either side that the window covers."""
    return grid.levels if gradient.kind == "slopes" else max(1, gradient.half_width // grid.stride)


def _line_operator(importance: Floats, half_width: int) -> Floats:
    """Return the matrix that maps values by level to the slope in a window around each level.

    The window of level i holds 2 half_width + 1 levels with i in the middle. Near the ends it is
    shifted inwards: a shorter window would make a staircase look steeper. The slope is that of the
    least-squares line through the window, levels weighted by ``importance``.
    """
    levels = len(importance)
    place = np.arange(levels, dtype=np.float64)
    lowest = (place - half_width).clip(0, max(levels - 1 - 2 * half_width, 0))[:, None]
    inside = (lowest <= place) & (place <= lowest + 2 * half_width)
    counts = inside * importance
    mean = (counts @ place) / counts.sum(1)
    centred = place - mean[:, None]
    squares = (counts * np.square(centred)).sum(1, keepdims=True)
    lines: Floats = counts * centred / np.where(squares > 0, squares, 1)
    return lines


def _spread(importance: Floats) -> float:
    """Return the standard deviation of an operand in levels, that of the exact slope."""
    place = np.arange(len(importance), dtype=np.float64)
    return float(np.sqrt(importance @ np.square(place - importance @ place)))


def _separated(slopes: Floats, own: Grid, other: Grid, rank: int, least: float) -> Slopes:
    """Split slopes into at most ``rank`` terms of least squared error, weighted by importance.

    The first term is the mean. The others are singular vectors of the remainder, weighted by the
    square roots of the importances; those with a root mean square up to ``least`` are dropped.
    """
    counts, roots = own.importance(), [np.sqrt(grid.importance()) for grid in (own, other)]
    mean = counts @ slopes
    left, right = [np.ones(len(slopes))], [mean]
    if rank > 1:
        rest = roots[0][:, None] * (slopes - mean) * roots[1]
        vectors, values, others = np.linalg.svd(rest, full_matrices=False)
        kept = min(rank - 1, int((values > max(least, 1e-12)).sum()))
        halves = np.sqrt(values[:kept, None])
        left += list(vectors[:, :kept].T * halves / roots[0])
        right += list(others[:kept] * halves / roots[1])
    if np.sqrt(other.importance() @ np.square(mean)) < 1e-12:
        right[0] = np.zeros_like(mean)
    return Slopes(*(torch.from_numpy(np.stack(terms)).float() for terms in (left, right)))
