"""Why a module with weights is not emulated."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

_FLOAT: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((_BatchNorm,), "stays in float unless it directly follows a layer"),
    ((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _InstanceNorm), "stays in float as all norms do"),
    ((nn.Embedding, nn.EmbeddingBag), "looks rows up, without products to emulate"),
    ((nn.PReLU,), "stays in float as all activations do"),
)


def why_refused(module: nn.Module) -> str | None:
    """Why a model with this module is refused unless the module is left out; None if it is not.

    Its products would otherwise stay exact although it looks like a layer to emulate.
    """
    kind = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        return "it is a ScriptModule, whose layers are compiled; give the module it was made from"
    if parametrize.is_parametrized(module):
        return f"the parametrisation of this {kind} gives other weights in each call"
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        return f"this {kind} has no weights before the model was run once"
    return None


def why_float(module: nn.Module, emulated: Collection[type[nn.Module]]) -> str:
    """Why a module that has weights and is not refused stays in float.

    Args:
        module: Of a type that is not in ``emulated``.
        emulated: Types of layers that are emulated.
    """
    kind = type(module).__name__
    for types, reason in _FLOAT:
        if isinstance(module, types):
            return f"{kind} {reason}"
    for base in emulated:
        if isinstance(module, base):
            return f"{kind} is not emulated: as a subclass of {base.__name__} it may differ"
    names = ", ".join(name for name, _ in module.named_parameters(recurse=False))
    return f"{kind} is not emulated: its own code uses its parameters {names}"
