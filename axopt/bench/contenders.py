"""The kernels and the computations that they are compared with, on one layer.

A contender takes the operands of a layer and returns the function to be timed, or None if it
cannot compute that layer. Preparation that a network does once (packing weights, converting
types) stays outside the timed function. All contenders except the scalar loop and torch's int8
product compute float results from float activations, quantisation included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt import kernels
from axopt.bench.shapes import Operands
from axopt.kernels.operations import Method
from axopt.kernels.private_ops import int8_product
from axopt.multipliers import load_library

Contender = Callable[[Operands], Callable[[], object] | None]

FP32, INT8, SCALAR = "torch fp32", "torch int8", "scalar look-up"
_SCALE = 1 / 128
_TERMS = {1: "mul8s_1KV8", 3: "mul8s_1KVA", 5: "mul8s_1KX2"}  # number of terms -> multiplier
_RESIDUAL = "mul8s_1KX2"
_ARBITRARY = "mul8u_L40"  # rank 193: its products must be looked up
_LOOK_UPS: tuple[Method, ...] = ("rows", "pixel_lanes", "channel_lanes")


def contenders() -> dict[str, Contender]:
    """Return name -> contender: torch and the scalar loop, then "instruction set: kernel"."""
    found: dict[str, Contender] = {FP32: _fp32, INT8: _int8, SCALAR: _scalar}
    for isa in kernels.available():
        if isa == "reference":  # far too slow to be measured
            continue
        for count, multiplier in _TERMS.items():
            name = f"{isa}: {count} term{'s' * (count > 1)}"
            found[name] = partial(_convolution, isa, multiplier, "terms")
        found[f"{isa}: residual"] = partial(_convolution, isa, _RESIDUAL, "residual")
        for method in _LOOK_UPS:
            found[f"{isa}: {method}"] = partial(_convolution, isa, _ARBITRARY, method)
    return found


def _fp32(operands: Operands) -> Callable[[], object]:
    """Return an FP32 convolution, channels last; a matrix product for a linear layer."""
    shape = operands.shape
    x, w = _values(operands), (operands.weight_codes.float() - 128) * _SCALE
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
    """Return torch's int8 matrix product of the layer's size, without gathering windows."""
    shape = operands.shape
    if shape.depthwise:
        return None
    rows = len(operands.codes) * shape.out_side**2
    a = torch.ones((rows, shape.depth), dtype=torch.int8)
    b = torch.ones((shape.out_channels, shape.depth), dtype=torch.int8).t()

    def product() -> Tensor:
        return int8_product(a, b)

    try:
        product()
    except (AttributeError, RuntimeError):  # missing in this build, or it refuses this size
        return None
    return product


def _scalar(operands: Operands) -> Callable[[], object]:
    """Return a scalar loop of one look-up per product: one thread, windows gathered before."""
    shape = operands.shape
    windows = functional.unfold(operands.padded_codes().float(), shape.kernel, stride=shape.stride)
    split = windows.int().view(len(operands.codes), shape.groups, shape.depth, -1)
    rows = split.permute(1, 0, 3, 2).reshape(shape.groups, -1, shape.depth).contiguous().numpy()
    weights = operands.weight_codes.int().view(shape.groups, -1, shape.depth).numpy()
    table = kernels.PackedTable.of(load_library()[_ARBITRARY].table)

    def products() -> None:
        for group_rows, group_weights in zip(rows, weights, strict=True):
            kernels.scalar_gemm(group_rows, group_weights, table)

    return products


def _convolution(
    isa: str, name: str, method: Method, operands: Operands
) -> Callable[[], object] | None:
    """Return a whole emulated convolution by one method, on one instruction set."""
    shape, multiplier = operands.shape, load_library()[name]
    if method in ("rows", "residual") and shape.depthwise:
        return None  # product rows need many output channels
    scale = torch.tensor(_SCALE)
    with kernels.force_isa(isa):
        convolution = kernels.Convolution(
            kernels.plan(multiplier.code_table),
            operands.weight_codes,
            kernels.Window(
                (shape.stride, shape.stride), (shape.padding, shape.padding), groups=shape.groups
            ),
            kernels.Quantiser(scale, 128),
            kernels.Output(128, torch.tensor(128), scale * scale),
            signed=multiplier.signed,
            method=method,
        )
    return partial(convolution, _values(operands))


def _values(operands: Operands) -> Tensor:
    return (operands.codes.float() - 128) * _SCALE


def instruction_sets_in(names: Iterable[str]) -> list[str]:
    """List the instruction sets that contenders of these names run on.

    Args:
        names: Names of contenders, as in `KernelResult.gmacs_per_s`.

    Returns:
        Instruction sets, each once.

    Example:
        >>> from axopt.bench import instruction_sets_in
        >>> instruction_sets_in(["torch fp32", "avx2: rows", "avx2: residual"])
        ['avx2']
    """
    return list(dict.fromkeys(name.split(": ")[0] for name in names if ": " in name))


def names_for(isa: str, names: Iterable[str]) -> dict[str, str]:
    """Choose the contenders of one instruction set, and those that have none.

    Args:
        isa: Name of the instruction set.
        names: Names of contenders.

    Returns:
        Name of a contender -> the name without its instruction set.

    Example:
        >>> from axopt.bench import names_for
        >>> names_for("avx2", ["torch fp32", "avx2: rows", "portable: rows"])
        {'torch fp32': 'torch fp32', 'avx2: rows': 'rows'}
    """
    prefix = f"{isa}: "
    chosen = (name for name in names if ": " not in name or name.startswith(prefix))
    return {name: name.removeprefix(prefix) for name in chosen}
