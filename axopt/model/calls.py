"""The functions of PyTorch that multiply: their arguments by name, and their multiplications.

A function mode sees a call as a function, positional and keyword arguments. `product_name` says
which product that is, whether it was called as a function, as a method or as an operator, and
`bound` gives its arguments the names of PyTorch's documentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._ops import OpOverload

from axopt.layers import transposed_multiplications
from axopt.modules import einsum_letters

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_CONV_TRANSPOSE = (*_CONV[:5], "output_padding", "groups", "dilation")
_DIMENSIONS = (1, 2, 3)

SIGNATURES: dict[str, tuple[str, ...]] = {
    **{f"conv{n}d": _CONV for n in _DIMENSIONS},
    **{f"conv_transpose{n}d": _CONV_TRANSPOSE for n in _DIMENSIONS},
    "linear": ("input", "weight", "bias"),
    "bilinear": ("input1", "input2", "weight", "bias"),
    "matmul": ("input", "other"),
    "mm": ("input", "mat2"),
    "bmm": ("input", "mat2"),
    "mv": ("input", "vec"),
    "dot": ("input", "other"),
    "vdot": ("input", "other"),
    "inner": ("input", "other"),
    "vecdot": ("input", "other"),
    "tensordot": ("a", "b", "dims"),
    "einsum": ("equation", "operands"),
    "addmm": ("input", "mat1", "mat2"),
    "addbmm": ("input", "batch1", "batch2"),
    "baddbmm": ("input", "batch1", "batch2"),
    "addmv": ("input", "mat", "vec"),
    "chain_matmul": (),
    "linalg_multi_dot": ("tensors",),
    "cdist": ("x1", "x2", "p"),
    "scaled_dot_product_attention": ("query", "key", "value"),
    "multi_head_attention_forward": (
        *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight"),
        *("in_proj_bias", "bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight"),
    ),
    **{name: ("input", "hx", "weights") for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    **{
        f"{name}_cell": ("input", "hx", "w_ih", "w_hh")
        for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    },
}
"""Product function -> names of its positional arguments, in order."""

_SPELLINGS = {
    "__matmul__": "matmul",
    "__rmatmul__": "matmul",
    "__imatmul__": "matmul",
    "linalg_matmul": "matmul",
    "linalg_vecdot": "vecdot",
}


def product_name(func: Callable[..., Any]) -> str | None:
    """The key of `SIGNATURES` that a function is called by; None if it is no product."""
    name = spelled_name(func)
    name = _SPELLINGS.get(name, name)
    return name if name in SIGNATURES else None


def spelled_name(func: Callable[..., Any]) -> str:
    """The name that a function is called by, without that of an overload (``mm.default``)."""
    if isinstance(func, OpOverload):
        return str(func.overloadpacket.__name__)
    return str(getattr(func, "__name__", ""))


def tensors_of(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among arguments, which may be tuples or lists of tensors."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors_of(value)


def is_wrapped(values: Iterable[Any]) -> bool:
    """Whether a tensor stands for one with more dimensions, as inside ``vmap``."""
    return any(is_functorch_wrapped_tensor(x) for x in tensors_of(values))


def bound(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a product function by name; those left to their defaults are missing.

    Args:
        func: For which `product_name` is not None.
        args: Positional arguments.
        kwargs: Keyword arguments.
    """
    name = product_name(func) or ""
    if name == "einsum":
        operands = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
        return {"equation": args[0], "operands": tuple(operands)}
    if name == "chain_matmul":
        return {"tensors": args}
    if spelled_name(func) == "__rmatmul__":
        args = args[::-1]
    spelled = {_ARGUMENTS.get(key, key): value for key, value in kwargs.items()}
    if name == "matmul" and "mat2" in spelled:
        spelled["other"] = spelled.pop("mat2")
    return {**dict(zip(SIGNATURES[name], args, strict=False)), **spelled}


_ARGUMENTS = {"self": "input", "tensor1": "input", "tensor2": "other"}


def multiplications(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> int:
    """How many products of two values a call sums; those with padding zeros are among them.

    Args:
        func: For which `product_name` is not None.
        args: Positional arguments.
        kwargs: Keyword arguments.
        result: What the call returned.

    Returns:
        The number, for all samples of the call together.
    """
    return _counted(product_name(func) or "", bound(func, args, kwargs), result)


def multiplications_by_name(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> int:
    """How many products a call sums, as `multiplications`.

    Args:
        name: Key of `SIGNATURES`.
        args: Positional arguments.
        kwargs: Keyword arguments.
        result: What the call returned.
    """
    return _counted(name, {**dict(zip(SIGNATURES[name], args, strict=False)), **kwargs}, result)


def _counted(name: str, call: dict[str, Any], result: Any) -> int:
    if name.startswith("conv_transpose"):
        return int(_of_transposed(call, result))
    return int(_COUNTED[name](call, result))


def _of_convolution(call: dict[str, Any], result: Tensor) -> Any:
    return result.numel() * math.prod(call["weight"].shape[1:])


def _of_transposed(call: dict[str, Any], result: Tensor) -> Any:
    weight: Tensor = call["weight"]
    dims = weight.ndim - 2
    stride, padding, dilation = (
        sizes(call.get(name, default), dims)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    size = result.shape[-dims:]
    images = result.numel() // max(1, weight.shape[1] * call.get("groups", 1) * math.prod(size))
    return images * transposed_multiplications(weight.shape, stride, padding, dilation, size)


def sizes(value: Any, dims: int) -> tuple[int, ...]:
    """Return one number for all dimensions, or one for each, as a tuple of ``dims``."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values


def _of_linear(call: dict[str, Any], result: Tensor) -> Any:
    return result.numel() * call["weight"].shape[-1]


def _of_bilinear(call: dict[str, Any], result: Tensor) -> Any:
    return result.numel() * math.prod(call["weight"].shape[1:])


def _of_matrices(call: dict[str, Any], result: Tensor) -> Any:
    """The last axis of the first operand is the one that is summed over."""
    first = next(call[name] for name in ("mat1", "mat", "batch1", "input", "x1") if name in call)
    return result.numel() * (first.shape[-1] if first.ndim else 1)


def _of_summed_batches(call: dict[str, Any], result: Tensor) -> Any:
    return call["batch1"].numel() * call["batch2"].shape[-1]


def _of_contraction(call: dict[str, Any], result: Tensor) -> Any:
    """Each letter that is summed over is in both tensors, the others are in the result."""
    summed = call["a"].numel() * call["b"].numel() // max(1, result.numel())
    return result.numel() * math.isqrt(summed)


def _of_einsum(call: dict[str, Any], result: Tensor) -> Any:
    """From the left to the right, as PyTorch does without a plan of its own."""
    operands = call["operands"]
    if not isinstance(call["equation"], str) or len(operands) < 2:
        return 0
    letters = einsum_letters(call["equation"], [x.ndim for x in operands])
    if letters is None:
        return 0
    size: dict[str, int] = {}
    for part, x in zip(letters[:-1], operands, strict=True):
        for letter, n in zip(part, x.shape, strict=True):
            size[letter] = max(n, size.get(letter, 1))
    total, kept = 0, set(letters[0])
    for i, part in enumerate(letters[1:-1], start=1):
        joined = kept | set(part)
        kept = joined & set("".join(letters[i + 1 :]))
        if kept != joined:  # else nothing is summed: an element-wise product
            total += math.prod(size[letter] for letter in joined)
    return total


def _of_chain(call: dict[str, Any], result: Tensor) -> Any:
    """From the left to the right; the order that PyTorch takes may need fewer."""
    first, *others = call["tensors"]
    rows = first.shape[0] if first.ndim == 2 else 1
    return sum(rows * x.numel() for x in others)


def _of_distances(call: dict[str, Any], result: Tensor) -> Any:
    return _of_matrices(call, result) if call.get("p", 2.0) == 2 else 0


def _of_attention(call: dict[str, Any], result: Tensor) -> Any:
    query, key, value = call["query"], call["key"], call["value"]
    rows = query.numel() // max(1, query.shape[-1])
    return rows * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _of_multihead(call: dict[str, Any], result: Any) -> Any:
    """Projections of queries, keys and values, both products, and the output's projection."""
    query, key, value = call["query"], call["key"], call["value"]
    width = query.shape[-1]
    tokens = [x.numel() // max(1, x.shape[-1]) for x in (query, key, value)]
    projected = sum(
        n * x.shape[-1] * width for n, x in zip(tokens, (query, key, value), strict=True)
    )
    return projected + tokens[0] * width * width + 2 * tokens[0] * key.shape[0] * width


def _of_recurrent(call: dict[str, Any], result: Any) -> Any:
    """All weights once for each time step of each sample."""
    x = call["input"]
    steps = x.numel() // max(1, x.shape[-1])
    weights = call["weights"] if isinstance(call.get("weights"), list | tuple) else ()
    return steps * sum(w.numel() for w in weights if w.ndim == 2)


def _of_cell(call: dict[str, Any], result: Any) -> Any:
    x = call["input"]
    return x.numel() // max(1, x.shape[-1]) * (call["w_ih"].numel() + call["w_hh"].numel())


_COUNTED: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    **{f"conv{n}d": _of_convolution for n in _DIMENSIONS},
    **{f"conv_transpose{n}d": _of_transposed for n in _DIMENSIONS},
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner"), _of_matrices),
    **dict.fromkeys(("vecdot", "addmm", "baddbmm", "addmv"), _of_matrices),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _of_recurrent),
    **{f"{name}_cell": _of_cell for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    "linear": _of_linear,
    "bilinear": _of_bilinear,
    "tensordot": _of_contraction,
    "einsum": _of_einsum,
    "addbmm": _of_summed_batches,
    "chain_matmul": _of_chain,
    "linalg_multi_dot": _of_chain,
    "cdist": _of_distances,
    "scaled_dot_product_attention": _of_attention,
    "multi_head_attention_forward": _of_multihead,
}
