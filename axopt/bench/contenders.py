"""What the kernels are compared with, and the kernels themselves, on one layer.

A contender makes, from the operands of a layer, the function that is timed; None where it has no
way to compute that layer. Preparation that a network does once (packing weights, converting
types) stays outside the timed function.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt import kernels
from axopt.bench.shapes import Operands
from axopt.multipliers import load_library

Contender = Callable[[Operands], Callable[[], object] | None]

FP32, INT8 = "torch fp32", "torch int8"
_ARBITRARY = "mul8u_L40"  # rank 193: no kernel can take a shortcut


def contenders() -> dict[str, Contender]:
    """Name -> contender: torch first, then every kernel of this package."""
    found: dict[str, Contender] = {FP32: _fp32, INT8: _int8}
    for isa in kernels.available():
        found[f"table {isa}"] = partial(_table, isa)
    return found


def _fp32(operands: Operands) -> Callable[[], object]:
    """FP32 convolution, channels last; a matrix product for a linear layer."""
    shape = operands.shape
    x = (operands.codes.float() - 128) / 128
    w = (operands.weight_codes.float() - 128) / 128
    if shape.side == shape.kernel == 1:
        return partial(functional.linear, x.flatten(1), w.flatten(1))
    conv = nn.Conv2d(
        shape.channels,
        shape.out_channels,
        shape.kernel,
        shape.stride,
        shape.padding,
        groups=shape.groups,
        bias=False,
    )
    conv.weight = nn.Parameter(w, requires_grad=False)
    return partial(conv.to(memory_format=torch.channels_last), x)  # type: ignore[call-overload]


def _int8(operands: Operands) -> Callable[[], object] | None:
    """The int8 matrix product of the layer's size, without the gathering of windows."""
    shape = operands.shape
    if shape.depthwise:
        return None
    rows = len(operands.codes) * shape.out_side**2
    a = torch.ones((rows, shape.depth), dtype=torch.int8)
    b = torch.ones((shape.out_channels, shape.depth), dtype=torch.int8).t()

    def product() -> Tensor:
        return torch._int_mm(a, b)

    try:
        product()
    except RuntimeError:  # not on this build, or not of this size
        return None
    return product


def _table(isa: str, operands: Operands) -> Callable[[], object]:
    """The table kernel of one instruction set on a table without structure."""
    shape = operands.shape
    table = kernels.PackedTable.of(load_library()[_ARBITRARY].table)
    x, w = operands.padded_codes().contiguous(), operands.weight_codes
    steps = (shape.stride, shape.stride)

    def convolve() -> Tensor:
        with kernels.force_isa(isa):
            return kernels.conv2d_codes(x, w, table, stride=steps, groups=shape.groups)

    return convolve
