"""From a layer's circuit and formats to what the native kernels run."""

from __future__ import annotations

import functools
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor

from axopt.kernels import Convolution, MatrixProduct, Output, Plan, Quantiser, Window, plan
from axopt.layers.quantisation import Quantisation, QuantParams
from axopt.multipliers import Multiplier

MAX_KERNELS = 64
MAX_KERNEL_BYTES = 32 << 20
"""Packed weights that a layer keeps for the formats used before, besides the present ones."""

Version = tuple[object, ...]
Convolutions = tuple[Convolution | Tensor, ...]
"""Of the parts of a layer; for a part without any tap, its results of all output channels."""


def version_of(tensor: Tensor) -> object:
    """Something that differs from any earlier version of ``tensor``.

    A tensor made in inference mode counts no changes: every call returns another version, so that
    nothing that follows from it is kept.
    """
    try:
        return tensor._version
    except RuntimeError:
        return object()


@dataclass(frozen=True, eq=False)
class _Kernel:
    """The native operations of a layer and what they were made from."""

    convolutions: Convolutions
    version: Version
    quantisation: Quantisation  # kept alive, since its id is part of the key

    @property
    def nbytes(self) -> int:
        return sum(c.nbytes for c in self.convolutions)


class KernelCache:
    """The native operations that a layer had, by circuit and formats."""

    def __init__(self) -> None:
        self._kernels: OrderedDict[tuple[object, ...], _Kernel] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kernels)

    def get(
        self, circuit: tuple[object, ...], quantisation: Quantisation, version: Version
    ) -> Convolutions | None:
        """Those made for this version of the weights, or None."""
        key = (*circuit, id(quantisation))
        kernel = self._kernels.get(key)
        if kernel is None or kernel.version != version:
            return None
        self._kernels.move_to_end(key)
        return kernel.convolutions

    def put(
        self,
        circuit: tuple[object, ...],
        quantisation: Quantisation,
        version: Version,
        convolutions: Convolutions,
    ) -> None:
        """Keep operations; drop those of other weights, and the oldest if they are too many."""
        for key in [k for k, kernel in self._kernels.items() if kernel.version != version]:
            del self._kernels[key]
        total = sum(kernel.nbytes for kernel in self._kernels.values())
        while self._kernels and (total > MAX_KERNEL_BYTES or len(self) >= MAX_KERNELS):
            total -= self._kernels.popitem(last=False)[1].nbytes
        kernel = _Kernel(convolutions, version, quantisation)
        self._kernels[(*circuit, id(quantisation))] = kernel


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
        codes: Weight codes, ``(out_channels, channels of a group, kernel_h, kernel_w)`` uint8.
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
            int(activation.zero_code),
            weights.zero_code,
            quantisation.output_scale,
            quantisation.output_bias(bias),
        ),
        signed=signed,
    )


def product_of(plan: Plan, quantisation: Quantisation, *, signed: bool) -> MatrixProduct:
    """The product of two activations in these formats, by a plan with separable terms."""
    first, second = quantisation.activation, quantisation.weights
    output = Output(int(first.zero_code), second.zero_code, quantisation.output_scale)
    return MatrixProduct(plan, _quantiser(first), _quantiser(second), output, signed=signed)


def _quantiser(params: QuantParams) -> Quantiser:
    return Quantiser(params.scale, int(params.zero_point), params.code_table)
