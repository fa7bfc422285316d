"""Copy a model without wrappers, parametrisations and composite modules."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from axopt.modules import lower_


def plain_copy(model: nn.Module) -> nn.Module:
    """Copy a model in evaluation mode, so that its layers can be replaced.

    * Wrappers of ``torch.compile`` and ``DataParallel`` are removed, also from names.
    * Parametrised weights, weight norms, spectral norms and pruning become plain parameters. A
      parametrisation that computes another weight in each call is kept.
    * Recurrent networks and other composites are lowered, see `axopt.modules.lower_`.

    Args:
        model: The model; it is not changed.
    """
    computed = {id(t): t.detach().clone() for t in _computed(model)}  # torch copies only leaves
    module = _unwrapped(copy.deepcopy(model, computed)).eval()
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child is not None and _inner(child) is not None:
                setattr(parent, name, _unwrapped(child))
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            _settle_parametrisation(part)
        _settle_hooks(part)
    return lower_(module)


def _computed(model: nn.Module) -> Iterator[Tensor]:
    """Yield attributes that were computed from parameters, as in older weight norms."""
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                yield value


def _inner(module: nn.Module) -> nn.Module | None:
    """Return the module inside a wrapper; None if ``module`` is no wrapper."""
    if isinstance(module, torch.jit.ScriptModule):
        return None
    parallel = isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel)
    # the other wrapper is torch.compile's, whose type takes seconds to import
    return module._modules.get("module" if parallel else "_orig_mod")


def _unwrapped(module: nn.Module) -> nn.Module:
    inner = _inner(module)
    return module if inner is None else _unwrapped(inner)


def _settle_parametrisation(module: nn.Module) -> None:
    """Turn parametrised tensors into plain ones.

    torch's ``remove_parametrizations`` would change the class that the original shares.
    """
    lists = module.parametrizations
    if not isinstance(lists, nn.ModuleDict):
        raise TypeError(f"`parametrizations` of {type(module).__name__} must be a ModuleDict")
    with torch.no_grad():
        values = {name: getattr(module, name) for name in lists}
        if not all(torch.equal(value, getattr(module, name)) for name, value in values.items()):
            return
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        trained = [p.requires_grad for p in lists[name].parameters()]
        if trained:
            setattr(module, name, nn.Parameter(value.detach().clone(), any(trained)))
        else:
            module.register_buffer(name, value.detach().clone())


def _settle_hooks(module: nn.Module) -> None:
    """Turn weights that a hook of torch computes before each call into plain ones."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, WeightNorm | BasePruningMethod):
            hook.remove(module)
            del module._forward_pre_hooks[key]
