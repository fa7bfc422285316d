"""One form for all calls of functions that multiply: a layer's input, weight, bias and result.

``x @ w``, ``torch.addmm(b, x, w)`` and ``functional.linear(x, w.t(), b)`` are the same product. A
`Product` says which layer computes a call, on which tensors, and what is left to do with the
result. It is made when the model is prepared, to see which layers there are, and in each call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from axopt.errors import ArgumentError
from axopt.model.calls import is_wrapped, sizes, tensors_of
from axopt.modules import Einsum, einsum_letters

IsWeight = Callable[[Tensor], bool]
Finish = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Product:
    """A call of a function that multiplies, as a layer computes it.

    Attributes:
        call: What names call it: "conv", "conv_transpose", "linear", "matmul", ...
        kind: Name of the `axopt.layers.LayerSpec` of the layer.
        operands: What the layer takes: its input, or both operands of a product of activations.
        weight: The weight as the call has it; None for a product of activations.
        arrange: Key of `ARRANGEMENTS`, or axes and number of rows: how the layer has the weight.
        bias: What the layer adds; None for nothing.
        options: Stride, padding and so on of a convolution.
        finish: What is left to do with the layer's result.
    """

    call: str
    kind: str
    operands: tuple[Tensor, ...]
    weight: Tensor | None = None
    arrange: object = "as it is"
    bias: Tensor | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    finish: Finish | None = None


ARRANGEMENTS: dict[object, Callable[[Tensor], Tensor]] = {
    "as it is": lambda w: w,
    "transposed": lambda w: w.mT,
    "one row": lambda w: w[None],
}
"""How the weight of a call becomes that of a layer, ``(out, in)`` for a linear one."""


def arranged(weight: Tensor, arrange: Any) -> Tensor:
    """Return the weight of a call as its layer has it.

    Args:
        weight: Of the call.
        arrange: See `Product.arrange`.
    """
    if isinstance(arrange, tuple):  # of an einsum: the order of the axes, and how many are rows
        axes, rows = arrange
        permuted = weight.permute(axes)
        return permuted.reshape(math.prod(permuted.shape[:rows]), math.prod(permuted.shape[rows:]))
    return ARRANGEMENTS[arrange](weight)


def product_of(name: str, call: Mapping[str, Any], is_weight: IsWeight) -> Product | str:
    """Bring a call into the one form.

    Args:
        name: Of the function, see `axopt.model.calls.product_name`.
        call: Its arguments by name.
        is_weight: Whether a tensor follows from parameters alone.

    Returns:
        The product, or the reason why it stays in float.
    """
    if (reason := _why_not(name, call)) is not None:
        return reason
    if name.startswith("conv"):
        return _convolution(name, call, is_weight)
    if name == "linear":
        return _linear(call, is_weight)
    if name in ("matmul", "mm", "bmm", "mv"):
        first = call["input"]
        second = next(call[k] for k in ("other", "mat2", "vec") if k in call)
        return _matmul(name, first, second, is_weight)
    if name in ("addmm", "baddbmm"):
        return _added(name, call, is_weight)
    if name == "einsum":
        return _einsum(call, is_weight)
    return f"{name} is called as a function that no layer emulates"


def _why_not(name: str, call: Mapping[str, Any]) -> str | None:
    """Why no layer can compute a call; None if one may."""
    if call.get("out") is not None:
        return f"{name} is called with a tensor for its result (out=)"
    if is_wrapped(call.values()):
        return f"{name} is called inside a transform of functions, such as vmap"
    for x in tensors_of(call.values()):
        if not x.is_floating_point():
            return f"{name} is called with tensors of {x.dtype}, which is no floating-point type"
        if x.layout is not torch.strided:
            return f"{name} is called with a sparse tensor"
    return None


def _convolution(name: str, call: Mapping[str, Any], is_weight: IsWeight) -> Product | str:
    x, weight, bias = call["input"], call["weight"], call.get("bias")
    if not is_weight(weight):
        return f"{name} is called with a weight that follows from the input"
    dims = weight.ndim - 2
    padding = call.get("padding", 0)
    options = {
        "stride": sizes(call.get("stride", 1), dims),
        "padding": padding if isinstance(padding, str) else sizes(padding, dims),
        "dilation": sizes(call.get("dilation", 1), dims),
        "groups": int(call.get("groups", 1)),
    }
    if name.startswith("conv_transpose"):
        options["output_padding"] = sizes(call.get("output_padding", 0), dims)
    inside, finish = _bias(bias, is_weight, dims)
    return Product(name[:-2], name, (x,), weight, bias=inside, options=options, finish=finish)


def _bias(
    bias: Tensor | None, is_weight: IsWeight, dims: int
) -> tuple[Tensor | None, Finish | None]:
    """The bias of the layer, or what adds one that follows from the input."""
    if bias is None or is_weight(bias):
        return bias, None
    added = bias.view(-1, *(1,) * dims)
    return None, lambda y: y + added


def _linear(call: Mapping[str, Any], is_weight: IsWeight) -> Product | str:
    x, weight = call["input"], call["weight"]
    bias, finish = _bias(call.get("bias"), is_weight, 0)
    if weight.ndim != 2:
        return "linear is called with a vector as weight"
    if is_weight(weight):
        return Product("linear", "linear", (x,), weight, bias=bias, finish=finish)
    if bias is not None:
        finish = _plus(bias, 1, 1)
    return _of_activations("linear", x, weight.mT, finish)


def _matmul(
    name: str, a: Tensor, b: Tensor, is_weight: IsWeight, finish: Finish | None = None
) -> Product | str:
    """``torch.matmul`` of two tensors, then ``finish``."""
    if a.ndim == 0 or b.ndim == 0:
        return f"{name} is called with a number"
    if is_weight(b) and b.ndim <= 2:
        if b.ndim == 2:
            return Product(name, "linear", (a,), b, "transposed", finish=finish)
        return Product(name, "linear", (a,), b, "one row", finish=_after(finish, _without_last))
    if is_weight(a) and a.ndim <= 2:
        arrange, own = ("as it is", _turned) if a.ndim == 2 else ("one row", _without_last)
        if b.ndim == 1:  # the result has no columns: nothing to turn
            own = _as_it_is if a.ndim == 2 else _without_last
        x = b if b.ndim == 1 else b.mT
        return Product(name, "linear", (x,), a, arrange, finish=_after(finish, own))
    return _of_activations(name, a, b, finish)


def _of_activations(name: str, a: Tensor, b: Tensor, finish: Finish | None) -> Product:
    if b.ndim == 1:
        b, finish = b[:, None], _after(finish, _without_last)
    if a.ndim == 1:
        a, finish = a[None], _after(finish, _without_row)
    return Product(name, "matmul", (a, b), finish=finish)


def _added(name: str, call: Mapping[str, Any], is_weight: IsWeight) -> Product | str:
    """``beta * input + alpha * (first @ second)``."""
    added, beta, alpha = call["input"], call.get("beta", 1), call.get("alpha", 1)
    names = ("mat1", "mat2") if name == "addmm" else ("batch1", "batch2")
    first, second = (call[k] for k in names)
    product = _matmul(name, first, second, is_weight, _plus(added, beta, alpha))
    fits = beta == alpha == 1 and is_weight(added) and added.ndim == 1
    if isinstance(product, Product) and product.arrange == "transposed" and fits:
        return Product(name, "linear", (first,), second, "transposed", bias=added)
    return product


def _plus(added: Tensor, beta: float, alpha: float) -> Finish:
    def finish(y: Tensor) -> Tensor:
        y = y if alpha == 1 else y * alpha
        if beta == 0:  # then PyTorch ignores NaN and infinity too
            return y
        return y + (added if beta == 1 else added * beta)

    return finish


def _einsum(call: Mapping[str, Any], is_weight: IsWeight) -> Product | str:
    operands = call["operands"]
    if not isinstance(call["equation"], str):
        return "einsum is called with lists of axes"
    if len(operands) != 2:
        return f"einsum is called with {len(operands)} tensors"
    letters = einsum_letters(call["equation"], [x.ndim for x in operands])
    a, b = operands
    if letters is None:
        return f"the equation {call['equation']!r} of einsum does not fit its tensors"
    batched = set(letters[0]) & set(letters[1]) & set(letters[2])
    if is_weight(a) and not is_weight(b) and not batched:
        a, b, letters = b, a, [letters[1], letters[0], letters[2]]
    try:
        form = Einsum(f"{letters[0]},{letters[1]}->{letters[2]}")
    except ArgumentError:
        return f"einsum is called with {call['equation']!r}, which is no product of two matrices"
    if any(
        n != m
        for x, n in zip(letters[0], a.shape, strict=True)
        for y, m in zip(letters[1], b.shape, strict=True)
        if x == y
    ):
        return f"einsum is called with {call['equation']!r} and axes of length 1 to repeat"
    if not form.sums:
        return f"einsum is called with {call['equation']!r}, which sums nothing"
    first, second = form.matrices(a, b)

    def finish(y: Tensor) -> Tensor:
        return form.result(y, a, b)

    if is_weight(b) and not batched:
        return Product("einsum", "linear", (first,), b, form.weight_axes, finish=finish)
    return Product("einsum", "matmul", (first, second.mT), finish=finish)


def _after(finish: Finish | None, own: Finish) -> Finish:
    """What comes first, then ``finish``."""
    return own if finish is None else lambda y: finish(own(y))


def _as_it_is(y: Tensor) -> Tensor:
    return y


def _turned(y: Tensor) -> Tensor:
    return y.mT


def _without_last(y: Tensor) -> Tensor:
    return y[..., 0]


def _without_row(y: Tensor) -> Tensor:
    return y[..., 0, :] if y.ndim > 1 else y[0]
