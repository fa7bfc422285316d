"""Emulated product of two activations."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from axopt.errors import ArgumentError
from axopt.kernels import MatrixProduct, matmul_sums
from axopt.kernels.products import check_depth
from axopt.layers.base import Bounds, EmulatedLayer
from axopt.layers.calibrators import activation_params
from axopt.layers.code_shares import histogram_code_shares
from axopt.layers.gradients import Gradients, differentiable
from axopt.layers.histogram import Histogram
from axopt.layers.native import product_of
from axopt.layers.observation import WindowSample
from axopt.layers.options import Accumulator
from axopt.layers.quantisation import SIGNED_ZERO_POINT, Quantisation, QuantParams
from axopt.layers.sums import Products, less_zero_points
from axopt.modules import MatMul
from axopt.multipliers import Multiplier

_PAIRS = 64
"""Largest number of pairs of matrices that calibration keeps."""

_ROWS, _COLUMNS = 32, 16
"""Rows and columns kept of each pair; smaller matrices have some of them repeated."""


class EmulatedMatMul(EmulatedLayer):
    """`axopt.modules.MatMul` with products from a table.

    The first operand is quantised like the activations of other layers, the second one like their
    weights. Each has one scale, from its own calibration histogram. ``swap`` makes the second
    operand the multiplier's first. Results have no channels with the same meaning in every call,
    so a gain is one number and there is no mean error to correct.

    Args:
        module: The original module.
        multiplier: The multiplier to start with.
        **options: See `EmulatedLayer`.

    Attributes:
        second: Histogram of the second operand.
        weight: Sampled columns of second operands, ``(pairs * columns, 1, k)``; ``sample`` holds
            rows of the first operands. It is not part of the state dict.

    Example:
        >>> from axopt import load_library
        >>> layer = EmulatedMatMul(MatMul(), load_library().exact(signed=True))
        >>> layer.observing = True  # calibrate
        >>> a, b = torch.rand(2, 3, 8), torch.rand(2, 8, 5)
        >>> _ = layer(a, b)
        >>> layer.observing = False
        >>> layer(a, b).shape
        torch.Size([2, 3, 5])
    """

    kind = "matmul"
    has_channels = False

    def __init__(self, module: MatMul, multiplier: Multiplier, **options: Any) -> None:
        options["per_channel"] = False
        super().__init__(torch.zeros(0, 1, 0), None, multiplier, **options)
        self.transpose_b = module.transpose_b
        self.second = Histogram()
        self._pairs = WindowSample(most=_PAIRS)
        self._product: tuple[tuple[object, ...], Quantisation, MatrixProduct] | None = None

    @property
    def out_channels(self) -> int:
        return 1

    def by_channel(self, y: Tensor) -> Tensor:
        return y.reshape(1, -1)

    def geometry(self) -> str:
        return f"transpose_b={self.transpose_b}"

    def exact_float(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.matmul(a, b.mT if self.transpose_b else b)

    def observed(self) -> tuple[Tensor, ...]:
        return (*super().observed(), self.weight, self.second.counts)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Emulate ``MatMul``; same shapes and dtype.

        Raises:
            AccumulatorError: If a sum may leave int32.
            CalibrationError: If the layer was never calibrated.
        """
        operands = _Operands.of(a, b if self.transpose_b else b.mT)
        if self.observing:
            self._count(self.histogram, a)
            self._count(self.second, b)
            self._sample_pairs(*operands.pairs())
            return self.bounded(self.exact_float(a, b))
        quantisation = self.quantisation()
        learns = self.steps is not None or a.requires_grad or b.requires_grad
        if torch.is_grad_enabled() and learns:
            first, second = (x.float() for x in operands.pairs())
            paired = _Paired(self, second.detach())
            y = differentiable(paired, first, second.flatten(0, 1), None, quantisation, self.steps)
            y = y.reshape(operands.shape).to(torch.result_type(a, b))
        else:
            y = self._without_gradients(operands, quantisation, self.bounds)
        return y

    def unbounded(self, a: Tensor, b: Tensor) -> Tensor:
        operands = _Operands.of(a, b if self.transpose_b else b.mT)
        return self._without_gradients(operands, self.quantisation(), None)

    def _without_gradients(
        self, operands: _Operands, quantisation: Quantisation, bounds: Bounds | None
    ) -> Tensor:
        first, second, shape = operands
        y = self.emulated(first.float(), second.float(), quantisation, bounds=bounds)
        return y.reshape(shape).to(torch.result_type(first, second))

    def emulated(
        self,
        first: Tensor,
        second: Tensor,
        quantisation: Quantisation,
        *,
        bounds: Bounds | None = None,
    ) -> Tensor:
        """Return dequantised sums of table products, clamped to ``bounds``.

        Args:
            first: ``(..., m, k)`` float32.
            second: ``(..., n, k)`` float32, with the same leading axes, at least one.
            quantisation: Formats of both operands.
            bounds: Lowest and highest result; None for no bounds.

        Returns:
            ``(pairs, m, n)`` float32.
        """
        product = self.native_product(quantisation) if self.accumulator is None else None
        if product is not None and first.shape[-1] <= product.depth:
            y = product(first.detach(), second.detach())
        else:
            first, second = first.flatten(0, -3), second.flatten(0, -3)
            y = self.emulated_stepwise(first, second, quantisation)
        return y if bounds is None else y.clamp_(*bounds)

    def emulated_stepwise(
        self, first: Tensor, second: Tensor, quantisation: Quantisation
    ) -> Tensor:
        """Compute what `emulated` does, one element-wise operation after the other."""
        activation, weights = quantisation.activation, quantisation.weights
        a, w = activation.codes(first), weights.codes(second)
        if self.accumulator is None:
            sums = self.integer_sums(a, w, activation, weights)
        else:
            sums = self._accumulated(a, w, quantisation, self.accumulator)
        return sums.float().mul_(quantisation.output_scale)

    def integer_sums(
        self, a: Tensor, w: Tensor, activation: QuantParams, weights: QuantParams
    ) -> Tensor:
        """Return sums of table products less their zero-point sums (see docs/architecture.md).

        Args:
            a: ``(pairs, m, k)`` uint8 codes of the first operand.
            w: ``(pairs, n, k)`` uint8 codes of the second operand.
            activation: Format of ``a``.
            weights: Format of ``w``.

        Returns:
            ``(pairs, m, n)`` int32 sums, or int64 if there are zero-point sums.
        """
        origin = SIGNED_ZERO_POINT if self.multiplier.signed else 0
        zero_a, zero_w = int(activation.zero_code) - origin, int(weights.zero_code) - origin
        k = a.shape[2]
        if zero_a == zero_w == 0:
            return matmul_sums(a, w, self._plan)
        check_depth(k, self._plan.k_max_affine(signed=self.multiplier.signed))
        sums_a, sums_w = (x.sum(2, dtype=torch.int64) - origin * k for x in (a, w))
        return less_zero_points(
            matmul_sums(a, w, self._plan),
            sums_a[:, :, None],
            sums_w[:, None, :],
            k,
            (zero_a, zero_w),
        )

    def _accumulated(
        self, a: Tensor, w: Tensor, quantisation: Quantisation, accumulator: Accumulator
    ) -> Tensor:
        """Compute `integer_sums` with an accumulator, one pair of matrices at a time; slow."""
        sums = a.new_zeros(len(a), a.shape[1], w.shape[1], dtype=torch.int64)
        for into, rows, columns in zip(sums, a, w, strict=True):
            products = Products(
                self._plan,
                self.multiplier.signed,
                quantisation,
                columns,
                product_scale=prod(self.multiplier.strides),
            )
            into.copy_(products.window_sums(rows[:, None], None, accumulator))
        return sums

    def weight_code_shares(self, weights: QuantParams) -> Tensor:
        return histogram_code_shares(self.second, weights, self.name)

    def _weight_params(self, signed: bool, stride: int) -> QuantParams:
        params = activation_params(
            self.second, signed=signed, calibrator=self.calibrator, stride=stride
        )
        return params.to(self.weight.device)

    def native_product(self, quantisation: Quantisation) -> MatrixProduct | None:
        """Return the native product for the present multiplier and formats, if there is one."""
        if self._plan.terms is None:
            return None
        key = (self.multiplier.digest, self.swap)
        kept = self._product
        if kept is None or kept[0] != key or kept[1] is not quantisation:
            product = product_of(self._plan, quantisation, signed=self.multiplier.signed)
            kept = self._product = (key, quantisation, product)
        return kept[2]

    def _sample_pairs(self, first: Tensor, second: Tensor) -> None:
        """Keep a sample of pairs ``(m, k)`` and ``(n, k)`` with the depth of the first call."""
        if 0 in (*first.shape, len(second), second.shape[1]):
            return
        self.channels.update(first.reshape(1, -1))
        kept = self._pairs.windows
        if len(kept) and first.shape[2] != kept.shape[2]:
            return
        wanted = self._pairs.wanted(len(first))
        rows = torch.arange(_ROWS) * first.shape[1] // _ROWS
        columns = torch.arange(_COLUMNS) * second.shape[1] // _COLUMNS
        sampled = (x[wanted.to(x.device)][:, at] for x, at in ((first, rows), (second, columns)))
        self._pairs.add(torch.cat(list(sampled), dim=1), len(first))
        kept = self._pairs.windows
        self.sample.windows = kept[:, :_ROWS].transpose(0, 1).contiguous()
        self.weight = kept[:, _ROWS:].reshape(-1, 1, kept.shape[2]).to(self.weight)

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_product": None}


class _Operands(NamedTuple):
    """Operands of a batched product, broadcast to the same leading axes.

    Attributes:
        first: ``(..., m, k)``, at least three axes.
        second: ``(..., n, k)``.
        shape: Shape of the result.
    """

    first: Tensor
    second: Tensor
    shape: tuple[int, ...]

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> _Operands:
        """Broadcast the leading axes of ``(..., m, k)`` and ``(..., n, k)``."""
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
            raise ArgumentError(
                "`a` and `b` must be matrices that agree in the axis that is summed over, got "
                f"shapes {tuple(a.shape)} and, transposed, {tuple(b.shape)}."
            )
        leading = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
        shared = leading or (1,)
        first, second = (x.expand(*shared, *x.shape[-2:]) for x in (a, b))
        return cls(first, second, (*leading, a.shape[-2], b.shape[-2]))

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Return the operands as ``(pairs, m, k)`` and ``(pairs, n, k)``."""
        return self.first.flatten(0, -3), self.second.flatten(0, -3)


class _Paired:
    """A call of the layer as gradients.py needs it: all second operands are one weight.

    The weight has the shape ``(pairs * n, k)``: the columns of one second operand after the other.

    Args:
        layer: The layer that is called.
        second: Second operands, ``(pairs, n, k)``.
    """

    def __init__(self, layer: EmulatedMatMul, second: Tensor) -> None:
        self._layer, self._second = layer, second
        self.bounds, self.gradient, self.shares = layer.bounds, layer.gradient, layer.shares
        self.multiplier, self.swap = layer.multiplier, layer.swap
        self.padded_taps = layer.padded_taps

    def emulated(
        self, x: Tensor, quantisation: Quantisation, *, bounds: Bounds | None = None
    ) -> Tensor:
        return self._layer.emulated(x, self._second, quantisation, bounds=bounds)

    def sums_by_tap(self, grad: Tensor, sums: Tensor) -> Tensor:
        return sums.view(-1, 1)

    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        by_pair = weight.view(self._second.shape)
        return (
            torch.bmm(grad, by_pair) if needs[0] else None,
            torch.bmm(grad.mT, x).view(weight.shape) if needs[1] else None,
            grad.sum(1).flatten() if needs[2] else None,
        )
