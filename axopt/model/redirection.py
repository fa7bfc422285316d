"""Hands calls of functions that multiply to modules, while a model runs.

A module that makes such calls, or computes weights for them, runs by a `_Redirected` forward. One
function mode is active from the start of the outermost of these modules to its end. It follows
what is computed from parameters alone: such values are looked up, not computed again. A product
with such a weight is recognised by the weight, and one of activations by its place in the code.

A product that did not occur when the model was prepared runs in float, and a `CoverageWarning`
says so once.
"""

from __future__ import annotations

import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode, _pop_mode_temporarily

from axopt.errors import CoverageWarning
from axopt.model.calls import bound, product_name
from axopt.model.products import arranged, product_of
from axopt.modules import ScaledDotProductAttention
from axopt.modules.called import Given
from axopt.modules.recorded import Recorded, Recording, Source

ATTENTION = "scaled_dot_product_attention"

Key = tuple[object, ...]
"""By what a product of a module is recognised: its weight, or its place in the code."""

_CALL = nn.Module._call_impl.__code__
_codes: dict[int, CodeType] = {}
"""Code by its id, so that an id stands for the same code for ever."""


def place() -> Key:
    """Return the place in the code of the running module that calls a function.

    It is that of the caller and of all functions between it and the module.
    """
    found = []
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not _CALL:
        if frame.f_globals.get("__name__") not in _MACHINERY:
            _codes[id(frame.f_code)] = frame.f_code
            found.append((id(frame.f_code), frame.f_lasti))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


_MACHINERY = {
    __name__,
    "axopt.model.interception",
    "torch.overrides",
    "torch.nn.modules.module",
}


class Calls:
    """What one module calls.

    Attributes:
        name: Of the module, for messages.
        recording: The expressions of the whole model.
        children: Key of a product -> name of the child that computes it.
        attention: Name of the child that computes attention; "" if the module calls none.
        floats: Functions that are known to stay in float.
        sources: Tensors that the weights follow from which it and the modules inside it use.
    """

    def __init__(self, name: str, recording: Recording) -> None:
        self.name, self.recording = name, recording
        self.children: dict[Key, str] = {}
        self.attention = ""
        self.floats: set[str] = set()
        self.sources: list[Source] = []

    def warn(self, function: str) -> None:
        """Warn once that a product was not seen before."""
        if function not in self.floats:
            self.floats.add(function)
            warnings.warn(
                f"{self.name!r} calls {function} as it did not when the model was prepared; the "
                "product runs in float. Prepare with a batch that takes this way of the model.",
                CoverageWarning,
                stacklevel=2,
            )


class Redirections:
    """The calls of all modules of a model that are handed to children.

    Args:
        model: The model.
        recording: The expressions of its weights.
    """

    def __init__(self, model: nn.Module, recording: Recording) -> None:
        self._model, self._recording = model, recording
        self._calls: dict[str, Calls] = {}

    def _of(self, owner: str) -> Calls:
        if owner not in self._calls:
            title = owner or type(self._model).__name__
            self._calls[owner] = Calls(title, self._recording)
        return self._calls[owner]

    def _add_child(self, owner: str, child: str, module: nn.Module) -> str:
        parent = self._model.get_submodule(owner)
        while hasattr(parent, child):
            child += "_"
        parent.add_module(child, module.train(parent.training))
        return child

    def add(self, owner: str, key: Key, child: str, module: nn.Module) -> str:
        """Hand the product ``key`` of a module to a new child; return the child's name."""
        child = self._add_child(owner, child, module)
        self._of(owner).children[key] = child
        return child

    def add_attention(self, owner: str, module: ScaledDotProductAttention) -> None:
        """Hand the calls of the attention function to a new child ``sdpa``."""
        self._of(owner).attention = self._add_child(owner, "sdpa", module)

    def leave(self, owner: str, functions: set[str]) -> None:
        """Let calls of these functions stay in float without a warning."""
        self._of(owner).floats |= functions

    def install(self, carriers: Iterable[str], using: Mapping[str, set[Source]]) -> None:
        """Have the calls handed on from now on.

        Args:
            carriers: Names of further modules that compute weights.
            using: Name of a module -> tensors that the weights follow from which it uses.
        """
        handing = {n for n, calls in self._calls.items() if calls.children or calls.attention}
        if not handing:
            return
        redirected = handing | set(carriers)
        for name in redirected:
            module = self._model.get_submodule(name)
            calls = self._of(name)
            prefix = f"{name}." if name else ""
            needed = {s for n in using if n == name or n.startswith(prefix) for s in using[n]}
            calls.sources = [s for s in self._recording.sources if s in needed]
            module.forward = _Redirected(module, calls)
        for name in self._guarded(redirected):
            module = self._model.get_submodule(name)
            module.forward = _Guarded(module)

    def _guarded(self, redirected: set[str]) -> list[str]:
        """Return the modules inside redirected ones whose calls are not those of these.

        Modules below such a module need nothing of their own, unless one is redirected.
        """
        found: list[str] = []
        own = {
            f"{owner}.{child}".lstrip(".")
            for owner, calls in self._calls.items()
            for child in (*calls.children.values(), calls.attention)
            if child
        }

        def visit(name: str, inside: bool) -> None:
            for child, module in self._model.get_submodule(name).named_children():
                path = f"{name}.{child}".lstrip(".")
                if path in own:
                    continue
                if path in redirected:
                    visit(path, True)
                    continue
                if inside and not isinstance(module, nn.Identity):
                    found.append(path)
                if any(other.startswith(f"{path}.") for other in redirected):
                    visit(path, False)
                elif not inside:
                    visit(path, False)

        visit("", "" in redirected)
        return found


def keep_forward(old: nn.Module, new: nn.Module) -> None:
    """Let ``new``, which takes the place of ``old``, be left alone as ``old`` is."""
    if isinstance(vars(old).get("forward"), _Guarded):
        new.forward = _Guarded(new)


class _Thread(threading.local):
    """The mode that is active in this thread."""

    mode: _Redirection | None = None


_thread = _Thread()


class _Forward:
    """The forward of a module with something around it.

    Args:
        module: Whose ``forward`` it is; one that was set on the object stays in use.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self._own = module, vars(module).get("forward")

    @property
    def __signature__(self) -> inspect.Signature:
        """Of the forward itself."""
        own = self._own
        return inspect.signature(
            self._module.__class__.forward.__get__(self._module) if own is None else own
        )

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._own is not None:
            return self._own(*args, **kwargs)
        return type(self._module).forward(self._module, *args, **kwargs)


class _Redirected(_Forward):
    """The forward of a module whose calls are handed on."""

    def __init__(self, module: nn.Module, calls: Calls) -> None:
        super().__init__(module)
        self._calls = calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mode, calls = _thread.mode, self._calls
        if mode is not None and mode.recording is calls.recording:
            mode.frames.append((self._module, calls))
            try:
                return self._run(args, kwargs)
            finally:
                mode.frames.pop()
        outer, _thread.mode = mode, _Redirection(self._module, calls)
        try:
            with _thread.mode:
                return self._run(args, kwargs)
        finally:
            _thread.mode = outer


class _Guarded(_Forward):
    """The forward of a module inside redirected ones that is left alone."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mode = _thread.mode
        if mode is None or _get_current_function_mode() is not mode:  # type: ignore[no-untyped-call]
            return self._run(args, kwargs)
        _thread.mode = None
        try:
            with _pop_mode_temporarily():
                return self._run(args, kwargs)
        finally:
            _thread.mode = mode


class _Redirection(TorchFunctionMode):
    """Hands the calls of the running module on.

    Args:
        module: The outermost module whose calls are handed on.
        calls: Of it.

    Attributes:
        recording: The expressions of the weights.
        frames: The modules that run whose calls are handed on, the innermost last.
    """

    def __init__(self, module: nn.Module, calls: Calls) -> None:
        super().__init__()
        self.recording = calls.recording
        self.frames = [(module, calls)]
        self._functions = calls.recording.functions
        self._nodes: dict[int, tuple[Tensor, Recorded]] = {}  # with the tensor, to keep its id
        for source in calls.sources:
            tensor = source.tensor()
            self._nodes[id(tensor)] = (tensor, source)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in self._functions:
            known = self._looked_up(func, args, kwargs or {})
            if known is not None:
                return known
        name = product_name(func)
        if name is None:
            return func(*args, **(kwargs or {}))
        return self._handed_on(name, func, args, kwargs or {})

    def _node(self, tensor: Tensor) -> Recorded | None:
        known = self._nodes.get(id(tensor))
        return None if known is None else known[1]

    def _looked_up(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The result of a call that follows from parameters alone; None if it is not known."""
        found = self.recording.find(func, args, kwargs, self._nodes)
        if found is None:
            return None
        operation = found.get(None)
        if operation is None:  # one of several results, which are computed in any case
            results = func(*args, **kwargs)
            self._nodes.update((id(results[i]), (results[i], o)) for i, o in found.items())
            return results
        if torch.is_grad_enabled() and operation.trains():
            value = func(*args, **kwargs)
        else:
            value = operation.value()
        self._nodes[id(value)] = (value, operation)
        return value

    def _handed_on(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        module, calls = self.frames[-1]
        if name == ATTENTION and calls.attention:
            return module._modules[calls.attention](*args, **kwargs)  # type: ignore[misc]
        product = product_of(name, bound(func, args, kwargs), self._is_weight)
        if isinstance(product, str):
            calls.warn(name)
            return func(*args, **kwargs)
        if product.weight is None:
            child = calls.children.get(place())
            given = None
        else:
            bias = None if product.bias is None else self._node(product.bias)
            options = tuple(product.options.values())
            weight = self._node(product.weight)
            child = calls.children.get((product.kind, weight, product.arrange, bias, options))
            given = self._given(product.weight, product.arrange, product.bias)
        if child is None:
            calls.warn(name)
            return func(*args, **kwargs)
        layer = module._modules[child]
        if given is None:
            y = layer(*product.operands)  # type: ignore[misc]
        else:
            y = layer(*product.operands, given=given)  # type: ignore[misc]
        return y if product.finish is None else product.finish(y)

    def _is_weight(self, tensor: Tensor) -> bool:
        return id(tensor) in self._nodes

    def _given(self, weight: Tensor, arrange: object, bias: Tensor | None) -> Given | None:
        """What gradients flow into; None without any."""
        trains = weight.requires_grad or (bias is not None and bias.requires_grad)
        if not trains or not torch.is_grad_enabled():
            return None
        return arranged(weight, arrange), bias
