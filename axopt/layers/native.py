"""From a layer's circuit and formats to what the native kernels run."""

from __future__ import annotations

import functools

from torch import Tensor

from axopt.kernels import Convolution, MatrixProduct, Output, Plan, Quantiser, Window, plan
from axopt.layers.quantisation import Quantisation, QuantParams
from axopt.multipliers import Multiplier


@functools.lru_cache(maxsize=512)
def plan_of(multiplier: Multiplier, swap: bool) -> Plan:
    """The plan of a circuit, with the weight as first operand if ``swap``."""
    return plan(multiplier.table.T if swap else multiplier.table)


def convolution_of(
    plan: Plan,
    codes: Tensor,
    window: Window,
    quantisation: Quantisation,
    bias: Tensor | None,
    *,
    signed: bool,
) -> Convolution:
    """The native operation of a layer.

    Args:
        plan: How products are formed.
        codes: Weight indices, ``(out_channels, channels of a group, kernel_h, kernel_w)`` uint8.
        window: How the kernel moves.
        quantisation: Formats of operands and results, those that made ``codes``.
        bias: Of the layer, or None.
        signed: Kind of the circuit.
    """
    activation, weights = quantisation.activation, quantisation.weights
    return Convolution(
        plan,
        codes,
        window,
        _quantiser(activation),
        Output(
            int(activation.zero_index),
            weights.zero_index,
            quantisation.output_scale,
            quantisation.output_bias(bias),
        ),
        signed=signed,
    )


def product_of(plan: Plan, quantisation: Quantisation, *, signed: bool) -> MatrixProduct:
    """The product of two activations in these formats, by a plan with separable terms."""
    first, second = quantisation.activation, quantisation.weights
    output = Output(int(first.zero_index), second.zero_index, quantisation.output_scale)
    return MatrixProduct(plan, _quantiser(first), _quantiser(second), output, signed=signed)


def _quantiser(params: QuantParams) -> Quantiser:
    return Quantiser(params.scale, int(params.zero_point), params.index_of_level)
