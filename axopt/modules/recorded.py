"""Tensors that follow from parameters alone, and how they are computed from them.

A network may compute a weight in each forward pass, as ``(w - w.mean()) / w.std()``. A `Recording`
keeps such computations as expressions: a `Source` is a parameter, a buffer or another tensor that
a module has, an `Operation` is a function of PyTorch applied to expressions and plain values.
Equal expressions are one object, so that an expression says which weight a call uses. Values are
kept until a source changes.
"""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

Version = tuple[object, ...]


class Recorded(ABC):
    """A tensor that follows from parameters alone."""

    @abstractmethod
    def value(self) -> Tensor:
        """Return the tensor, without its history; it is kept until a source changes."""

    @abstractmethod
    def differentiable(self) -> Tensor:
        """Compute the tensor from its sources, through which gradients flow."""

    @abstractmethod
    def sources(self) -> tuple[Source, ...]:
        """Return the tensors that it follows from, each once."""

    def version(self) -> Version:
        """Return a value that differs from any earlier one if a source was changed or replaced."""
        return tuple(source.stamp() for source in self.sources())

    def trains(self) -> bool:
        """Return whether a source asks for gradients."""
        return any(source.tensor().requires_grad for source in self.sources())


class Source(Recorded):
    """A tensor that a module has.

    Attributes:
        module: The module.
        name: Its attribute.
    """

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name

    def tensor(self) -> Tensor:
        """Return the tensor that the module has now."""
        found = self.module._parameters.get(self.name)
        return found if found is not None else cast(Tensor, getattr(self.module, self.name))

    def value(self) -> Tensor:
        return self.tensor()

    def differentiable(self) -> Tensor:
        return self.tensor()

    def sources(self) -> tuple[Source, ...]:
        return (self,)

    def stamp(self) -> Version:
        """Return a value that differs from any earlier one if the tensor was changed."""
        tensor = self.tensor()
        return (version_of(tensor), tensor.data_ptr(), tensor.device)


class Operation(Recorded):
    """The result of a function, or one of several.

    Args:
        func: The function.
        args: Positional arguments, with expressions in place of tensors.
        kwargs: Keyword arguments, likewise.
        index: Which tensor of the result; None if the result is a tensor.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        index: int | None = None,
    ) -> None:
        self.func, self.args, self.kwargs, self.index = func, args, dict(kwargs), index
        found: dict[int, Source] = {}
        for operand in expressions((args, self.kwargs)):
            found.update((id(source), source) for source in operand.sources())
        self._sources = tuple(found.values())
        self._kept: tuple[Version, Tensor, int] | None = None

    def sources(self) -> tuple[Source, ...]:
        return self._sources

    def operands(self) -> Iterator[Recorded]:
        """Yield the expressions among the arguments."""
        return expressions((self.args, self.kwargs))

    def value(self) -> Tensor:
        version = self.version()
        kept = self._kept
        if kept is None or kept[0] != version or kept[2] != version_of(kept[1]):
            # other function modes neither see nor count what is computed once
            with torch._C.DisableTorchFunction(), torch.inference_mode(False), torch.no_grad():
                result = self._computed(lambda operand: operand.value())
            kept = self._kept = (version, result, version_of(result))
        return kept[1]

    def differentiable(self) -> Tensor:
        return self._computed(lambda operand: operand.differentiable())

    def _computed(self, of: Callable[[Recorded], Tensor]) -> Tensor:
        args, kwargs = replaced((self.args, self.kwargs), Recorded, of)
        result = self.func(*args, **kwargs)
        return cast(Tensor, result if self.index is None else result[self.index])

    def __deepcopy__(self, memo: dict[int, Any]) -> Operation:
        new = object.__new__(type(self))
        memo[id(self)] = new
        new.func, new.index, new._kept = self.func, self.index, None
        new.args, new.kwargs = copy.deepcopy((self.args, self.kwargs), memo)
        new._sources = copy.deepcopy(self._sources, memo)
        return new


class Recording:
    """The expressions of a model, each once.

    Attributes:
        sources: All tensors that count as given.
    """

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self._results: dict[object, dict[int | None, Operation]] = {}

    def add(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        index: int | None = None,
    ) -> Operation | None:
        """Return the expression that a call stands for, a new one if need be.

        Args:
            func: The function.
            args: Positional arguments, with expressions in place of tensors.
            kwargs: Keyword arguments, likewise.
            index: As in `Operation`.

        Returns:
            None if an argument cannot be compared.
        """
        try:
            results = self._results.setdefault(_key(func, args, kwargs, {}), {})
        except TypeError:  # an argument that has no hash
            return None
        return results.setdefault(index, Operation(func, args, kwargs, index))

    def find(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        nodes: Mapping[int, tuple[Tensor, Recorded]],
    ) -> Mapping[int | None, Operation] | None:
        """Return the expressions that the results of a call stand for, None if there are none.

        Args:
            func: The function.
            args: Positional arguments.
            kwargs: Keyword arguments.
            nodes: Id of a tensor -> the tensor and its expression.

        Returns:
            Number of a result, or None for one that is the only one -> expression.
        """
        try:
            return self._results.get(_key(func, args, kwargs, nodes))
        except (KeyError, TypeError):  # a tensor of the input, or an argument without a hash
            return None

    def keep_only(self, wanted: set[Recorded]) -> None:
        """Forget all other operations and sources."""
        kept = {
            key: {index: o for index, o in results.items() if o in wanted}
            for key, results in self._results.items()
        }
        self._results = {key: results for key, results in kept.items() if results}
        self.sources = [source for source in self.sources if source in wanted]

    @functools.cached_property
    def functions(self) -> frozenset[Callable[..., Any]]:
        """The functions of all operations; to be asked for when all are known."""
        return frozenset(o.func for results in self._results.values() for o in results.values())

    def __deepcopy__(self, memo: dict[int, Any]) -> Recording:
        new = memo[id(self)] = Recording([])  # before its parts, which lead back here
        new.sources = copy.deepcopy(self.sources, memo)
        for results in self._results.values():
            for o in copy.deepcopy(list(results.values()), memo):
                new._results.setdefault(_key(o.func, o.args, o.kwargs, {}), {})[o.index] = o
        return new


def version_of(tensor: Tensor) -> int:
    """Return the version counter of a tensor; inference tensors, which have none, give 0."""
    return 0 if tensor.is_inference() else tensor._version


def replaced(values: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """Return nested tuples, lists and dictionaries with all instances of ``kind`` replaced."""
    if isinstance(values, kind):
        return by(values)
    if type(values) in (tuple, list):
        return type(values)(replaced(value, kind, by) for value in values)
    if type(values) is dict:
        return {key: replaced(value, kind, by) for key, value in values.items()}
    return values


def expressions(values: Any) -> Iterator[Recorded]:
    """Yield the expressions in nested tuples, lists and dictionaries."""
    if isinstance(values, Recorded):
        yield values
    elif type(values) in (tuple, list):
        for value in values:
            yield from expressions(value)
    elif type(values) is dict:
        yield from expressions(list(values.values()))


def _key(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    nodes: Mapping[int, tuple[Tensor, Recorded]],
) -> object:
    """What calls with the same results have in common."""
    parts = [_part(value, nodes) for value in args]
    named = sorted((name, _part(value, nodes)) for name, value in kwargs.items()) if kwargs else ()
    return (func, *parts, *named)


def _part(value: Any, nodes: Mapping[int, tuple[Tensor, Recorded]]) -> object:
    """A value as part of a key: expressions for tensors; numbers keep their type."""
    kind = type(value)
    if kind in _NUMBERS:
        return (kind, value)
    if isinstance(value, Tensor):
        return nodes[id(value)][1]
    if kind is tuple or kind is list:
        return tuple(_part(item, nodes) for item in value)
    if kind is dict:
        return tuple(sorted((name, _part(item, nodes)) for name, item in value.items()))
    if kind is slice:
        return ("slice", *(_part(x, nodes) for x in (value.start, value.stop, value.step)))
    return value


_NUMBERS = (int, float, bool)
