"""From a trained model to an emulated one: copy, fold batch norms, replace layers, calibrate."""

from __future__ import annotations

import copy
import difflib
import fnmatch
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn

from axopt.errors import (
    ArgumentError,
    CalibrationError,
    UnknownLayerError,
    UnsupportedLayerError,
)
from axopt.layers import (
    CALIBRATORS,
    EmulatedConv2d,
    EmulatedLayer,
    EmulatedLinear,
    EmulatedMatMul,
)
from axopt.model.emulated_model import EmulatedModel, input_of
from axopt.model.functional import product_calls, redirect_attention_, unredirected
from axopt.model.trace import RECTIFIERS, Trace, trace
from axopt.modules import MatMul, lower_
from axopt.multipliers import Multiplier, load_library

WEIGHT_SCALES = ("per-channel", "per-tensor")

# Subclasses and parametrised layers may compute something else: only the types themselves.
_EMULATED: dict[type[nn.Module], Callable[..., EmulatedLayer]] = {
    nn.Conv2d: EmulatedConv2d,
    nn.Linear: EmulatedLinear,
    MatMul: EmulatedMatMul,
}


def prepare(
    model: nn.Module,
    calibration: Iterable[Any],
    *,
    calibrator: str = "mse",
    weight_scales: str = "per-channel",
    multiplier: Multiplier | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> EmulatedModel:
    """Make an emulated copy of ``model``; the original is left as it is.

    Every ``Conv2d``, ``Linear`` and `axopt.modules.MatMul` is quantised to 8 bits and computes
    its products with the exact multiplier, until `assign_` chooses others; a
    ``MultiheadAttention`` is taken apart into such layers, and so are calls of
    ``functional.scaled_dot_product_attention``. Batch norms that directly follow a
    convolution or linear layer are folded into it.

    Args:
        model: A trained module; it is copied and put in evaluation mode.
        calibration: Batches of inputs, or of (input, target), from the training data.
        calibrator: "minmax", "percentile", "mse" or "entropy": how activation ranges follow
            from what calibration sees.
        weight_scales: "per-channel" or "per-tensor".
        multiplier: What every layer starts with; the bundled exact signed circuit by default.
        include: Names or patterns (``layer1.*``) of the layers to emulate; all by default.
        exclude: Names or patterns of the layers that stay in float.

    Returns:
        The emulated model; layers that were not converted are in its ``skipped``, and so are
        products that a module computes by calling a function, as "module: function".

    Raises:
        ArgumentError: If an option has an unknown value.
        CalibrationError: If calibration holds no batch, NaN or infinite values, or never reaches
            a layer.
        UnknownLayerError: If a name or pattern matches no module.
        UnsupportedLayerError: If a layer that ``include`` names cannot be emulated, or if the
            model has no layer that can.
    """
    if weight_scales not in WEIGHT_SCALES:
        raise ArgumentError(
            f"`weight_scales` must be one of {', '.join(WEIGHT_SCALES)}, got {weight_scales!r}."
        )
    if calibrator not in CALIBRATORS:
        names = ", ".join(sorted(CALIBRATORS))
        raise ArgumentError(f"`calibrator` must be one of {names}, got {calibrator!r}.")
    multiplier = multiplier or load_library().exact(signed=True)
    batches = iter(calibration)
    first = input_of(next(batches, None))
    module = lower_(copy.deepcopy(model)).eval()
    if type(module) in _EMULATED:  # a bare layer has no name of its own
        module = nn.Sequential(module)
    calls = product_calls(module, first[:1])
    redirect_attention_(module, calls)
    chosen, skipped = _choose(module, include, exclude)
    skipped |= unredirected(module, calls, known={*chosen, *skipped})
    seen = _trace_channels_last(module, chosen, first[:1])
    for name in set(chosen) - set(seen.order):
        skipped[name] = "not reached by the first calibration batch"
    fold_batch_norms(module, seen)
    for norm in seen.batch_norms.values():
        del skipped[norm]
    emulated = {}
    for name in seen.order:
        emulated[name] = _EMULATED[type(chosen[name])](
            chosen[name],
            multiplier,
            name=name,
            calibrator=calibrator,
            per_channel=weight_scales == "per-channel",
            bounds=_take_over_rectifier(module, seen.rectifiers.get(name)),
        )
    _replace(module, {id(chosen[name]): layer for name, layer in emulated.items()})
    _calibrate(module, emulated, chain([first], map(input_of, batches)))
    return EmulatedModel(
        module,
        emulated,
        seen.macs,
        skipped=skipped,
        folded=seen.batch_norms,
        fused=seen.rectifiers,
    ).eval()


def _trace_channels_last(module: nn.Module, layers: dict[str, nn.Module], x: Tensor) -> Trace:
    """Trace with channels-last convolutions, which run faster, if the model can have them.

    Some cannot: a ``view`` that joins channels, rows and columns fails on such tensors. Those
    keep their memory format.
    """
    convolutions = [layer for layer in layers.values() if isinstance(layer, nn.Conv2d)]
    before = [layer.weight.data for layer in convolutions]
    for layer in convolutions:
        layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    try:
        return trace(module, layers, x)
    except RuntimeError:
        for layer, data in zip(convolutions, before, strict=True):
            layer.weight.data = data
        return trace(module, layers, x)


def _take_over_rectifier(module: nn.Module, name: str | None) -> tuple[float, float] | None:
    """Replace the rectifier by an identity of the same name; return what it clamps to."""
    if name is None:
        return None
    bounds = RECTIFIERS[type(module.get_submodule(name))]
    _set_submodule(module, name, nn.Identity())
    return bounds


def fold_batch_norms(module: nn.Module, seen: Trace) -> None:
    """Fold the batch norms that ``seen`` found into the layers before them, in place.

    With s = gamma / sqrt(variance + eps): weight' = s weight, bias' = beta + s (bias - mean),
    in float64. The batch norm becomes an identity of the same name.
    """
    for layer_name, norm_name in seen.batch_norms.items():
        layer = cast(nn.Conv2d | nn.Linear, module.get_submodule(layer_name))
        norm = cast(nn.BatchNorm2d, module.get_submodule(norm_name))
        _fold(layer, norm)
        _set_submodule(module, norm_name, nn.Identity())


def _fold(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d) -> None:
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = torch.rsqrt(variance.double() + norm.eps)
    shift = torch.zeros_like(scale)
    if norm.affine:
        scale, shift = scale * norm.weight.detach().double(), norm.bias.detach().double()
    weight = layer.weight.detach()
    bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().double()
    folded = weight.double() * scale.view(-1, *(1,) * (weight.ndim - 1))
    layer.weight = nn.Parameter(folded.to(weight.dtype))
    layer.bias = nn.Parameter((shift + scale * (bias - mean.double())).to(weight.dtype))


def _choose(
    module: nn.Module, include: Sequence[str] | None, exclude: Sequence[str]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The layers to emulate, and the reason for every other module that has weights."""
    weighted = {n: m for n, m in module.named_modules() if _has_products(m)}
    included = _matching(weighted, include, "include") if include is not None else set(weighted)
    excluded = _matching(weighted, exclude, "exclude")
    chosen: dict[str, nn.Module] = {}
    skipped: dict[str, str] = {}
    for name, layer in weighted.items():
        reason = _unsupported(layer)
        if name in excluded:
            skipped[name] = "excluded by the user"
        elif name not in included:
            skipped[name] = "not included by the user"
        elif reason is None:
            chosen[name] = layer
        elif include is not None and name in include:
            raise UnsupportedLayerError(f"layer {name!r} cannot be emulated: {reason}.")
        else:
            skipped[name] = reason
    if not chosen:
        raise UnsupportedLayerError(
            f"the model {type(module).__name__} has no layer to emulate: {skipped or 'no weights'}"
        )
    return chosen, skipped


def _matching(modules: dict[str, nn.Module], patterns: Sequence[str], argument: str) -> set[str]:
    matching: set[str] = set()
    for pattern in patterns:
        found = fnmatch.filter(modules, pattern)
        if not found:
            near = difflib.get_close_matches(pattern, modules, n=3)
            hint = f"; did you mean {', '.join(map(repr, near))}?" if near else "."
            raise UnknownLayerError(f"`{argument}`: no layer matches {pattern!r}{hint}")
        matching.update(found)
    return matching


def _unsupported(layer: nn.Module) -> str | None:
    """Why a module with weights stays in float; None if it can be emulated."""
    if type(layer) in _EMULATED:
        return None
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return f"{type(layer).__name__} stays in float unless it directly follows a layer"
    return f"{type(layer).__name__} is not emulated"


def _replace(module: nn.Module, replacements: dict[int, EmulatedLayer]) -> None:
    """Put each replacement wherever its original stands; a shared layer stays shared."""
    for name, layer in list(module.named_modules(remove_duplicate=False)):
        if id(layer) in replacements:
            _set_submodule(module, name, replacements[id(layer)])


def _set_submodule(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, new)


def _calibrate(
    module: nn.Module, emulated: dict[str, EmulatedLayer], batches: Iterable[Tensor]
) -> None:
    """Run the float network over the batches while every emulated layer watches its input."""
    for layer in emulated.values():
        layer.observing = True
    with torch.no_grad():
        for x in batches:
            module(x)
    for name, layer in emulated.items():
        layer.observing = False
        if layer.histogram.empty:
            raise CalibrationError(f"layer {name!r}: calibration never reached it.")


def _has_products(module: nn.Module) -> bool:
    """Whether a module has weights or multiplies activations."""
    return type(module) is MatMul or next(module.parameters(recurse=False), None) is not None
