"""The products of an emulated layer as a differentiable function.

Forward: exact emulation on operand indices. Backward: the straight-through estimator, that is the
gradient of the same layer computed in float on the quantised operands, set to zero where an
operand was clipped.

.. [Bengio2013] Y. Bengio, N. Leonard and A. Courville, "Estimating or Propagating Gradients
   Through Stochastic Neurons for Conditional Computation", arXiv:1308.3432.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from axopt.layers.quantisation import Quantisation

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


class Products(Protocol):
    """One layer, exact on indices and differentiable in float."""

    def emulated(self, x: Tensor, quantisation: Quantisation) -> Tensor:
        """Dequantised sums of products, with the bias."""

    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        """Gradients of the float layer with respect to ``x``, ``weight`` and the bias."""


def emulated_products(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    products: Products,
    quantisation: Quantisation,
) -> Tensor:
    """``products.emulated``, differentiable in ``x``, ``weight`` and ``bias``."""
    result: Tensor = _StraightThrough.apply(x, weight, bias, products, quantisation)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        products: Products,
        quantisation: Quantisation,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.products, ctx.quantisation = products, quantisation
        return products.emulated(x, quantisation)

    @staticmethod
    def backward(
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        activation, weights = ctx.quantisation.activation, ctx.quantisation.weights
        grad_x, grad_weight, grad_bias = ctx.products.surrogate_gradients(
            grad_outputs[0],
            activation.fake_quantise(x),
            weights.fake_quantise(weight),
            ctx.needs_input_grad[:3],
        )
        if grad_x is not None:
            grad_x = grad_x * activation.inside(x)
        if grad_weight is not None:
            grad_weight = grad_weight * weights.inside(weight)
        return grad_x, grad_weight, grad_bias, None, None
