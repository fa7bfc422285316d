"""Products that a forward pass computes by calling functions become modules with names.

`find_products` runs the model and notes which functions that multiply are called where, and which
of their operands follow from parameters alone. `intercept_` gives the calling modules children
that compute these products, and has the calls handed to the children while the modules run (see
`axopt.model.redirection`). What is no product of a layer stays as it is and is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from axopt.layers import spec_named, specs_by_type
from axopt.model.calls import bound, product_name
from axopt.model.products import Product, arranged, product_of
from axopt.model.redirection import ATTENTION, Key, Redirections, place
from axopt.model.running import iterating, watched
from axopt.modules import MatMul, ScaledDotProductAttention
from axopt.modules.recorded import Operation, Recorded, Recording, Source, replaced, version_of

_RUNS = 4
"""How often the model runs at most, until it is settled what follows from parameters alone."""

_DRAWING = ("rand", "normal", "bernoulli", "multinomial", "poisson", "empty", "new_empty")
"""Functions of these names, and with ``_like`` behind them, give other values in each call."""


@dataclass
class Site:
    """A product that one module computes by calling a function.

    Attributes:
        owner: Name of the module.
        call: What names call it: "conv", "matmul", ...
        key: By which calls are recognised.
        module: Computes it.
        function: That is called.
        name: In the emulated model.
        path: Where the module is.
    """

    owner: str
    call: str
    key: Key
    module: nn.Module
    function: str
    name: str = ""
    path: str = ""


@dataclass
class Found:
    """What `find_products` saw.

    Attributes:
        sites: The products that become modules, in the order of their first call.
        attention: Names of the modules that call the attention function.
        floats: Name of the module -> function -> why its products stay in float.
        recording: The expressions of the weights.
        carriers: Names of further modules that compute weights.
        using: Name of a module -> tensors that the weights follow from which it uses or computes.
    """

    recording: Recording
    sites: dict[tuple[str, Key], Site] = field(default_factory=dict)
    attention: list[str] = field(default_factory=list)
    floats: dict[str, dict[str, str]] = field(default_factory=dict)
    carriers: set[str] = field(default_factory=set)
    using: dict[str, set[Source]] = field(default_factory=dict)

    def sources(self) -> set[int]:
        """Ids of the tensors that weights of sites follow from."""
        return {id(source.tensor()) for source in self.recording.sources}


def find_products(model: nn.Module, run: Callable[[], Any]) -> Found:
    """Run ``model`` and note the products that it computes by calling functions.

    Args:
        model: In evaluation mode.
        run: Calls the model.
    """
    watch = _watched_run(model, run, Recording([]), set())
    if watch.called:  # and some models keep what they compute for the next run
        recording = Recording(list(_sources(model)))
        unstable: set[Recorded] = set()
        for _ in range(_RUNS):
            watch = _watched_run(model, run, recording, unstable)
            if not watch.settle():
                break
    return watch.found()


def _watched_run(
    model: nn.Module, run: Callable[[], Any], recording: Recording, unstable: set[Recorded]
) -> _Watch:
    """Run the model and return what was seen."""
    watch = _Watch(model, recording, unstable)
    with watched(model) as running, iterating(model) as through, torch.no_grad(), watch:
        watch.running, watch.iterating = running, through
        run()
    return watch


def _sources(model: nn.Module) -> Iterable[Source]:
    """All tensors that modules have as parameters, buffers or attributes."""
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        own = {**vars(module), **module._buffers, **module._parameters}
        for name, value in own.items():
            if isinstance(value, Tensor) and not is_lazy(value) and _is_strided(value):
                yield Source(module, name)


def _is_strided(tensor: Tensor) -> bool:
    """Whether a tensor has memory of its own, as sparse and nested ones have not."""
    return tensor.layout is torch.strided and not tensor.is_nested


@dataclass(frozen=True)
class _Made:
    """The result of an operation as it was when it was made."""

    operation: Operation
    result: Tensor
    version: int


class _Watch(TorchFunctionMode):
    """Records products, and follows values that are computed from parameters alone.

    Args:
        model: The model.
        recording: Its expressions; new ones are added.
        unstable: Expressions that do not follow from parameters alone after all.
    """

    def __init__(self, model: nn.Module, recording: Recording, unstable: set[Recorded]) -> None:
        super().__init__()
        self.running: list[str] = []
        self.iterating: set[str] = set()
        self.called = False
        self._model, self._unstable = model, unstable
        specs = specs_by_type()
        self._layers = {name for name, module in model.named_modules() if type(module) in specs}
        self._found = Found(recording)
        self._nodes: dict[int, tuple[Tensor, Recorded]] = {}  # with the tensor, to keep its id
        for source in recording.sources:
            if source not in unstable:
                self._nodes[id(source.tensor())] = (source.tensor(), source)
        self._stamps = {source: source.stamp() for source in recording.sources}
        self._made: list[_Made] = []
        self._where: dict[Recorded, set[str]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self.running or not self._layers.isdisjoint(self.running):
            return result
        computed = self._follow(func, args, kwargs, result)
        if not computed and (name := product_name(func)) is not None:
            self._note(name, bound(func, args, kwargs))
        return result

    def _node(self, tensor: Tensor) -> Recorded | None:
        known = self._nodes.get(id(tensor))
        return None if known is None else known[1]

    def _follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> bool:
        """Record a call whose tensors all follow from parameters; return whether it is one."""
        name = getattr(func, "__name__", "")
        operands = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if not operands or any(self._node(x) is None for x in operands):
            return False
        in_place = name.endswith("_") and not name.endswith("__") or name == "__setitem__"
        if in_place or kwargs.get("out") is not None or _draws(name):
            return False
        args, kwargs = replaced((args, kwargs), Tensor, self._node)
        results = list(enumerate(result)) if isinstance(result, tuple | list) else [(None, result)]
        for index, tensor in results:
            if not isinstance(tensor, Tensor):
                continue
            if id(tensor) in self._nodes:  # the very tensor that it was given
                continue
            made = self._found.recording.add(func, args, kwargs, index)
            if made is None or made in self._unstable:
                return False
            self._nodes[id(tensor)] = (tensor, made)
            self._made.append(_Made(made, tensor, version_of(tensor)))
            self._where.setdefault(made, set()).add(self.running[-1])
        return True

    def _note(self, name: str, call: dict[str, Any]) -> None:
        self.called = True
        owner = self.running[-1]
        if name == ATTENTION:
            if owner not in self._found.attention:
                self._found.attention.append(owner)
            return
        product = product_of(name, call, lambda x: self._node(x) is not None)
        if isinstance(product, str):
            self._found.floats.setdefault(owner, {})[name] = product
            return
        key = key_of(product, self._node) or place()
        if (owner, key) not in self._found.sites:
            module = self._module(product)
            self._found.sites[owner, key] = Site(owner, product.call, key, module, name)

    def _module(self, product: Product) -> nn.Module:
        """What computes a product."""
        if product.weight is None:
            return MatMul()
        weight, bias = self._node(product.weight), None
        if product.arrange != "as it is":
            weight = self._found.recording.add(arranged, (weight, product.arrange), {})
        if product.bias is not None:
            bias = self._node(product.bias)
        called = spec_named(product.kind).called
        if called is None or weight is None:
            raise TypeError(f"the layer kind {product.kind} stands for no function")
        return called(weight, bias, **product.options)

    def settle(self) -> bool:
        """Find what changed during the run, or is computed anew with another result.

        Returns:
            Whether there is any, so that the run has to be repeated.
        """
        before = len(self._unstable)
        for source, stamp in self._stamps.items():
            if source.stamp() != stamp:
                self._unstable.add(source)
        for made in self._made:
            operands = set(made.operation.operands())
            same = version_of(made.result) == made.version and operands.isdisjoint(self._unstable)
            if not same or not _equal(made.operation.value(), made.result):
                self._unstable.add(made.operation)
        return len(self._unstable) > before

    def found(self) -> Found:
        """What the run showed, with the expressions that weights need and no others."""
        found, wanted = self._found, set[Recorded]()
        self._leave_iterating()
        for site in found.sites.values():
            weights = getattr(site.module, "expressions", ())
            self._want([e for e in weights if e is not None], {site.owner}, wanted)
        for made, owners in list(
            self._where.items()
        ):  # products of parameters are no layers' products
            if isinstance(made, Operation) and product_name(made.func) is not None:
                self._want([made], owners, wanted)
        found.recording.keep_only(wanted)
        return found

    def _leave_iterating(self) -> None:
        """Leave the products in float of modules that a child more would change."""
        found = self._found
        called = [(site.owner, site.function) for site in found.sites.values()]
        for owner, function in (*called, *((name, ATTENTION) for name in found.attention)):
            if owner in self.iterating:
                found.floats.setdefault(owner, {})[function] = (
                    f"{function} is called by a module that goes through its children, which a "
                    "layer would be one of; call it in a module of its own"
                )
        found.sites = {k: s for k, s in found.sites.items() if s.owner not in self.iterating}
        found.attention = [name for name in found.attention if name not in self.iterating]

    def _want(self, waiting: list[Recorded], owners: set[str], wanted: set[Recorded]) -> None:
        """Keep expressions and their sources, and record where they are computed."""
        while waiting:
            expression = waiting.pop()
            wanted.add(expression)
            for owner in owners | self._where.get(expression, set()):
                self._found.using.setdefault(owner, set()).update(expression.sources())
            if isinstance(expression, Operation):
                waiting += expression.operands()
                for owner in owners:
                    self._found.carriers |= _outside(self._where.get(expression, set()), owner)


def _draws(name: str) -> bool:
    """Whether a function of that name gives other values in each call."""
    name = name.removesuffix("_like")
    return name in _DRAWING or name in ("randn", "randint", "randperm")


def _outside(computing: set[str], owner: str) -> set[str]:
    """Which modules have to be watched for a weight of ``owner`` besides itself."""
    ancestors = {n for n in computing if n == owner or owner.startswith(f"{n}." if n else "")}
    return ancestors if ancestors == computing else {*computing, ""}


def _equal(a: Tensor, b: Tensor) -> bool:
    return (
        a.shape == b.shape
        and a.dtype == b.dtype
        and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))
    )


def key_of(product: Product, node_of: Callable[[Tensor], Recorded | None]) -> Key | None:
    """By what a product with a weight is recognised; None for one of activations."""
    if product.weight is None:
        return None
    bias = None if product.bias is None else node_of(product.bias)
    options = tuple(product.options.values())
    return (product.kind, node_of(product.weight), product.arrange, bias, options)


def intercept_(model: nn.Module, found: Found) -> dict[str, Site]:
    """Give modules children that compute the products that they call functions for, in place.

    Args:
        model: Any module.
        found: What `find_products` saw in it.

    Returns:
        Name -> product.
    """
    redirections = Redirections(model, found.recording)
    calls = Counter((site.owner, site.call) for site in found.sites.values())
    numbers: Counter[tuple[str, str]] = Counter()
    for site in found.sites.values():
        numbers[site.owner, site.call] += 1
        several = calls[site.owner, site.call] > 1
        child = f"{site.call}_{numbers[site.owner, site.call]}" if several else site.call
        owner = model.get_submodule(site.owner)
        child = redirections.add(site.owner, site.key, child, site.module)
        site.path = f"{site.owner}.{child}".lstrip(".")
        alone = sum(n for (name, _), n in calls.items() if name == site.owner) == 1
        named = alone and site.owner not in found.floats and _is_its_own(owner, site.module)
        site.name = site.owner if named and site.owner else site.path
    for name in found.attention:
        redirections.add_attention(name, ScaledDotProductAttention())
    for name, functions in found.floats.items():
        redirections.leave(name, set(functions))
    redirections.install(found.carriers, found.using)
    return {site.name: site for site in found.sites.values()}


def _is_its_own(owner: nn.Module, product: nn.Module) -> bool:
    """Whether a module is a subclass of a layer and computes the layer's product."""
    weight = getattr(product, "expressions", (None,))[0]
    return (
        weight is not None
        and any(source.module is owner for source in weight.sources())
        and isinstance(owner, specs_by_type()[type(product)].modules)
    )
