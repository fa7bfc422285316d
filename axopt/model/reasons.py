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
    ((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _InstanceNorm), "stays in float, as all norms do"),
    ((nn.Embedding, nn.EmbeddingBag), "looks up rows and has no products"),
    ((nn.PReLU,), "stays in float, as all activations do"),
)


def why_refused(module: nn.Module) -> str | None:
    """Return why a model with this module is refused unless the module is excluded.

    Its products would otherwise stay exact although it looks like a layer to emulate.

    Returns:
        A reason and what to do about it, without a full stop; None if the module is not refused.
    """
    kind = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        return "it is a compiled ScriptModule; pass the module that it was made from"
    if parametrize.is_parametrized(module):
        return (
            f"the parametrisation of this {kind} computes other weights in each call; "
            "remove the parametrisation"
        )
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        return f"this {kind} has no weights yet; run the model once before `prepare`"
    return None


def why_float(
    module: nn.Module, emulated: Collection[type[nn.Module]], unused: Collection[str]
) -> str | None:
    """Return why a module that has weights and is not refused stays in float.

    Args:
        module: Of a type that is not in ``emulated``.
        emulated: Types of layers that are emulated.
        unused: Names of its parameters that no emulated product uses.

    Returns:
        The reason; None if emulated products use all parameters.
    """
    if not unused and not parametrize.is_parametrized(module):
        return None
    kind = type(module).__name__
    for types, reason in _FLOAT:
        if isinstance(module, types):
            return f"{kind} {reason}"
    for base in emulated:
        if isinstance(module, base) and "weight" in unused:
            return f"{kind} is not emulated: as a subclass of {base.__name__} it may differ"
    return f"stays in float: {', '.join(unused)}, which the forward of {kind} uses itself"
