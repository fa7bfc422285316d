"""Products that a forward pass computes by calling functions, in no module of their own.

``functional.scaled_dot_product_attention`` is handed to a child ``sdpa`` that the calling module
gets, whose products are modules. Other products stay in float and are accounted for by name.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from axopt.model.adapter import PLAIN, Adapter
from axopt.model.calls import product_name
from axopt.model.running import watched
from axopt.modules import ScaledDotProductAttention

ATTENTION = "scaled_dot_product_attention"


def product_calls(model: nn.Module, inputs: Any, adapter: Adapter = PLAIN) -> dict[str, list[str]]:
    """Run ``model`` once and watch which modules call functions that multiply.

    Args:
        model: In evaluation mode.
        inputs: Inputs of it.
        adapter: How they are passed.

    Returns:
        Name of the module that was running -> names of the functions, each once.
    """
    found: dict[str, list[str]] = {}
    with watched(model) as running, torch.no_grad(), _Watch(running, found):
        adapter.call(model, inputs)
    return found


class _Watch(TorchFunctionMode):
    """Notes the functions that multiply, by the module that is running."""

    def __init__(self, running: list[str], found: dict[str, list[str]]) -> None:
        super().__init__()
        self._running, self._found = running, found

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = product_name(func)
        if name is not None and self._running:
            functions = self._found.setdefault(self._running[-1], [])
            if name not in functions:
                functions.append(name)
        return func(*args, **(kwargs or {}))


def redirect_attention_(model: nn.Module, calls: dict[str, list[str]]) -> None:
    """Let the modules that call the attention function call a child ``sdpa`` instead, in place.

    Args:
        model: Any module.
        calls: What `product_calls` found in it; what is redirected is taken out.
    """
    for name in [name for name, functions in calls.items() if ATTENTION in functions]:
        module = model.get_submodule(name)
        child = "sdpa"
        while hasattr(module, child):
            child += "_"
        module.add_module(child, ScaledDotProductAttention().train(module.training))
        module.register_forward_pre_hook(functools.partial(_start, child))
        module.register_forward_hook(_stop, always_call=True)
        calls[name].remove(ATTENTION)


class _Active(threading.local):
    """The redirections of the modules that run in this thread, innermost last."""

    def __init__(self) -> None:
        self.modes: list[contextlib.ExitStack] = []


_active = _Active()


class _Redirection(TorchFunctionMode):
    """Hands calls of the attention function to a module."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self._attention = attention

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        called = self._attention if func is functional.scaled_dot_product_attention else func
        return called(*args, **(kwargs or {}))


def _start(child: str, module: nn.Module, inputs: Any) -> None:
    mode = contextlib.ExitStack()
    mode.enter_context(_Redirection(module.get_submodule(child)))
    _active.modes.append(mode)


def _stop(module: nn.Module, inputs: Any, output: Any) -> None:
    _active.modes.pop().close()


def unredirected(model: nn.Module, calls: dict[str, list[str]], known: set[str]) -> dict[str, str]:
    """Reasons why the products in ``calls`` stay in float, by module and function.

    Args:
        model: Where they are.
        calls: What `product_calls` found, less what was redirected.
        known: Modules that are accounted for by their own names.
    """
    return {
        f"{name or type(model).__name__}: {function}": (
            f"{function} is called as a function; call a module, as axopt.modules.MatMul, to have "
            "it emulated"
        )
        for name, functions in calls.items()
        if name not in known
        for function in functions
    }
