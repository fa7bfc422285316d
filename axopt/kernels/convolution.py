"""Emulated convolutions as one native operation: quantise, multiply, accumulate, dequantise.

A `Convolution` binds what changes rarely - a plan, quantised weights, scales - and is then called
on float activations. Its results are those of the element-wise definition, bit for bit:
``indices = clamp(round(x * (1 / scale)) + zero_point)``, exact integer sums of table products
less the zero-point terms, then ``float(sum) * scale + bias``.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import axopt._lut_gemm as _lut_gemm
from axopt.errors import AccumulatorError, ArgumentError
from axopt.kernels.costs import Shape, choose_method
from axopt.kernels.dispatch import active_index
from axopt.kernels.operations import (
    Method,
    Window,
    is_depthwise,
    residual_operation,
    table_operation,
    terms_operation,
)
from axopt.kernels.plan import Plan

Bounds = tuple[float, float]

_UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class Scales:
    """What the operands' indices stand for: ``scale * (index - zero_point)``.

    Attributes:
        activation_scale: Positive.
        activation_zero_point: 0..255.
        weight_scale: ``()`` or ``(out_channels,)`` float32.
        weight_zero_point: The same shape, int64 in 0..255.
    """

    activation_scale: Tensor
    activation_zero_point: Tensor
    weight_scale: Tensor
    weight_zero_point: Tensor


class Convolution:
    """An emulated convolution of float activations with fixed quantised weights.

    The method follows from the plan, the layer and the number of pixels by predicted cost, and is
    set up at its first use. Calls from several threads at a time are safe.

    Args:
        plan: How its products can be formed.
        weight: Weight indices, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8.
        window: How the kernel moves.
        scales: What indices stand for.
        bias: ``(out_channels,)`` float32 or None; added in float32.
        signed: Whether the circuit multiplies ``index - 128`` rather than ``index``: then the
            scales are symmetric and there are no zero-point terms.
        method: Always this one, instead of the one with the least predicted cost.

    Raises:
        AccumulatorError: If a sum may leave int32.
        ArgumentError: If ``method`` is "terms" or "residual" and the plan has none, or it is
            "residual" and the layer depthwise.
    """

    def __init__(
        self,
        plan: Plan,
        weight: Tensor,
        window: Window,
        scales: Scales,
        bias: Tensor | None,
        *,
        signed: bool,
        method: Method | None = None,
    ) -> None:
        if method == "terms" and plan.terms is None:
            raise ArgumentError("`method` must not be 'terms': the plan has no separable terms.")
        depthwise = is_depthwise(weight.numpy(), window)
        if method == "residual" and (plan.residual is None or depthwise):
            raise ArgumentError(
                "`method` must not be 'residual': the plan has none, or the layer is depthwise."
            )
        _check_depth(weight[0].numel(), plan, signed=signed)
        self._plan, self._window, self._method = plan, window, method
        self._isa = active_index()
        self._codes = np.ascontiguousarray(weight.numpy())
        channels = len(self._codes)
        self._inverse_scale = float(scales.activation_scale.float().reciprocal())
        self._zero_point = int(scales.activation_zero_point)
        self._weight_zero_point = (
            None if signed else _per_channel(scales.weight_zero_point, channels)
        )
        scale = (scales.activation_scale * scales.weight_scale).float().expand(channels)
        self._scale = scale.contiguous().numpy()
        bias = torch.zeros(channels) if bias is None else bias.detach().float()
        self._bias = bias.contiguous().numpy()
        self._operations: dict[Method, _lut_gemm.Operation] = {}

    @property
    def nbytes(self) -> int:
        """Memory of the packed weights."""
        packed = sum(operation.nbytes for operation in self._operations.values())
        return self._codes.nbytes + packed

    def __call__(self, x: Tensor, bounds: Bounds | None = None) -> Tensor:
        """Convolve.

        Args:
            x: ``(images, channels, height, width)`` float32 on the CPU, any strides.
            bounds: What the results are clamped to; None leaves them as they are.

        Returns:
            ``(images, out_channels, out_height, out_width)`` float32 in channels-last memory.

        Raises:
            ArgumentError: If the number of channels is wrong or the input too small.
            MemoryError: If the result or a band cannot be allocated.
        """
        out_channels, group_channels, *kernel = self._codes.shape
        channels = group_channels * self._window.groups
        if x.shape[1] != channels:
            raise ArgumentError(f"`x` must have {channels} channels, got {x.shape[1]}.")
        size = self._window.out_size((x.shape[2], x.shape[3]), (kernel[0], kernel[1]))
        try:
            out = torch.empty((len(x), *size, out_channels))
        except RuntimeError as error:  # what torch raises where memory is short
            raise MemoryError(f"no memory for the result of {self._codes.shape}") from error
        if out.numel() and x.numel():
            self._operation(len(x) * math.prod(size)).run(
                self._isa,
                torch.get_num_threads(),
                x.detach().numpy(),
                self._inverse_scale,
                self._zero_point,
                out.numpy(),
                bounds or _UNBOUNDED,
            )
        elif out.numel():  # nothing to sum
            out.copy_(torch.from_numpy(self._bias)).clamp_(*(bounds or _UNBOUNDED))
        return out.permute(0, 3, 1, 2)

    def method(self, pixels: int) -> Method:
        """The method for a call with so many output pixels."""
        groups = self._window.groups
        codes = self._codes
        taps = math.prod(codes.shape[2:])
        shape = Shape(pixels, len(codes) // groups, codes[0].size, groups, taps)
        return self._method or choose_method(self._plan, shape)

    def _operation(self, pixels: int) -> "_lut_gemm.Operation":
        method = self.method(pixels)
        if method not in self._operations:
            self._operations[method] = self._new_operation(method)
        return self._operations[method]

    def _new_operation(self, method: Method) -> "_lut_gemm.Operation":
        plan, codes, zero_point = self._plan, self._codes, self._weight_zero_point
        flat = codes.reshape(len(codes), -1)
        offset = np.zeros(len(codes), np.int64)
        if method == "terms" and plan.terms is not None:
            operation = terms_operation(plan.terms, codes, self._window, self._isa, zero_point)
            offset += plan.terms.weight_offset[flat].sum(1, dtype=np.int64)
        elif method == "residual" and plan.residual is not None:
            operation = residual_operation(plan.residual, codes, self._window, self._isa)
            offset += plan.residual.term.weight_offset[flat].sum(1, dtype=np.int64)
        else:
            operation = table_operation(plan.packed, codes, self._window, method)
        if zero_point is not None:
            weights = flat.sum(1, dtype=np.int64)
            offset += self._zero_point * (flat.shape[1] * zero_point - weights)
        in_weights = method == "terms" and is_depthwise(codes, self._window)
        operation.set_output(
            offset.astype(np.int32),  # wraps, as the sums do
            None if zero_point is None or in_weights else zero_point.astype(np.int32),
            self._scale,
            self._bias,
        )
        return operation


def _check_depth(k: int, plan: Plan, *, signed: bool) -> None:
    k_max = plan.k_max if signed else plan.k_max_affine
    if k > k_max:
        raise AccumulatorError(
            f"a sum of K = {k} products may leave int32: this table allows K <= {k_max}."
        )


def _per_channel(values: Tensor, channels: int) -> NDArray[np.int64]:
    return values.expand(channels).numpy().astype(np.int64)
