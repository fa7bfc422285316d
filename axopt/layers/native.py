"""From a layer's multiplier and formats to native operations."""

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
"""Bytes of packed weights that a layer keeps for earlier formats, besides the present ones."""

Version = tuple[object, ...]
Convolutions = tuple[Convolution | Tensor, ...]
"""One for each part of a layer; for a part without taps, its results per output channel."""


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
    """The native operations of a layer and the state that they were made from."""

    convolutions: Convolutions
    version: Version
    quantisation: Quantisation  # kept alive, since its id is part of the key

    @property
    def nbytes(self) -> int:
        return sum(c.nbytes for c in self.convolutions)


class KernelCache:
    """The native operations that a layer had, by multiplier and formats."""

    def __init__(self) -> None:
        self._kernels: OrderedDict[tuple[object, ...], _Kernel] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kernels)

    def get(
        self, multiplier: tuple[object, ...], quantisation: Quantisation, version: Version
    ) -> Convolutions | None:
        """Return the operations made for this version of the weights, or None."""
        key = (*multiplier, id(quantisation))
        kernel = self._kernels.get(key)
        if kernel is None or kernel.version != version:
            return None
        self._kernels.move_to_end(key)
        return kernel.convolutions

    def put(
        self,
        multiplier: tuple[object, ...],
        quantisation: Quantisation,
        version: Version,
        convolutions: Convolutions,
    ) -> None:
        """Keep operations. Drop those of other weights, and the oldest ones above the limits."""
        for key in [k for k, kernel in self._kernels.items() if kernel.version != version]:
            del self._kernels[key]
        total = sum(kernel.nbytes for kernel in self._kernels.values())
        while self._kernels and (total > MAX_KERNEL_BYTES or len(self) >= MAX_KERNELS):
            total -= self._kernels.popitem(last=False)[1].nbytes
        kernel = _Kernel(convolutions, version, quantisation)
        self._kernels[(*multiplier, id(quantisation))] = kernel


@functools.lru_cache(maxsize=512)
def plan_of(multiplier: Multiplier, swap: bool) -> Plan:
    """Return the plan of a multiplier's products by code, of their transpose if ``swap``.

    Args:
        multiplier: The multiplier.
        swap: Whether the weight is the multiplier's first operand.

    Example:
        >>> from axopt import load_library
        >>> plan_of(load_library().exact(signed=True), False).table.shape
        (256, 256)
    """
    return plan(multiplier.code_table.T if swap else multiplier.code_table)


def convolution_of(
    plan: Plan,
    codes: Tensor,
    window: Window,
    quantisation: Quantisation,
    bias: Tensor | None,
    *,
    signed: bool,
) -> Convolution:
    """Return the native operation of a layer.

    Args:
        plan: How products are formed.
        codes: Weight codes, ``(out_channels, channels of a group, kernel_h, kernel_w)`` uint8.
        window: Stride, padding, dilation and groups.
        quantisation: Formats of operands and results; ``codes`` were made by them.
        bias: ``(out_channels,)`` bias of the layer, or None.
        signed: Whether the multiplier is signed.

    Example:
        >>> import torch
        >>> from axopt import load_library
        >>> one = QuantParams(torch.tensor(1.0), torch.tensor(128))
        >>> weight = torch.tensor([[2.0, 3.0]])
        >>> convolution = convolution_of(
        ...     plan_of(load_library().exact(signed=True), False),
        ...     one.codes(weight)[:, :, None, None],
        ...     Window(),
        ...     Quantisation(one, one),
        ...     None,
        ...     signed=True,
        ... )
        >>> convolution.rows(torch.tensor([[10.0, 1.0]]))
        tensor([[23.]])
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
    """Return the native product of two activations, for a plan with separable terms."""
    first, second = quantisation.activation, quantisation.weights
    output = Output(int(first.zero_code), second.zero_code, quantisation.output_scale)
    return MatrixProduct(plan, _quantiser(first), _quantiser(second), output, signed=signed)


def _quantiser(params: QuantParams) -> Quantiser:
    return Quantiser(params.scale, int(params.zero_point), params.code_table)
