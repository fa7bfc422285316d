"""The emulated layer as a differentiable function.

The forward pass is the exact emulation. The backward pass is the gradient of the layer's surrogate
(surrogate.py) at the levels of the operands: one ordinary convolution for each term. The gradient
of an operand is zero where the operand was clipped.

Learned scales (LSQ's step sizes) get the derivative of the emulated result. As long as the levels
stay, the result y is proportional to a scale s. The levels of the values inside the range move in
inverse proportion to s. So

    dL/ds = (<dL/dy, y - bias> - <dL/dx inside the range, x>) / s

For exact products this is the gradient of [Esser2020], including its factor 1 / sqrt(N Q).

.. [Esser2020] S. K. Esser et al., "Learned Step Size Quantization", ICLR 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from axopt.layers.quantisation import Quantisation, QuantParams
from axopt.layers.shares import Shares
from axopt.layers.surrogate import Gradient, Grid, Slopes, error_slopes
from axopt.multipliers import Multiplier

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
Bounds = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Steps:
    """Learned scales (step sizes) of a layer's operands; they replace the scales of its formats.

    Attributes:
        activation: Scale of the activations, ``()`` float32.
        weights: Scale of the weights, ``()`` or ``(out_channels,)`` float32.

    Example:
        >>> steps = Steps(torch.tensor(0.1), torch.full((4,), 0.2))
        >>> steps.weights.shape
        torch.Size([4])
    """

    activation: Tensor
    weights: Tensor


class Differentiable(Protocol):
    """The part of a layer that this module uses."""

    bounds: Bounds | None
    gradient: Gradient
    multiplier: Multiplier
    padded_taps: str
    shares: Shares | None
    swap: bool

    def emulated(
        self, x: Tensor, quantisation: Quantisation, *, bounds: Bounds | None = None
    ) -> Tensor:
        """Return dequantised sums of products plus the bias, clamped to ``bounds``."""

    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        """Return the float layer's gradients with respect to ``x``, ``weight`` and the bias."""

    def sums_by_tap(self, grad: Tensor, sums: Tensor) -> Tensor:
        """Return ``grad`` summed over the results that each tap of the weight contributes to."""


def differentiable(
    layer: Differentiable,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    quantisation: Quantisation,
    steps: Steps | None,
) -> Tensor:
    """Emulate a layer, clamped to its bounds, differentiable in all tensors and learned scales.

    Args:
        layer: Computes the results and says how they are differentiated.
        x: Prepared input, float32.
        weight: Weight of the layer, output channels first, float32.
        bias: ``(out_channels,)`` float32 or None.
        quantisation: Formats in use; their scales are the present values of ``steps``.
        steps: Learned scales; None if scales are not learned.
    """
    scales = (None, None) if steps is None else (steps.activation, steps.weights)
    result: Tensor = _Emulation.apply(x, weight, bias, *scales, layer, quantisation)  # type: ignore[no-untyped-call]
    return result


class _Emulation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        activation_scale: Tensor | None,
        weight_scale: Tensor | None,
        layer: Differentiable,
        quantisation: Quantisation,
    ) -> Tensor:
        y = layer.emulated(x, quantisation, bounds=layer.bounds)
        learns = activation_scale is not None or weight_scale is not None
        ctx.save_for_backward(x, weight, bias, y if learns or layer.bounds is not None else None)
        ctx.layer, ctx.quantisation = layer, quantisation
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, y = ctx.saved_tensors
        layer, quantisation = ctx.layer, ctx.quantisation
        grad = grad_outputs[0]
        if layer.bounds is not None:
            grad = _inside_bounds(grad, y, layer.bounds)
        slopes = _slopes_of(layer, quantisation)
        needs = ctx.needs_input_grad
        learns = needs[3] or needs[4]
        gradients = operand_gradients(
            layer,
            grad,
            (x, weight),
            quantisation,
            slopes,
            (needs[0] or needs[3], needs[1] or needs[4], needs[2] or learns),
        )
        steps: tuple[Tensor | None, Tensor | None] = (None, None)
        if learns:
            shift = quantisation.output_bias(bias)
            steps = _step_gradients(grad, y, shift, (x, weight), gradients, quantisation)
        wanted = zip((*gradients, *steps), needs, strict=False)
        return *(value if need else None for value, need in wanted), None, None


def _slopes_of(layer: Differentiable, quantisation: Quantisation) -> tuple[Slopes, Slopes]:
    shares = layer.shares
    activation = _grid(quantisation.activation, None if shares is None else shares.activation)
    weights = _grid(quantisation.weights, None if shares is None else shares.weights)
    return error_slopes(layer.multiplier, layer.swap, layer.gradient, activation, weights)


def _grid(params: QuantParams, shares: bytes | None) -> Grid:
    return Grid(
        params.stride,
        None if params.code_of_level is None else bytes(params.code_of_level.tolist()),
        shares,
    )


def operand_gradients(
    layer: Differentiable,
    grad: Tensor,
    operands: tuple[Tensor, Tensor],
    quantisation: Quantisation,
    slopes: tuple[Slopes, Slopes],
    needs: tuple[bool, bool, bool],
) -> Gradients:
    """Return the gradients of the surrogate with respect to input, weight and bias.

    With the gradient g of the results, the terms (A_r, B_r) of the slopes along the activation
    and (D_r, C_r) of those along the weight,

        dx = sum_r A_r(n) conv_transposed(g, b_r),  b_0 = w + s_w B_0(m),  b_r = s_w B_r(m)
        dw = sum_r D_r(m) correlation(c_r, g),      c_0 = x + s_a C_0(n),  c_r = s_a C_r(n)

    where nothing was clipped. A padded position holds the level z of zero. The convolutions pad
    with 0, so they get c_r - c_r(z), and c_r(z) times the sum of g over the results of each tap
    is added to dw. Skipped padded taps add nothing.

    Args:
        layer: Does the convolutions.
        grad: Gradient of the results.
        operands: Input and weight in float.
        quantisation: Their formats.
        slopes: Slopes of the error along the activation and along the weight.
        needs: Which of the three gradients to compute; the others are None.
    """
    along_x, along_w = slopes
    x = Operand(operands[0], quantisation.activation)
    w = Operand(operands[1], quantisation.weights)
    gain = None if layer.gradient.kind == "ste" else quantisation.gain
    if gain is not None:
        gain = _first(gain, w.x.ndim)
    if layer.padded_taps == "skip":
        constants = [0.0] * along_w.terms
    else:
        constants = x.constants(along_w.other)
    grad_x = grad_w = sums = None
    for term in range(max(along_x.terms, along_w.terms)):
        wants = _wanted(term, slopes, needs, with_sums=any(constants))
        if not any(wants):
            continue
        factor_w = w.factor(along_x.other, term) if wants[0] else w.x
        factor_x = x.factor(along_w.other, term, constants[term]) if wants[1] else x.x
        if gain is not None:
            factor_w = factor_w * gain
        to_x, to_w, to_bias = _convolved(layer, grad, factor_x, factor_w, wants)
        sums = to_bias if sums is None else sums
        if to_x is not None:
            grad_x = _accumulated(grad_x, to_x, x.slope(along_x.own, term))
        if to_w is not None:
            if sums is not None and constants[term]:
                to_w = to_w + constants[term] * layer.sums_by_tap(grad, sums)
            grad_w = _accumulated(grad_w, to_w, w.slope(along_w.own, term))
    if grad_w is not None and gain is not None:
        grad_w = grad_w * gain
    return (
        None if grad_x is None else x.inside(grad_x),
        None if grad_w is None else w.inside(grad_w),
        sums,
    )


def _wanted(
    term: int, slopes: tuple[Slopes, Slopes], needs: tuple[bool, bool, bool], *, with_sums: bool
) -> tuple[bool, bool, bool]:
    """Return which gradients a term adds to; the weight's needs the bias's if ``with_sums``."""
    return (
        needs[0] and term < slopes[0].terms,
        needs[1] and term < slopes[1].terms,
        term == 0 and (needs[2] or (needs[1] and with_sums)),
    )


class Operand:
    """An operand in the backward pass: its levels, and the factors that follow from them.

    Args:
        x: The operand in float; channels first where its format is per channel.
        params: Its format.
    """

    def __init__(self, x: Tensor, params: QuantParams) -> None:
        self.x = x
        self._params = params
        scale, zero = params.scale, params.zero_point.float()
        if params.per_channel:
            scale, zero = _first(scale, x.ndim), _first(zero, x.ndim)
        self._scale, self._zero = scale.to(x.dtype), zero.to(x.dtype)
        inverse = scale.reciprocal().to(x.dtype)
        self._places = (x * inverse).round_().nan_to_num_(nan=0.0).add_(self._zero)
        self._levels = self._places.clamp(0, params.top)
        self._rows: Tensor | None = None

    def constants(self, other: Tensor) -> list[float]:
        """Return the factor of each term where the operand is zero; for one scale per tensor."""
        if not other.any():
            return [0.0] * len(other)
        at_zero = other[:, int(self._params.zero_point)] * self._params.scale.cpu()
        return [float(value) for value in at_zero]

    def factor(self, other: Tensor, term: int, constant: float = 0.0) -> Tensor:
        """Return the factor that is convolved for a term, shaped as the operand.

        It is the row of slopes at the operand's levels. The first term adds the value itself.

        Args:
            other: ``(terms, levels)`` rows of slopes.
            term: Number of the term.
            constant: Subtracted from the factor.
        """
        if term == 0:
            value = (self._levels - self._zero).mul_(self._scale)
            if not other[0].any():
                return value
            return value.add_(self._looked_up(other[0]).mul_(self._scale)).sub_(constant)
        return self._looked_up(other[term]).mul_(self._scale).sub_(constant)

    def slope(self, own: Tensor, term: int) -> Tensor | None:
        """Return the factor of the term's convolution; None for the first term, where it is 1."""
        return None if term == 0 else self._looked_up(own[term])

    def inside(self, grad: Tensor) -> Tensor:
        """Return ``grad`` with zeros where the operand was clipped."""
        return torch.ops.aten.hardtanh_backward(  # type: ignore[no-any-return]
            grad, self._places, -0.5, self._params.top + 0.5
        )

    def _looked_up(self, row: Tensor) -> Tensor:
        """Return ``row`` at the operand's levels, a new tensor in their memory format."""
        if self._rows is None:
            self._rows = _in_memory_order(self._levels).to(torch.int32)
        row = row.to(self.x.device, self.x.dtype)
        values = torch.index_select(row, 0, self._rows.flatten()).view(self._rows.shape)
        return values.permute(0, 3, 1, 2) if _is_channels_last(self._levels) else values


def _convolved(
    layer: Differentiable, grad: Tensor, x: Tensor, weight: Tensor, wants: tuple[bool, bool, bool]
) -> Gradients:
    """Return the float layer's gradients, computed in the dtype of `Gradient`."""
    dtype = layer.gradient.dtype
    if dtype == torch.float32:
        return layer.surrogate_gradients(grad, x, weight, wants)
    found = layer.surrogate_gradients(grad.to(dtype), x.to(dtype), weight.to(dtype), wants)
    to_x, to_w, to_bias = (None if value is None else value.to(grad.dtype) for value in found)
    return to_x, to_w, to_bias


def _accumulated(total: Tensor | None, value: Tensor, factor: Tensor | None) -> Tensor:
    if total is None:
        return value if factor is None else value.mul_(factor)
    return total.add_(value) if factor is None else total.addcmul_(value, factor)


def _inside_bounds(grad: Tensor, y: Tensor, bounds: Bounds) -> Tensor:
    """Return ``grad`` with zeros where the result lies on a bound."""
    low, high = bounds
    if high == math.inf:
        return torch.ops.aten.threshold_backward(grad, y, low)  # type: ignore[no-any-return]
    return torch.ops.aten.hardtanh_backward(grad, y, low, high)  # type: ignore[no-any-return]


def _step_gradients(
    grad: Tensor,
    y: Tensor,
    bias: Tensor | None,
    operands: tuple[Tensor, Tensor],
    gradients: Gradients,
    quantisation: Quantisation,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the two learned scales, see the module's docstring.

    Args:
        grad: Gradient of the results.
        y: The results.
        bias: Added to the scaled sums in the results; None for nothing.
        operands: Input and weight.
        gradients: Gradients of input, weight and bias, zero where clipped.
        quantisation: The formats.
    """
    activation, weights = quantisation.activation, quantisation.weights
    (x, weight), (grad_x, grad_w, sums) = operands, gradients
    channel = 1 - weight.ndim
    others = [d for d in range(y.ndim) if d != y.ndim + channel]
    proportional = (grad * y).sum(others) if others else grad * y
    if bias is not None and sums is not None:
        proportional = proportional - bias * sums
    to_x = proportional.sum() - _inner(grad_x, x)  # type: ignore[arg-type]
    moved = (grad_w * weight).flatten(1).sum(1)  # type: ignore[operator]
    to_w = proportional - moved if weights.per_channel else proportional.sum() - moved.sum()
    return (
        to_x * (_step_factor(activation, x[0].numel()) / activation.scale),
        to_w * (_step_factor(weights, weight[0].numel()) / weights.scale),
    )


def _step_factor(params: QuantParams, elements: int) -> Tensor:
    """Return ``1 / sqrt(N Q)`` for N elements that share the scale and Q positive levels."""
    levels = (params.top - params.zero_point).clamp(min=1)
    return torch.rsqrt(elements * levels.float())


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product; fastest where both tensors have one memory format."""
    if _is_channels_last(a) != _is_channels_last(b):
        b = b.contiguous(
            memory_format=torch.channels_last if _is_channels_last(a) else torch.contiguous_format
        )
    return torch.dot(_in_memory_order(a).flatten(), _in_memory_order(b).flatten())


def _first(values: Tensor, ndim: int) -> Tensor:
    """Shape one value per channel to broadcast against a tensor whose channels come first."""
    return values.view(-1, *(1,) * (ndim - 1))


def _is_channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _in_memory_order(x: Tensor) -> Tensor:
    """Return ``x`` contiguous, with its dimensions in the order of memory."""
    return x.permute(0, 2, 3, 1) if _is_channels_last(x) else x.contiguous()
