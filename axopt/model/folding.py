"""Batch norms and ReLUs that layers take over."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from axopt.layers import specs_by_type
from axopt.model.trace import RELUS, Trace, trace


def folded_copy(model: nn.Module, x: Any) -> nn.Module:
    """Return a float copy whose batch norms are folded into layers as `prepare` folds them.

    Args:
        model: In evaluation mode.
        x: An input of it, of one sample.
    """
    module, specs = copy.deepcopy(model), specs_by_type()
    layers = {name: part for name, part in module.named_modules() if type(part) in specs}
    fold_batch_norms_(module, layers, trace(module, layers, x))
    return module


def fold_batch_norms_(module: nn.Module, layers: Mapping[str, nn.Module], seen: Trace) -> None:
    """Fold batch norms into the layers before them, in place.

    With scale = gamma / sqrt(variance + eps) a result y becomes scale (y - mean) + beta. The batch
    norm becomes an identity of the same name.

    Args:
        module: The model.
        layers: Its layers by name.
        seen: Which batch norms follow which layers.
    """
    specs = specs_by_type()
    for layer_name, norm_name in seen.batch_norms.items():
        layer, norm = layers[layer_name], module.get_submodule(norm_name)
        fold = specs[type(layer)].fold
        if fold is not None:
            left = fold(layer, *_affine(cast(nn.BatchNorm2d, norm)))
            set_submodule(module, norm_name, left)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, mean and shift of a batch norm, float64."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = torch.rsqrt(variance.double() + norm.eps)
    shift = torch.zeros_like(scale)
    if norm.affine:
        scale, shift = scale * norm.weight.detach().double(), norm.bias.detach().double()
    return scale, mean.double(), shift


def take_over_relu_(module: nn.Module, name: str | None) -> tuple[float, float] | None:
    """Replace a ReLU by an identity of the same name; return the bounds that it clamps to.

    Args:
        module: The model.
        name: Of the ReLU; None for none.
    """
    if name is None:
        return None
    bounds = RELUS[type(module.get_submodule(name))]
    set_submodule(module, name, nn.Identity())
    return bounds


def set_submodule(module: nn.Module, name: str, new: nn.Module) -> None:
    """Put ``new`` where the submodule called ``name`` is."""
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, new)
