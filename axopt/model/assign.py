"""Assign multipliers to the layers of an emulated model, and read the assignment back."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from axopt.corrections import Corrections
from axopt.errors import ArgumentError, AssignmentError, UnknownLayerError
from axopt.layers import EmulatedLayer, Quantisation, strides_of
from axopt.model.assignment import Assignment, LayerAssignment
from axopt.model.correct import allowed_corrections, correct_layer
from axopt.model.emulated_model import EmulatedModel, check_emulated
from axopt.model.formats import check_widths, formats_entry, parse_formats
from axopt.multipliers import Multiplier, MultiplierLibrary, load_library

OptionSpec = str | Multiplier | tuple[str | Multiplier, bool] | LayerAssignment
"""A multiplier or its name, alone or with the operand order: what one layer may get."""


@torch.inference_mode(False)
def assign_(
    emulated: EmulatedModel,
    spec: OptionSpec | Mapping[str, OptionSpec] | Assignment,
    *,
    library: MultiplierLibrary | None = None,
    correct: bool | Corrections = False,
) -> None:
    """Assign multipliers to layers, in place. After an error the model is unchanged.

    Args:
        emulated: A model made by `prepare`.
        spec: A multiplier, or its name, for all layers; a mapping from layer names to
            multipliers, where layers that are not named keep theirs; or an `Assignment`, which
            must name every layer. An `Assignment` brings quantisation parameters, which stay
            until the next `Assignment`. A pair (multiplier, swap) fixes the operand order too.
        library: Library that names are looked up in; all bundled multipliers by default.
        correct: Whether to correct the layers that get a multiplier, see `correct_`; or the
            `Corrections` that may be used. Layers that an `Assignment` corrects keep its
            corrections. A fixed operand order is kept.

    Raises:
        UnknownLayerError: If a name is not that of an emulated layer.
        UnknownMultiplierError: If the library has no such multiplier.
        ArgumentError: If ``emulated``, ``spec`` or ``correct`` is of another type.
        AssignmentError: If a digest differs from the library's table, the assignment was made
            for another model or leaves a layer out, or its quantisation is malformed.

    Example:
        >>> import axopt
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(64, 8)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), x)
        >>> assign_(emulated, "mul8s_1KV8")
        >>> assign_(emulated, {"0": ("mul8s_1L1G", True)})
        >>> [(info.multiplier, info.swap) for info in emulated.layers()]
        [('v1/mul8s_1L1G', True)]
    """
    check_emulated(emulated)
    library = load_library(narrow=True) if library is None else library
    if not isinstance(library, MultiplierLibrary):
        raise ArgumentError(
            f"`library` must be a MultiplierLibrary, got {type(library).__name__}; "
            "`load_library(directory)` reads one."
        )
    layers = emulated.emulated_layers
    allowed = allowed_corrections(correct)
    if isinstance(spec, Assignment):
        _assign_all(emulated, layers, spec, library)
        uncorrected = [n for n, layer in layers.items() if layer.correction is None]
        orders = dict.fromkeys(uncorrected, True)
    else:
        options = spec if isinstance(spec, Mapping) else dict.fromkeys(layers, spec)
        resolved = {name: _resolve(layers, name, c, library) for name, c in options.items()}
        for name, (multiplier, swap) in resolved.items():
            layers[name].assign(multiplier, swap=swap)
        orders = {name: not isinstance(c, tuple) for name, c in options.items()}
    if allowed is not None:
        for name, free in orders.items():
            order = allowed.order and free
            correct_layer(layers[name], layers[name].swap, replace(allowed, order=order))


def current_assignment(
    emulated: EmulatedModel,
    *,
    source: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    cost: Mapping[str, Any] | None = None,
) -> Assignment:
    """Return the assignment that reproduces the present state of ``emulated``.

    Args:
        emulated: A model made by `prepare`.
        source: Names of the model and the data, kept beside the model's digest.
        metrics: Measured quality to store with the assignment.
        cost: Hardware cost to store with the assignment.

    Raises:
        ArgumentError: If ``emulated`` was not made by `prepare`.

    Example:
        >>> import axopt
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(64, 8)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), x)
        >>> assignment = current_assignment(emulated)
        >>> assignment.layers["0"].multiplier
        'v1/mul8s_1KV8'
    """
    check_emulated(emulated)
    layers = emulated.emulated_layers
    options = {"options": emulated.options} if emulated.options else {}
    return Assignment(
        layers={
            name: LayerAssignment(
                m.multiplier.key,
                m.multiplier.digest,
                m.swap,
                (m.multiplier.bits_a, m.multiplier.bits_w),
            )
            for name, m in layers.items()
        },
        model={
            **(source or {}),
            **options,
            "coverage": emulated.coverage,
            "digest": emulated.digest,
        },
        quantisation={name: formats_entry(layer.quantisation()) for name, layer in layers.items()},
        metrics=metrics or {},
        cost=cost or {},
    )


def _assign_all(
    emulated: EmulatedModel,
    layers: dict[str, EmulatedLayer],
    assignment: Assignment,
    library: MultiplierLibrary,
) -> None:
    resolved = {n: _resolve(layers, n, c, library) for n, c in assignment.layers.items()}
    missing = [name for name in layers if name not in resolved]
    if missing:
        raise AssignmentError(f"the assignment leaves out layer {missing[0]!r}.")
    _check_model(emulated, assignment.model)
    fixed = {
        name: _formats_of(name, entry, layers) for name, entry in assignment.quantisation.items()
    }
    for name, formats in fixed.items():
        check_widths(formats, *resolved[name], f"quantisation[{name!r}]")
    for name, (multiplier, swap) in resolved.items():
        layers[name].assign(multiplier, swap=swap)
        layers[name].release_quantisation()
        if name in fixed and fixed[name].corrections:
            layers[name].correction = fixed[name]
        elif name in fixed:
            strides = strides_of(multiplier, swap)
            layers[name].fix_quantisation(multiplier.signed, fixed[name], strides)


def _check_model(emulated: EmulatedModel, made_for: Mapping[str, Any]) -> None:
    digest = made_for.get("digest")
    if digest is None or digest == emulated.digest:
        return
    theirs, ours = made_for.get("options", {}), emulated.options
    if isinstance(theirs, dict):
        for name in emulated.emulated_layers:
            if theirs.get(name) != ours.get(name):
                raise AssignmentError(
                    f"the assignment was made with other layer options: those of layer {name!r} "
                    f"are {theirs.get(name, 'the defaults')} there and "
                    f"{ours.get(name, 'the defaults')} here."
                )
    raise AssignmentError(
        f"the assignment was made for another model: its `model.digest` is {str(digest)[:12]}"
        f"..., this model's is {emulated.digest[:12]}..."
    )


def _formats_of(name: str, entry: Any, layers: Mapping[str, EmulatedLayer]) -> Quantisation:
    if name not in layers:
        raise AssignmentError(f"quantisation[{name!r}] is not a layer of the model.")
    return parse_formats(entry, layers[name].out_channels, f"quantisation[{name!r}]")


def _resolve(
    layers: Mapping[str, EmulatedLayer], name: str, option: Any, library: MultiplierLibrary
) -> tuple[Multiplier, bool]:
    """Return the multiplier and the operand order that ``option`` means for layer ``name``."""
    if name not in layers:
        near = difflib.get_close_matches(str(name), layers, n=3)
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else "see layers()."
        raise UnknownLayerError(f"{name!r} is not an emulated layer; {hint}")
    swap = False
    if isinstance(option, tuple) and len(option) == 2 and isinstance(option[1], bool):
        option, swap = option
    if isinstance(option, Multiplier):
        return option, swap
    if isinstance(option, str):
        return library[option], swap
    if not isinstance(option, LayerAssignment):
        raise ArgumentError(
            f"`spec[{name!r}]` must be a multiplier or its name, got {type(option).__name__}."
        )
    multiplier = library[option.multiplier]
    if option.digest != multiplier.digest:
        raise AssignmentError(
            f"layer {name!r}: {option.multiplier} has the digest {multiplier.digest[:12]}... in "
            f"the library, the assignment wants {option.digest[:12]}..."
        )
    return multiplier, option.swap
