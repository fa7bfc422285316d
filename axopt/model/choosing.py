"""Which parts of a model become layers, how, and why others do not."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from axopt.errors import ArgumentError, UnsupportedLayerError
from axopt.layers import CALIBRATORS, LayerOptions, LayerSpec
from axopt.model.interception import Found, Site
from axopt.model.patterns import matching
from axopt.model.reasons import why_float, why_refused
from axopt.modules.called import Called

WEIGHT_SCALES = ("per-channel", "per-tensor")

_EXCLUDED = "excluded by the user"
_NOT_INCLUDED = "not included by the user"

Specs = Mapping[type[nn.Module], LayerSpec]


def refuse(
    module: nn.Module, include: Sequence[str] | None, exclude: Sequence[str], specs: Specs
) -> None:
    """Raise for the first layer that cannot be emulated nor be left in float without a word.

    Before the model runs for the first time, which may change such a layer.
    """
    for name, layer in _multiplying(module, specs):
        refusal = why_refused(layer)
        wanted = include is None or any(fnmatch.fnmatch(name, p) for p in include)
        if refusal and wanted and not any(fnmatch.fnmatch(name, p) for p in exclude):
            raise UnsupportedLayerError(
                f"layer {name!r} cannot be emulated: {refusal}, or exclude this layer."
            )


def choose(
    module: nn.Module,
    include: Sequence[str] | None,
    exclude: Sequence[str],
    specs: Specs,
    sites: Mapping[str, Site],
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Choose the layers to emulate; give the reason for every other module that has weights.

    Args:
        module: The model.
        include: As in `axopt.prepare`.
        exclude: As in `axopt.prepare`.
        specs: Kind of every type of module that can be emulated.
        sites: Products that are called as functions, by name. Names and patterns of the calling
            modules mean them too.
    """
    parts = dict(_multiplying(module, specs))
    named: dict[str, nn.Module] = {**parts, **{name: site.module for name, site in sites.items()}}
    included = matching(named, include, "include") if include is not None else set(named)
    excluded = matching(named, exclude, "exclude")
    chosen: dict[str, nn.Module] = {}
    skipped: dict[str, str] = {}
    for name, layer in named.items():
        owner = sites[name].owner if name in sites else name
        if owner != name and owner in skipped and skipped[owner] in (_EXCLUDED, _NOT_INCLUDED):
            continue  # which the user left out as a whole
        if not excluded.isdisjoint((name, owner)):
            skipped[name] = _EXCLUDED
        elif included.isdisjoint((name, owner)):
            skipped[name] = _NOT_INCLUDED
        elif type(layer) in specs and all(p.numel() for p in layer.parameters()):
            chosen[name] = layer
        elif type(layer) in specs:
            skipped[name] = "has no products: its weight is empty"
        elif (reason := why_float(layer, specs, _own_parameters(layer, sites))) is not None:
            skipped[name] = reason
            if include is not None and name in include:
                raise UnsupportedLayerError(f"layer {name!r} cannot be emulated: {reason}.")
    if not chosen:
        raise UnsupportedLayerError(
            f"the model {type(module).__name__} has no layer to emulate: {skipped or 'no weights'}"
        )
    return chosen, skipped


def unreached(
    chosen: Mapping[str, nn.Module], order: Collection[str], sites: Mapping[str, Site]
) -> dict[str, str]:
    """Return the layers that did not run, unless functions are called with their weights.

    Args:
        chosen: All layers.
        order: Names of those that ran.
        sites: Products that are called as functions, by name.
    """
    return {
        name: "not reached by the first calibration batch"
        for name, layer in chosen.items()
        if name not in order
        and (_own_parameters(layer, sites) or not any(True for _ in layer.parameters()))
    }


def _own_parameters(layer: nn.Module, sites: Mapping[str, Site]) -> list[str]:
    """Names of the parameters of a module that no product uses."""
    used = {
        (id(source.module), source.name)
        for site in sites.values()
        for expression in getattr(site.module, "expressions", ())
        if expression is not None
        for source in expression.sources()
    }
    return [n for n, _ in layer.named_parameters(recurse=False) if (id(layer), n) not in used]


def names_in_float(skipped: Collection[str], sites: Mapping[str, Site]) -> dict[str, str]:
    """Return what the products of modules that stay in float are called, by the module's name.

    Args:
        skipped: Names of all parts that stay in float.
        sites: Products that are called as functions, by name.
    """
    return {name: name for name in skipped} | {
        site.path: name if name in skipped else site.owner for name, site in sites.items()
    }


def functions_in_float(module: nn.Module, found: Found, known: Collection[str]) -> dict[str, str]:
    """Return why products that are called as functions stay in float, by module and function.

    Args:
        module: The model.
        found: Its products.
        known: Modules that are accounted for by their own names; the model itself has none.
    """
    return {
        f"{name or type(module).__name__}: {function}": reason
        for name, functions in found.floats.items()
        if not name or name not in known
        for function, reason in functions.items()
    }


def check_quantisation(options: LayerOptions) -> None:
    if not _is_one_of(options.weight_scales, WEIGHT_SCALES):
        raise ArgumentError(
            f"`weight_scales` must be one of {', '.join(WEIGHT_SCALES)}, "
            f"got {options.weight_scales!r}."
        )
    if not _is_one_of(options.calibrator, CALIBRATORS):
        names = ", ".join(sorted(CALIBRATORS))
        raise ArgumentError(f"`calibrator` must be one of {names}, got {options.calibrator!r}.")


def _is_one_of(value: Any, names: Collection[str]) -> bool:
    return isinstance(value, str) and value in names


def options_by_layer(
    layers: dict[str, nn.Module],
    given: LayerOptions | Mapping[str, LayerOptions] | None,
    usual: LayerOptions,
) -> dict[str, LayerOptions]:
    """Return the options of every layer; those without a quantisation get that of ``usual``."""
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
        check_quantisation(options)
        found.update(dict.fromkeys(matching(layers, [pattern], "layer_options"), options))
    return found


def _multiplying(module: nn.Module, specs: Specs) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of all that have weights of their own or multiply activations, each once."""
    inside: set[str] = set()  # parts of parametrisations, whose tensors are those of the module
    for name, part in module.named_modules():
        if name.rpartition(".")[0] in inside:
            inside.add(name)
        elif parametrize.is_parametrized(part):
            inside.add(f"{name}.parametrizations".lstrip("."))
            yield name, part
        elif isinstance(part, Called):
            continue  # which goes by the name of its site
        elif type(part) in specs or next(part.parameters(recurse=False), None) is not None:
            yield name, part
