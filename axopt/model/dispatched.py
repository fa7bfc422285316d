"""Counts the products of operators that no function mode sees.

A function of PyTorch may multiply inside: ``torch.matrix_power`` calls matrix products,
``torch.convolution`` and ``torch.sparse.mm`` are products by other names. A dispatch mode sees
the operators themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from axopt.model.calls import multiplications_by_name

_OPERATORS = {
    **{name: name for name in ("mm", "bmm", "addmm", "baddbmm", "addbmm", "addmv", "mv", "dot")},
    **{f"{name}_": name for name in ("addmm", "baddbmm", "addbmm", "addmv")},
    "vdot": "vdot",
    "linear": "linear",
    "_sparse_addmm": "addmm",
    "_sparse_mm": "mm",
    "_slow_conv2d_forward": "conv2d",
    "slow_conv3d_forward": "conv3d",
    "slow_conv_transpose2d": "conv_transpose2d",
    "slow_conv_transpose3d": "conv_transpose3d",
    "_conv_depthwise2d": "conv2d",
}
"""Operator -> the function with the same multiplications."""


class Dispatched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Reports the operators that multiply.

    Args:
        report: Called with the name of the operator and its multiplications.
    """

    def __init__(self, report: Callable[[str, int], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._report = report

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: else PyTorch imports its compiler, which takes seconds, at the first operator."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # what a model computes from its parameters alone is evaluated with functions disabled
        if not torch._C._is_torch_function_all_disabled():
            name = func.overloadpacket.__name__
            found = _multiplications(name, args, kwargs, result)
            if found:
                self._report(name.strip("_"), found)
        return result


def _multiplications(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> int:
    if name == "convolution":
        return _of_convolution(args, result)
    if name == "conv_tbc":
        weight: Tensor = args[1]
        return int(result.numel() * weight.shape[0] * weight.shape[1])
    if name not in _OPERATORS:
        return 0
    return multiplications_by_name(_OPERATORS[name], args, kwargs, result)


def _of_convolution(args: tuple[Any, ...], result: Tensor) -> int:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    dims = weight.ndim - 2
    if transposed:
        args = (x, weight, bias, stride, padding, output_padding, groups, dilation)
        return multiplications_by_name(f"conv_transpose{dims}d", args, {}, result)
    return multiplications_by_name(f"conv{dims}d", (x, weight), {}, result)
