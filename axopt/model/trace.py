"""Observe one forward pass: the layers in order, their multiplications, the consumers of outputs.

The model itself runs, so any control flow works; nothing is parsed or compiled. A batch norm that
is the only consumer of a convolution's output is found by the identity of the tensors, and so is
the ReLU behind it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from axopt.layers import specs_by_type
from axopt.model.adapter import PLAIN, Adapter, count
from axopt.model.calls import is_wrapped, multiplications, product_name
from axopt.model.dispatched import Dispatched
from axopt.model.running import watched
from axopt.modules.hooks import has_forward_hooks

_BatchNorm = nn.modules.batchnorm._BatchNorm

RELUS: dict[type[nn.Module], tuple[float, float]] = {
    nn.ReLU: (0.0, math.inf),
    nn.ReLU6: (0.0, 6.0),
}
"""Modules that the layer before them can apply: type -> bounds to which they clamp."""


@dataclass
class Trace:
    """The result of `trace`.

    Attributes:
        order: Names of the layers in the order of their first call.
        macs: Multiplications of each layer for one sample, all its calls together: the mean over
            the batch, rounded down.
        left_out: Name of the module, or "module: function" -> multiplications for one sample of
            the products that are not in a layer.
        batch_norms: Name of the layer -> name of the batch norm that can be folded into it.
        relus: Name of the layer -> name of the ReLU that is the only consumer of the output
            of the layer, or of the batch norm that can be folded into it.
    """

    order: list[str] = field(default_factory=list)
    macs: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    batch_norms: dict[str, str] = field(default_factory=dict)
    relus: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Call:
    """A module that took one tensor and gave one; ids of tensors that are still alive."""

    module: str
    taken: int
    used_before: bool
    given: int


def trace(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    x: Any,
    known: Mapping[str, str] = MappingProxyType({}),
    adapter: Adapter = PLAIN,
    used: Collection[int] = (),
) -> Trace:
    """Run ``model`` once on ``x`` and watch the modules in ``layers``.

    Args:
        model: In evaluation mode.
        layers: Name -> convolution, linear module or `MatMul` to watch.
        x: Inputs of the model, samples along their first dimension.
        known: Name of a module -> name in ``left_out`` of its products that are not in a layer;
            others are called "module: function".
        adapter: Calls the model on ``x``.
        used: Ids of the parameters from which the weights of functions are computed.
    """
    observer = _Observer(model, layers, max(count(x), 1), known, used)
    with ExitStack() as stack:
        observer.watch(stack)
        stack.enter_context(torch.no_grad())
        stack.enter_context(observer)
        stack.enter_context(Dispatched(observer.operator))
        observer.use(adapter.call(model, x))
    return observer.found()


class _Observer(TorchFunctionMode):
    """Records the calls of layers, norms and ReLUs, and all functions that take their results.

    All tensors that it sees are kept alive, so that their ids stay unique.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, nn.Module],
        samples: int,
        known: Mapping[str, str],
        used: Collection[int],
    ) -> None:
        super().__init__()
        self._model, self._layers, self._samples, self._known = model, layers, samples, known
        self._specs = specs_by_type()
        tied = _tied(model).union(used)
        self._plain = {  # layers that a follower may change, which must change nothing else
            name
            for name, layer in layers.items()
            if tied.isdisjoint(map(id, layer.parameters())) and not has_forward_hooks(layer)
        }
        self._followers = {
            name: kind
            for name, module in model.named_modules()
            if (kind := _follower_kind(module)) is not None
        }
        self._running: list[str] = []
        self._inside = 0
        self._trace = Trace()
        self._uses: dict[int, int] = defaultdict(int)
        self._calls: dict[str, int] = defaultdict(int)
        self._outputs: dict[int, str] = {}
        self._followed: dict[str, list[_Call]] = {"norm": [], "relu": []}
        self._used_before: list[bool] = []
        self._alive: list[Tensor] = []

    def watch(self, stack: ExitStack) -> None:
        """Add hooks to the model that the stack removes."""
        for name, layer in self._layers.items():
            before = layer.register_forward_pre_hook(self._before_layer)
            left = layer.register_forward_hook(self._left_layer, prepend=True, always_call=True)
            after = layer.register_forward_hook(
                self._after_layer(name), prepend=True, with_kwargs=True
            )  # both before hooks of users, which may multiply too
            for handle in (before, after, left):
                stack.callback(handle.remove)
        for name, kind in self._followers.items():
            module = self._model.get_submodule(name)
            taken = module.register_forward_pre_hook(self._before_follower, with_kwargs=True)
            given = module.register_forward_hook(
                self._after_follower(name, kind), with_kwargs=True
            )
            for handle in (taken, given):
                stack.callback(handle.remove)
        self._running = stack.enter_context(watched(self._model))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in ("__get__", "size", "dim", "numel"):
            self.use((args, kwargs))
        name = product_name(func)
        if self._inside or name is None or is_wrapped((args, *kwargs.values())):
            return func(*args, **kwargs)  # operators with a wrapper's samples are counted
        self._inside += 1
        try:
            result = func(*args, **kwargs)
        finally:
            self._inside -= 1
        self._leave_out(name, multiplications(func, args, kwargs, result))
        return result

    def operator(self, name: str, count: int) -> None:
        """Count the multiplications of an operator that is part of no layer and no function."""
        if not self._inside:
            self._leave_out(name, count)

    def _leave_out(self, function: str, count: int) -> None:
        running = self._running[-1] if self._running else ""
        unknown = f"{running or type(self._model).__name__}: {function}"
        name = self._known.get(running, unknown) if running else unknown
        found = self._trace.left_out
        found[name] = found.get(name, 0) + count

    def use(self, values: Any) -> None:
        """Count one use of each tensor in ``values``."""
        for tensor in _tensors(values):
            self._uses[id(tensor)] += 1
            self._alive.append(tensor)

    def _before_layer(self, module: nn.Module, operands: Any) -> None:
        self._inside += 1

    def _left_layer(self, module: nn.Module, operands: Any, output: Any) -> None:
        self._inside -= 1

    def _after_layer(self, name: str) -> Callable[..., None]:
        def hook(
            module: nn.Module, operands: tuple[Any, ...], options: dict[str, Any], output: Tensor
        ) -> None:
            macs = self._trace.macs
            if name not in macs:
                self._trace.order.append(name)
                macs[name] = 0
            spec = self._specs[type(module)]
            macs[name] += spec.multiplications(module, _first(operands, options), output)
            self._calls[name] += 1
            if name in self._plain:
                self._outputs[id(output)] = name
            self._alive.append(output)

        return hook

    def _before_follower(
        self, module: nn.Module, operands: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._used_before.append(self._uses[id(_first(operands, options))] > 0)

    def _after_follower(self, name: str, kind: str) -> Callable[..., None]:
        def hook(
            module: nn.Module, operands: tuple[Any, ...], options: dict[str, Any], output: Tensor
        ) -> None:
            self._calls[name] += 1
            self._alive.append(output)
            taken = id(_first(operands, options))
            call = _Call(name, taken, self._used_before[-1], id(output))
            self._followed[kind].append(call)

        return hook

    def found(self) -> Trace:
        """Return the result of the pass."""
        self._find_norms()
        self._find_relus()
        for counts in (self._trace.macs, self._trace.left_out):  # of the batch so far
            counts.update({name: total // self._samples for name, total in counts.items()})
        return self._trace

    def _find_norms(self) -> None:
        for call in self._followed["norm"]:
            layer = self._outputs.get(call.taken)
            if layer is None or self._specs[type(self._layers[layer])].fold is None:
                continue
            if self._uses[call.taken] == self._calls[layer] == self._calls[call.module] == 1:
                self._trace.batch_norms[layer] = call.module
                self._outputs[call.given] = layer

    def _find_relus(self) -> None:
        for call in self._followed["relu"]:
            layer = self._outputs.get(call.taken)
            in_place = call.taken == call.given  # later uses then get the clamped values
            alone = not call.used_before and (in_place or self._uses[call.taken] == 1)
            if layer is None or not self._specs[type(self._layers[layer])].takes_relu:
                continue
            if alone and self._calls[layer] == self._calls[call.module] == 1:
                self._trace.relus[layer] = call.module


def _first(operands: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """Return the first argument of a call, given by position or by name."""
    return cast(Tensor, operands[0] if operands else next(iter(options.values())))


def _tied(model: nn.Module) -> set[int]:
    """Return the ids of the parameters that more than one module has."""
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    return {parameter for parameter, count in owners.items() if count > 1}


def _follower_kind(module: nn.Module) -> str | None:
    if has_forward_hooks(module):
        return None
    if isinstance(module, _BatchNorm) and module.running_mean is not None:
        return "norm"
    return "relu" if type(module) in RELUS else None


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
