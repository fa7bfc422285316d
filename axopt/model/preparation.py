"""From a trained model to an emulated one: copy, lower, fold, replace layers, calibrate."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from axopt.errors import (
    ArgumentError,
    CalibrationError,
    UnsupportedLayerError,
)
from axopt.layers import (
    CALIBRATORS,
    EmulatedConv1d,
    EmulatedConv2d,
    EmulatedConv3d,
    EmulatedConvTranspose1d,
    EmulatedConvTranspose2d,
    EmulatedConvTranspose3d,
    EmulatedLayer,
    EmulatedLinear,
    EmulatedMatMul,
    LayerOptions,
)
from axopt.model.adapter import Adapter, Forward
from axopt.model.calibration import (
    calibration_inputs,
    check_float_model,
    check_parameters,
    check_weights,
    patterns_of,
)
from axopt.model.coverage import Coverage
from axopt.model.emulated_model import EmulatedModel
from axopt.model.functional import product_calls, redirect_attention_, unredirected
from axopt.model.patterns import matching
from axopt.model.plain import plain_copy
from axopt.model.reasons import why_float, why_refused
from axopt.model.trace import RECTIFIERS, Trace, trace
from axopt.modules import MatMul
from axopt.modules.hooks import keep_hooks
from axopt.multipliers import Multiplier, load_library

WEIGHT_SCALES = ("per-channel", "per-tensor")

# Subclasses and parametrised layers may compute something else: only the types themselves.
_EMULATED: dict[type[nn.Module], Callable[..., EmulatedLayer]] = {
    nn.Conv1d: EmulatedConv1d,
    nn.Conv2d: EmulatedConv2d,
    nn.Conv3d: EmulatedConv3d,
    nn.ConvTranspose1d: EmulatedConvTranspose1d,
    nn.ConvTranspose2d: EmulatedConvTranspose2d,
    nn.ConvTranspose3d: EmulatedConvTranspose3d,
    nn.Linear: EmulatedLinear,
    MatMul: EmulatedMatMul,
}


def prepare(
    model: nn.Module,
    calibration: Any,
    *,
    calibrator: str = "mse",
    weight_scales: str = "per-channel",
    multiplier: Multiplier | None = None,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    layer_options: LayerOptions | Mapping[str, LayerOptions] | None = None,
    forward: Forward | None = None,
    output: str | None = None,
) -> EmulatedModel:
    """Make an emulated copy of ``model``; the original is left as it is.

    Every convolution, transposed convolution, ``Linear`` and `axopt.modules.MatMul` is quantised
    to 8 bits and computes its products with the exact multiplier, until `assign_` chooses others.
    Recurrent networks and ``MultiheadAttention`` are taken apart into such layers, and so are
    calls of ``functional.scaled_dot_product_attention``. Batch norms that directly follow a layer
    are folded into it.

    Args:
        model: A trained module; it is copied and put in evaluation mode.
        calibration: Batches of inputs, or of (inputs, targets), from the training data; a `Split`
            or the training split of a `Dataset`, which are read in batches of 64; or one tensor,
            which is one batch. Inputs that are a tuple or list are passed as ``model(*inputs)``,
            a mapping as ``model(**inputs)``; see `axopt.model.adapter`.
        calibrator: "minmax", "percentile", "mse" or "entropy": how activation ranges follow
            from what calibration sees.
        weight_scales: "per-channel" or "per-tensor".
        multiplier: What every layer starts with; the bundled exact signed circuit by default.
        include: Name or pattern (``layer1.*``), or several, of the layers to emulate; all by
            default.
        exclude: Name or pattern, or several, of the layers that stay in float.
        layer_options: How layers are emulated: padded taps, accumulators, and quantisation where
            it differs from the arguments here. For all layers, or by names or patterns, of which
            the first that matches a layer is used.
        forward: Called as ``forward(model, inputs)`` for models that are called in another way.
            `evaluate`, `search` and `retrain` call the emulated model by it too.
        output: Which output these use of a model that returns several: a path such as "logits",
            "0" or "head.logits".

    Returns:
        The emulated model; layers that were not converted are in its ``skipped``, and so are
        products that a module computes by calling a function, as "module: function".

    Raises:
        ArgumentError: If an option has an unknown value, or if the model is emulated already or
            holds NaN or infinite weights.
        CalibrationError: If calibration holds no batch, NaN or infinite values, or never reaches
            a layer.
        UnknownLayerError: If a name or pattern matches no module.
        UnsupportedLayerError: If a layer that ``include`` names cannot be emulated, or if the
            model has no layer that can.
    """
    with torch.inference_mode(False):  # whose tensors could neither be trained nor watched
        return _prepared(
            model,
            calibration,
            LayerOptions(calibrator=calibrator, weight_scales=weight_scales),
            multiplier or load_library().exact(signed=True),
            patterns_of(include),
            patterns_of(exclude) or (),
            layer_options,
            Adapter(forward, output),
        )


def _prepared(
    model: nn.Module,
    calibration: Any,
    usual: LayerOptions,
    multiplier: Multiplier,
    include: Sequence[str] | None,
    exclude: Sequence[str],
    layer_options: LayerOptions | Mapping[str, LayerOptions] | None,
    adapter: Adapter,
) -> EmulatedModel:
    _check_quantisation(usual)
    check_float_model(model)
    batches = calibration_inputs(calibration, adapter)
    first = next(batches)
    module = plain_copy(model)
    if type(module) in _EMULATED:  # a bare layer has no name of its own
        module = nn.Sequential(module)
    check_parameters(module)
    _refuse(module, include, exclude)
    calls = product_calls(module, first, adapter)
    redirect_attention_(module, calls)
    chosen, skipped = _choose(module, include, exclude)
    skipped |= unredirected(module, calls, known={*chosen, *skipped})
    options = _options_by_layer(chosen, layer_options, usual)
    check_weights(chosen)
    seen = _trace_channels_last(module, chosen, first, skipped, adapter)
    for name in set(chosen) - set(seen.order):
        skipped[name] = "not reached by the first calibration batch"
    _fold_batch_norms(module, seen)
    for norm in seen.batch_norms.values():
        del skipped[norm]
    emulated = {}
    for name in seen.order:
        emulated[name] = _EMULATED[type(chosen[name])](
            chosen[name],
            multiplier,
            name=name,
            calibrator=options[name].calibrator,
            per_channel=options[name].weight_scales == "per-channel",
            bounds=_take_over_rectifier(module, seen.rectifiers.get(name)),
            padded_taps=options[name].padded_taps,
            accumulator=options[name].accumulator,
        )
    _replace(module, {id(chosen[name]): layer for name, layer in emulated.items()})
    _calibrate(module, emulated, chain([first], batches), adapter)
    coverage = Coverage(seen.macs, seen.left_out)
    return EmulatedModel(
        module,
        emulated,
        coverage,
        skipped=skipped,
        folded=seen.batch_norms,
        fused=seen.rectifiers,
        adapter=adapter,
    ).eval()


def _check_quantisation(options: LayerOptions) -> None:
    if options.weight_scales not in WEIGHT_SCALES:
        raise ArgumentError(
            f"`weight_scales` must be one of {', '.join(WEIGHT_SCALES)}, "
            f"got {options.weight_scales!r}."
        )
    if options.calibrator not in CALIBRATORS:
        names = ", ".join(sorted(CALIBRATORS))
        raise ArgumentError(f"`calibrator` must be one of {names}, got {options.calibrator!r}.")


def _options_by_layer(
    layers: dict[str, nn.Module],
    given: LayerOptions | Mapping[str, LayerOptions] | None,
    usual: LayerOptions,
) -> dict[str, LayerOptions]:
    """The options of every layer, with the usual quantisation where they say none."""
    if given is None:
        return dict.fromkeys(layers, usual)
    by_pattern = given if isinstance(given, Mapping) else {"*": given}
    found = dict.fromkeys(layers, usual)
    for pattern, options in reversed(list(by_pattern.items())):  # so that the first one stays
        if not isinstance(options, LayerOptions):
            raise ArgumentError(
                f"`layer_options[{pattern!r}]` must be LayerOptions, got {type(options).__name__}."
            )
        options = replace(
            options,
            calibrator=options.calibrator or usual.calibrator,
            weight_scales=options.weight_scales or usual.weight_scales,
        )
        _check_quantisation(options)
        found.update(dict.fromkeys(matching(layers, [pattern], "layer_options"), options))
    return found


def _trace_channels_last(
    module: nn.Module,
    layers: dict[str, nn.Module],
    x: Any,
    known: Collection[str],
    adapter: Adapter,
) -> Trace:
    """Trace with channels-last convolutions, which run faster, if the model can have them.

    Some cannot: a ``view`` that joins channels, rows and columns fails on such tensors. Those
    keep their memory format.
    """
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    convolutions = [layer for layer in layers.values() if isinstance(layer, kinds)]
    before = [layer.weight.data for layer in convolutions]
    for layer in convolutions:
        layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    try:
        return trace(module, layers, x, known, adapter)
    except RuntimeError:
        for layer, data in zip(convolutions, before, strict=True):
            layer.weight.data = data
        return trace(module, layers, x, known, adapter)


def _take_over_rectifier(module: nn.Module, name: str | None) -> tuple[float, float] | None:
    """Replace the rectifier by an identity of the same name; return what it clamps to."""
    if name is None:
        return None
    bounds = RECTIFIERS[type(module.get_submodule(name))]
    _set_submodule(module, name, nn.Identity())
    return bounds


def folded_copy(model: nn.Module, x: Tensor) -> nn.Module:
    """A float copy whose batch norms are folded into layers as `prepare` folds them.

    Args:
        model: In evaluation mode.
        x: An input of it, of one sample.
    """
    module = copy.deepcopy(model)
    layers = {name: part for name, part in module.named_modules() if type(part) in _EMULATED}
    _fold_batch_norms(module, trace(module, layers, x))
    return module


def _fold_batch_norms(module: nn.Module, seen: Trace) -> None:
    """Fold the batch norms that ``seen`` found into the layers before them, in place.

    With s = gamma / sqrt(variance + eps): weight' = s weight, bias' = beta + s (bias - mean),
    in float64. The batch norm becomes an identity of the same name.
    """
    for layer_name, norm_name in seen.batch_norms.items():
        layer = cast(nn.Linear, module.get_submodule(layer_name))
        norm = cast(nn.BatchNorm2d, module.get_submodule(norm_name))
        _fold(layer, norm)
        _set_submodule(module, norm_name, nn.Identity())


def _fold(layer: nn.Linear, norm: nn.BatchNorm2d) -> None:
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = torch.rsqrt(variance.double() + norm.eps)
    shift = torch.zeros_like(scale)
    if norm.affine:
        scale, shift = scale * norm.weight.detach().double(), norm.bias.detach().double()
    weight = layer.weight.detach()
    bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().double()
    folded = weight.double() * _by_output(layer, scale)
    layer.weight = nn.Parameter(folded.to(weight.dtype))
    layer.bias = nn.Parameter((shift + scale * (bias - mean.double())).to(weight.dtype))


def _by_output(layer: nn.Module, values: Tensor) -> Tensor:
    """One value an output channel, broadcastable against the weight of a layer."""
    ndim = cast(Tensor, layer.weight).ndim
    if not isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return values.view(-1, *(1,) * (ndim - 1))
    inputs = layer.in_channels // layer.groups
    by_group = values.view(layer.groups, -1).repeat_interleave(inputs, dim=0)
    return by_group.view(*by_group.shape, *(1,) * (ndim - 2))


def _refuse(module: nn.Module, include: Sequence[str] | None, exclude: Sequence[str]) -> None:
    """Raise for the first layer that cannot be emulated nor be left in float without a word.

    Before the model runs for the first time, which may change such a layer.
    """
    for name, layer in _multiplying(module):
        refusal = why_refused(layer)
        wanted = include is None or any(fnmatch.fnmatch(name, p) for p in include)
        if refusal and wanted and not any(fnmatch.fnmatch(name, p) for p in exclude):
            raise UnsupportedLayerError(
                f"layer {name!r} cannot be emulated: {refusal}, or exclude this layer."
            )


def _choose(
    module: nn.Module, include: Sequence[str] | None, exclude: Sequence[str]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The layers to emulate, and the reason for every other module that has weights."""
    weighted = dict(_multiplying(module))
    included = matching(weighted, include, "include") if include is not None else set(weighted)
    excluded = matching(weighted, exclude, "exclude")
    chosen: dict[str, nn.Module] = {}
    skipped: dict[str, str] = {}
    for name, layer in weighted.items():
        if name in excluded:
            skipped[name] = "excluded by the user"
        elif name not in included:
            skipped[name] = "not included by the user"
        elif type(layer) in _EMULATED and all(p.numel() for p in layer.parameters()):
            chosen[name] = layer
        elif type(layer) in _EMULATED:
            skipped[name] = "has no products: its weight is empty"
        else:
            skipped[name] = why_float(layer, _EMULATED)
            if include is not None and name in include:
                raise UnsupportedLayerError(f"layer {name!r} cannot be emulated: {skipped[name]}.")
    if not chosen:
        raise UnsupportedLayerError(
            f"the model {type(module).__name__} has no layer to emulate: {skipped or 'no weights'}"
        )
    return chosen, skipped


def _replace(module: nn.Module, replacements: dict[int, EmulatedLayer]) -> None:
    """Put each replacement wherever its original stands; a shared layer stays shared."""
    for name, layer in list(module.named_modules(remove_duplicate=False)):
        if id(layer) in replacements:
            _set_submodule(module, name, keep_hooks(layer, replacements[id(layer)]))


def _set_submodule(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, new)


def _calibrate(
    module: nn.Module,
    emulated: dict[str, EmulatedLayer],
    batches: Iterable[Any],
    adapter: Adapter,
) -> None:
    """Run the float network over the batches while every emulated layer watches its input."""
    for layer in emulated.values():
        layer.observing = True
    with torch.no_grad():
        for inputs in batches:
            adapter.call(module, inputs)
    for name, layer in emulated.items():
        layer.observing = False
        if layer.histogram.empty:
            raise CalibrationError(f"layer {name!r}: calibration never reached it.")


def _multiplying(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of all that have weights of their own or multiply activations, each once."""
    inside: set[str] = set()  # parts of parametrisations, whose tensors are those of the module
    for name, part in module.named_modules():
        if name.rpartition(".")[0] in inside:
            inside.add(name)
        elif parametrize.is_parametrized(part):
            inside.add(f"{name}.parametrizations".lstrip("."))
            yield name, part
        elif type(part) is MatMul or next(part.parameters(recurse=False), None) is not None:
            yield name, part
