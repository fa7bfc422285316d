"""One forward pass observed: the order of the layers, their MACs, and who consumes what.

The model itself runs, so any control flow works; nothing is parsed or compiled. Batch norms that
directly and exclusively consume a convolution's output are found by identity of the tensors, and
so are the rectifiers behind them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from axopt.layers import transposed_products
from axopt.modules import MatMul
from axopt.modules.hooks import has_forward_hooks

_BatchNorm = nn.modules.batchnorm._BatchNorm

RECTIFIERS: dict[type[nn.Module], tuple[float, float]] = {
    nn.ReLU: (0.0, math.inf),
    nn.ReLU6: (0.0, 6.0),
}
"""Modules that a layer before them can do as well: type -> bounds that they clamp to."""


@dataclass
class Trace:
    """What one forward pass showed.

    Attributes:
        order: Names of the layers in the order of their first call.
        macs: Multiplications of each layer for one sample, all its calls together.
        batch_norms: Name of the layer -> name of the batch norm that can be folded into it.
        rectifiers: Name of the layer -> name of the rectifier that takes nothing but what the
            layer, with its batch norm if it has one, gives to nothing else.
    """

    order: list[str] = field(default_factory=list)
    macs: dict[str, int] = field(default_factory=dict)
    batch_norms: dict[str, str] = field(default_factory=dict)
    rectifiers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Call:
    """A module that took one tensor and gave one; ids of tensors that are still alive."""

    module: str
    taken: int
    used_before: bool
    given: int


class _UseCounter(TorchFunctionMode):
    """Counts the operations that take each tensor; keeps the tensors alive so that ids last."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: dict[int, int] = defaultdict(int)
        self._alive: list[Tensor] = []

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
        return func(*args, **kwargs)

    def use(self, values: Any) -> None:
        for tensor in _tensors(values):
            self.uses[id(tensor)] += 1
            self.keep(tensor)

    def keep(self, tensor: Tensor) -> None:
        self._alive.append(tensor)


def trace(model: nn.Module, layers: Mapping[str, nn.Module], x: Tensor) -> Trace:
    """Run ``model`` once on ``x`` and watch the modules in ``layers``.

    Args:
        model: In evaluation mode.
        layers: Name -> convolution, linear module or `MatMul` to watch.
        x: An input of the model, samples along its first dimension.
    """
    result = Trace()
    tied = _tied(model)
    plain = {  # layers that a follower may change, which must change nothing else
        name
        for name, layer in layers.items()
        if tied.isdisjoint(map(id, layer.parameters())) and not has_forward_hooks(layer)
    }
    samples = max(len(x), 1)
    outputs: dict[int, str] = {}
    calls: dict[str, int] = defaultdict(int)
    followers: dict[str, list[_Call]] = {"norm": [], "rectifier": []}
    counter = _UseCounter()

    def after_layer(name: str) -> Callable[..., None]:
        def hook(
            module: nn.Module, operands: tuple[Any, ...], options: dict[str, Any], output: Tensor
        ) -> None:
            if name not in result.macs:
                result.order.append(name)
                result.macs[name] = 0
            result.macs[name] += _macs(module, _first(operands, options), output) // samples
            calls[name] += 1
            if name in plain:
                outputs[id(output)] = name
            counter.keep(output)

        return hook

    def around_follower(name: str, kind: str) -> tuple[Callable[..., None], Callable[..., None]]:
        used = []

        def before(module: nn.Module, operands: tuple[Any, ...], options: dict[str, Any]) -> None:
            used.append(counter.uses[id(_first(operands, options))] > 0)

        def after(
            module: nn.Module, operands: tuple[Any, ...], options: dict[str, Any], output: Tensor
        ) -> None:
            calls[name] += 1
            counter.keep(output)
            taken = id(_first(operands, options))
            followers[kind].append(_Call(name, taken, used[-1], id(output)))

        return before, after

    handles = [
        m.register_forward_hook(after_layer(n), with_kwargs=True) for n, m in layers.items()
    ]
    for name, module in model.named_modules():
        kind = _follower_kind(module)
        if kind is not None:
            before, after = around_follower(name, kind)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
    try:
        with torch.no_grad(), counter:
            counter.use(model(x))
    finally:
        for handle in handles:
            handle.remove()
    for call in followers["norm"]:
        layer = outputs.get(call.taken)
        if layer is None or isinstance(layers[layer], MatMul):  # which has no weight to fold into
            continue
        if counter.uses[call.taken] == calls[layer] == calls[call.module] == 1:
            result.batch_norms[layer] = call.module
            outputs[call.given] = layer
    for call in followers["rectifier"]:
        layer = outputs.get(call.taken)
        in_place = call.taken == call.given  # then every later use is of the rectified values
        alone = not call.used_before and (in_place or counter.uses[call.taken] == 1)
        if layer and alone and calls[layer] == calls[call.module] == 1:
            result.rectifiers[layer] = call.module
    return result


def _first(operands: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """The first argument of a call, whether it was given by name or not."""
    return cast(Tensor, operands[0] if operands else next(iter(options.values())))


def _tied(model: nn.Module) -> set[int]:
    """Ids of the parameters that more than one module has."""
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    return {parameter for parameter, count in owners.items() if count > 1}


def _follower_kind(module: nn.Module) -> str | None:
    if has_forward_hooks(module):
        return None
    if isinstance(module, _BatchNorm) and module.running_mean is not None:
        return "norm"
    return "rectifier" if type(module) in RECTIFIERS else None


def _macs(layer: nn.Module, x: Tensor, output: Tensor) -> int:
    """Multiplications of one call; those with padding are among them."""
    if isinstance(layer, MatMul):
        return output.numel() * x.shape[-1]
    weight = cast(Tensor, layer.weight)
    if not isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return output.numel() * weight[0].numel()
    size = output.shape[2 - weight.ndim :]
    images = output.numel() // max(layer.out_channels * math.prod(size), 1)
    return images * transposed_products(layer, size)


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
