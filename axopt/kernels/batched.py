"""Emulated products of pairs of float matrices, by float32 matrix products of separable terms.

Both operands change with every call, so no weights can be packed. Each operand is turned into the
factors of the terms in float32, and one batched matrix product of PyTorch sums them, on any
device. It is exact for the reasons given in device.py: factors are integers of 8 bits, and no
partial sum, in any order, exceeds 2^24. `matmul_sums` computes deeper products.

Levels stay in float32: adding 1.5 * 2^23 to a number of less than 22 bits rounds it half to even
and leaves it in the low bits of the mantissa, where a mask can be applied to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axopt.errors import ArgumentError
from axopt.kernels.convolution import Output, Quantiser
from axopt.kernels.plan import Plan

Integers = NDArray[np.int64]

_ROUNDER = 1.5 * 2**23
_EXACT = 2**24  # float32 holds every integer up to here
_LEVELS = np.arange(256)
_BLOCK_BYTES = 2**21
"""Size of a block's operands and results, in bytes, so that they stay in the cache."""


@dataclass(frozen=True, eq=False)
class _Map:
    """Map levels of an operand to integers, by ``scale * (level & mask) + constant`` if possible.

    Attributes:
        values: ``(256,)`` float32.
        scale: Factor of the masked level; 0 if the values do not have this form.
        mask: Bits of the level, 0..255.
        constant: Value at level 0.
        greatest: Largest magnitude of the values.
    """

    values: Tensor
    scale: int
    mask: int
    constant: int
    greatest: int

    @classmethod
    def of(cls, values: Integers) -> _Map:
        constant = int(values[0])
        bits = [int(values[1 << bit]) - constant for bit in range(8)]
        mask = sum(1 << bit for bit in range(8) if bits[bit])
        scale = 0 if mask == 0 else bits[(mask & -mask).bit_length() - 1] // (mask & -mask)
        if not np.array_equal(values, scale * (_LEVELS & mask) + constant):
            scale = 0
        greatest = int(np.abs(values).max())
        return cls(torch.from_numpy(values.astype(np.float32)), scale, mask, constant, greatest)

    def __call__(self, levels: Tensor) -> Tensor:
        """Map ``levels``, to which `_ROUNDER` has been added; may overwrite them."""
        if self.scale == 0:
            at = levels.sub(_ROUNDER).to(torch.int32)
            return self.values.to(levels.device).index_select(0, at.flatten()).view(at.shape)
        if self.mask != 255:
            levels.view(torch.int32).bitwise_and_(self.mask - 256)
        if self.scale == 1:
            return levels.sub_(_ROUNDER - self.constant)
        return levels.sub_(_ROUNDER).mul_(self.scale).add_(self.constant)


class _Operand:
    """One operand of the products: its quantiser, and the factors and summand of each code.

    Args:
        quantiser: From floats to codes.
        factors: Factor of each code, ``(terms, 256)``.
        summand: Part of the product that depends on this operand alone, per code, ``(256,)``.
    """

    def __init__(self, quantiser: Quantiser, factors: Integers, summand: Integers) -> None:
        self._inverse = float(quantiser.scale.float().reciprocal())
        self._zero = quantiser.zero_point
        of_level = quantiser.code_of_level
        codes = _LEVELS if of_level is None else of_level.cpu().numpy().astype(np.int64)
        self._factors = [_Map.of(factor[codes]) for factor in factors]
        self._summand = _Map.of(summand[codes]) if summand.any() else None
        self.greatest = [factor.greatest for factor in self._factors]
        self.greatest_summand = 0 if self._summand is None else self._summand.greatest

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute factors and sums of ``(..., rows, k)`` floats.

        Returns:
            Factors ``(pairs, rows, terms * k)``, term by term, and sums of the summands
            ``(pairs, rows)``, or None if these are zero.
        """
        by_columns = x.stride(-1) != 1 and x.stride(-2) == 1  # column-major, which bmm takes too
        levels = torch.empty_like(x.mT if by_columns else x, memory_format=torch.contiguous_format)
        levels = levels.mT if by_columns else levels
        torch.mul(x, self._inverse, out=levels)
        levels = levels.add_(_ROUNDER).flatten(0, -3)
        low = _ROUNDER - self._zero
        levels.clamp_(low, low + 255).nan_to_num_(nan=_ROUNDER).add_(self._zero)
        *others, last = self._factors
        sums = None if self._summand is None else self._summand(levels.clone()).sum(-1)
        factors = [factor(levels.clone()) for factor in others] + [last(levels)]
        return (factors[0] if len(factors) == 1 else torch.cat(factors, -1)), sums


class MatrixProduct:
    """The emulated product of pairs of float matrices, each operand with its own format.

    Args:
        plan: The plan of the table; it must have separable terms.
        first: Quantiser of the first matrices; their codes address rows of the table.
        second: Quantiser of the second matrices; their codes address columns.
        output: Turns sums into results; one zero point and one scale for all, no bias.
        signed: Whether the multiplier takes ``code - 128`` as operands rather than ``code``.

    Raises:
        ArgumentError: If the plan has no separable terms.

    Example:
        >>> import numpy as np, torch
        >>> from axopt.kernels import MatrixProduct, Output, Quantiser, plan
        >>> operands, step = np.arange(-128, 128), torch.tensor(0.5)
        >>> exact = plan(np.multiply.outer(operands, operands))
        >>> quantiser, output = Quantiser(step, 128), Output(128, torch.tensor(128), step * step)
        >>> product = MatrixProduct(exact, quantiser, quantiser, output, signed=True)
        >>> product(torch.ones(1, 1, 3), 2 * torch.ones(1, 1, 3))
        tensor([[[6.]]])
    """

    def __init__(
        self, plan: Plan, first: Quantiser, second: Quantiser, output: Output, *, signed: bool
    ) -> None:
        if plan.terms is None:
            raise ArgumentError("`plan` must have separable terms.")
        terms = plan.terms
        factors, others = terms.activation.astype(np.int64), terms.weight.astype(np.int64)
        shift = 128 * (factors.max(1, keepdims=True) > 128)  # smaller factors allow more products
        operands = _LEVELS - (128 if signed else 0)
        first_zero = output.activation_zero - (128 if signed else 0)
        second_zero = int(output.weight_zero) - (128 if signed else 0)
        masked = terms.activation_scale * (_LEVELS & terms.activation_mask)
        offset = terms.weight_offset + (shift * others).sum(0) + first_zero * second_zero
        self._first = _Operand(first, factors - shift, masked - second_zero * operands)
        self._second = _Operand(second, others, offset - first_zero * operands)
        self._scale = float(output.scale)
        greatest = zip(self._first.greatest, self._second.greatest, strict=True)
        largest = sum(a * w for a, w in greatest)
        largest += self._first.greatest_summand + self._second.greatest_summand
        self.depth = _EXACT // max(1, largest)
        """The largest depth at which every sum is exact."""

    def __call__(self, a: Tensor, w: Tensor) -> Tensor:
        """Multiply the matrices of each pair.

        Args:
            a: The first matrices, ``(..., m, k)`` float32 of any strides, ``k`` at most ``depth``.
            w: The second matrices, transposed, ``(..., n, k)`` float32 with the same leading axes.

        Returns:
            ``(pairs, m, n)`` float32: dequantised sums of table products.
        """
        y = torch.empty((*a.shape[:-1], w.shape[-2]), device=a.device)
        bytes_each = 4 * (a[:1].numel() + w[:1].numel() + y[:1].numel())
        size = max(1, _BLOCK_BYTES // max(1, bytes_each))
        with torch.autocast(a.device.type, enabled=False):
            for start in range(0, len(a), size):
                block = slice(start, start + size)
                self._multiply(a[block], w[block], y[block].flatten(0, -3))
        return y.flatten(0, -3)

    def _multiply(self, a: Tensor, w: Tensor, y: Tensor) -> None:
        """Write the products of some pairs to ``y``, ``(pairs, m, n)``."""
        factors_a, sums_a = self._first(a)
        factors_w, sums_w = self._second(w)
        if sums_w is None:
            torch.bmm(factors_a, factors_w.mT, out=y)
        else:
            torch.baddbmm(sums_w.unsqueeze(1), factors_a, factors_w.mT, out=y)
        if sums_a is not None:
            y += sums_a.unsqueeze(2)
        y *= self._scale
