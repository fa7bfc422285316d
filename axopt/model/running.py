"""Which module of a model runs at the moment, for observers of a forward pass."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def watched(model: nn.Module) -> Iterator[list[str]]:
    """Keep a list of the names of the modules that run, the innermost last, for a while.

    A module that has several names goes by the first of them. The model itself is called "".

    Args:
        model: Whose hooks are added now and removed at the end.

    Yields:
        The list; it changes while the model runs.

    Example:
        >>> model, seen = nn.Sequential(nn.ReLU()), []
        >>> handle = model[0].register_forward_pre_hook(lambda *_: seen.append([*running]))
        >>> with watched(model) as running:
        ...     _ = model(torch.zeros(1))
        >>> seen
        [['', '0']]
    """
    running: list[str] = []

    def enter(name: str, module: nn.Module, inputs: Any) -> None:
        running.append(name)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        running.pop()

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # which takes no such hooks
            continue
        before = functools.partial(enter, name)
        handles.append(module.register_forward_pre_hook(before, prepend=True))
        handles.append(
            module.register_forward_hook(leave, prepend=True, always_call=True)
        )  # before hooks of users, which run outside the module's forward
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def iterating(model: nn.Module) -> Iterator[set[str]]:
    """Note which modules go through their children while they run, for a while.

    One more child would change what such a module computes. A ``Sequential``, ``ModuleList`` or
    ``ModuleDict`` counts as one in any case.

    Args:
        model: Whose modules are watched.

    Yields:
        The names of these modules; it grows while the model runs.

    Example:
        >>> with iterating(nn.Sequential(nn.ReLU())) as names:
        ...     pass
        >>> names
        {''}
    """
    names: set[str] = set()
    found = dict(model.named_modules())

    def noted(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        names.add(name)
        return type(module).named_children(module)

    watching = []
    for name, module in found.items():
        if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            names.add(name)
        elif not isinstance(module, torch.jit.ScriptModule):
            module.__dict__["named_children"] = functools.partial(noted, name, module)
            watching.append(module)
    try:
        yield names
    finally:
        for module in watching:
            del module.__dict__["named_children"]
