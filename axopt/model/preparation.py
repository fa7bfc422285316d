"""From a trained model to an emulated one: copy, lower, fold, replace layers, calibrate."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn

from axopt.errors import CalibrationError
from axopt.layers import EmulatedLayer, LayerOptions, LayerSpec, specs_by_type
from axopt.model.adapter import Adapter, Forward
from axopt.model.calibration import (
    calibration_inputs,
    check_float_model,
    check_parameters,
    check_weights,
    patterns_of,
)
from axopt.model.choosing import (
    WEIGHT_SCALES,
    check_quantisation,
    choose,
    functions_in_float,
    names_in_float,
    options_by_layer,
    refuse,
    unreached,
)
from axopt.model.coverage import Coverage
from axopt.model.emulated_model import EmulatedModel
from axopt.model.folding import fold_batch_norms_, set_submodule, take_over_relu_
from axopt.model.interception import Found, find_products, intercept_
from axopt.model.plain import plain_copy
from axopt.model.redirection import keep_forward
from axopt.model.trace import Trace, trace
from axopt.modules.called import Called
from axopt.modules.hooks import keep_hooks
from axopt.modules.recorded import Operation
from axopt.multipliers import Multiplier, load_library
from axopt.multipliers.multiplier import as_multiplier

__all__ = ["WEIGHT_SCALES", "prepare"]


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
    Calls of functions that multiply (``functional.conv2d``, ``functional.linear``, ``@``,
    ``torch.einsum``, ...) become such layers too, named by the module and the function. Recurrent
    networks, ``MultiheadAttention`` and ``functional.scaled_dot_product_attention`` are taken
    apart into layers. A batch norm that is the only consumer of a layer is folded into it.

    Args:
        model: A trained module; it is copied and put in evaluation mode.
        calibration: Batches of inputs, or of (inputs, targets), from the training data; a `Split`
            or the training split of a `Dataset`, which are read in batches of 64; or one tensor,
            which is one batch. Inputs that are a tuple or list are passed as ``model(*inputs)``,
            a mapping as ``model(**inputs)``; see `axopt.model.adapter`.
        calibrator: How activation ranges are chosen from the calibration samples: "minmax",
            "percentile", "mse" or "entropy".
        weight_scales: "per-channel" or "per-tensor".
        multiplier: Initial multiplier of every layer; the bundled exact signed one by default.
        include: Name or pattern (``layer1.*``), or several, of the layers to emulate; all by
            default.
        exclude: Name or pattern, or several, of the layers that stay in float.
        layer_options: Padded taps, accumulators, and quantisation that differs from the arguments
            here. Either one value for all layers, or a mapping from names or patterns; the first
            pattern that matches a layer is used.
        forward: Called as ``forward(model, inputs)`` instead of ``model(inputs)``. `evaluate`,
            `search` and `retrain` use it for the emulated model too.
        output: Path of the output that `evaluate`, `search` and `retrain` use if the model returns
            several, such as "logits", "0" or "head.logits".

    Returns:
        The emulated model. Its ``skipped`` maps the modules that stay in float to the reasons.

    Raises:
        ArgumentError: If an option has an unknown value, or if the model is emulated already or
            holds NaN or infinite weights.
        CalibrationError: If calibration holds no batch, NaN or infinite values, or never reaches
            a layer.
        InputsError: If the model cannot be called with the inputs, or has another precision.
        UnknownLayerError: If a name or pattern matches no module.
        UnsupportedLayerError: If a layer that ``include`` names cannot be emulated, or if the
            model has no layer that can.

    Warns:
        CoverageWarning: If less than 99 % of the multiplications are emulated; names the largest
            products that stay in float.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.conv = nn.Conv2d(1, 4, 3)
        ...         self.weight = nn.Parameter(torch.ones(144, 2))
        ...
        ...     def forward(self, x):
        ...         return self.conv(x).relu().flatten(1) @ self.weight
        >>> emulated = prepare(Net(), torch.rand(32, 1, 8, 8))
        >>> [(layer.name, layer.kind, layer.macs) for layer in emulated.layers()]
        [('conv', 'conv2d', 1296), ('matmul', 'linear', 288)]
        >>> emulated.coverage
        1.0
    """
    with torch.inference_mode(False):  # inference tensors could be neither trained nor traced
        return _prepared(
            model,
            calibration,
            LayerOptions(calibrator=calibrator, weight_scales=weight_scales),
            _checked(multiplier),
            patterns_of(include, "include"),
            patterns_of(exclude, "exclude") or (),
            layer_options,
            Adapter(forward, output),
        )


def _checked(multiplier: Any) -> Multiplier:
    """The multiplier that every layer starts with."""
    if multiplier is None:
        return load_library().exact(signed=True)
    return as_multiplier(multiplier)


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
    check_quantisation(usual)
    check_float_model(model)
    specs = specs_by_type()
    batches = calibration_inputs(calibration, adapter)
    first = next(batches)
    module = plain_copy(model)
    if type(module) in specs:  # a bare layer has no name of its own
        module = nn.Sequential(module)
    check_parameters(module)
    refuse(module, include, exclude, specs)
    found = find_products(module, lambda: adapter.call(module, first))
    sites = intercept_(module, found)
    chosen, skipped = choose(module, include, exclude, specs, sites)
    skipped |= functions_in_float(module, found, known=skipped)
    options = options_by_layer(chosen, layer_options, usual)
    check_weights(chosen)
    known = names_in_float(skipped, sites)
    seen = _trace_channels_last(module, chosen, first, known, adapter, found)
    skipped |= unreached(chosen, seen.order, sites)
    fold_batch_norms_(module, chosen, seen)
    for norm in seen.batch_norms.values():
        del skipped[norm]
    emulated = _built(module, chosen, seen, specs, options, multiplier)
    _replace(module, {id(chosen[name]): layer for name, layer in emulated.items()}, found)
    calibrate = {name: specs[type(chosen[name])].calibrate for name in emulated}
    _calibrate(module, emulated, calibrate, chain([first], batches), adapter)
    coverage = Coverage(seen.macs, seen.left_out)
    coverage.warn()
    return EmulatedModel(
        module,
        emulated,
        coverage,
        skipped=skipped,
        folded=seen.batch_norms,
        fused=seen.relus,
        adapter=adapter,
        paths={name: site.path for name, site in sites.items()},
    ).eval()


def _built(
    module: nn.Module,
    chosen: Mapping[str, nn.Module],
    seen: Trace,
    specs: Mapping[type[nn.Module], LayerSpec],
    options: Mapping[str, LayerOptions],
    multiplier: Multiplier,
) -> dict[str, EmulatedLayer]:
    """Return the emulated layers in the order of their first call; remove the ReLUs they apply."""
    return {
        name: specs[type(chosen[name])].built(
            chosen[name],
            multiplier,
            name=name,
            calibrator=options[name].calibrator,
            per_channel=options[name].weight_scales == "per-channel",
            bounds=take_over_relu_(module, seen.relus.get(name)),
            padded_taps=options[name].padded_taps,
            accumulator=options[name].accumulator,
        )
        for name in seen.order
    }


def _trace_channels_last(
    module: nn.Module,
    layers: dict[str, nn.Module],
    x: Any,
    known: Mapping[str, str],
    adapter: Adapter,
    found: Found,
) -> Trace:
    """Trace with channels-last convolutions, which run faster, if the model can have them.

    Some cannot: a ``view`` that joins channels, rows and columns fails on such tensors. Those
    keep their memory format.
    """
    specs = specs_by_type()
    faster = [layer for layer in layers.values() if specs[type(layer)].channels_last]
    before = [_make_channels_last(layer) for layer in faster]
    try:
        return trace(module, layers, x, known, adapter, found.sources())
    except RuntimeError:
        for restore in before:
            restore()
        return trace(module, layers, x, known, adapter, found.sources())


def _make_channels_last(layer: nn.Module) -> Callable[[], None]:
    """Give a layer a channels-last weight; return a function that restores the weight."""
    if isinstance(layer, Called):
        expressions = layer.expressions
        layer.expressions = (Operation(_channels_last, expressions[:1], {}), expressions[1])
        return functools.partial(setattr, layer, "expressions", expressions)
    weight, data = cast(Tensor, layer.weight), cast(Tensor, layer.weight).data
    weight.data = _channels_last(data)
    return functools.partial(setattr, weight, "data", data)


def _channels_last(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last)


def _replace(module: nn.Module, replacements: dict[int, EmulatedLayer], found: Found) -> None:
    """Put each replacement in every place of its original, so that a shared layer stays shared."""
    for name, layer in list(module.named_modules(remove_duplicate=False)):
        if id(layer) in replacements:
            new = replacements[id(layer)]
            keep_forward(layer, new)
            set_submodule(module, name, keep_hooks(layer, new))
    for source in found.recording.sources:
        source.module = replacements.get(id(source.module), source.module)


def _calibrate(
    module: nn.Module,
    emulated: dict[str, EmulatedLayer],
    calibrate: dict[str, Callable[[EmulatedLayer, bool], None]],
    batches: Iterable[Any],
    adapter: Adapter,
) -> None:
    """Run the float network over the batches while every emulated layer watches its input."""
    for name, layer in emulated.items():
        calibrate[name](layer, True)
    with torch.no_grad():
        for inputs in batches:
            adapter.call(module, inputs)
    for name, layer in emulated.items():
        calibrate[name](layer, False)
        if layer.histogram.empty:
            raise CalibrationError(f"layer {name!r}: calibration never reached it.")
