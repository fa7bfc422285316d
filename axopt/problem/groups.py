"""Groups of layers that share one multiplier and are one gene of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from axopt.errors import ArgumentError
from axopt.model import matching

Patterns = str | Sequence[str]
"""Names or patterns of layers; one, or several that mean one group together."""

Groups = Mapping[str, Patterns] | Sequence[Patterns]
"""Name -> layers of the group; a group without a name is named by its patterns."""


def genes_of(groups: Groups | None, layers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the layers that each gene of a search stands for: a group, or a single layer.

    Args:
        groups: Layers that share a gene; None for no groups.
        layers: Names of all layers in the order of execution.

    Returns:
        Name of the gene -> its layers, both in the order of execution.

    Raises:
        ArgumentError: If groups overlap, a group has no pattern, or its name is that of a layer
            outside it.
        UnknownLayerError: If a pattern matches no layer.
    """
    group_of: dict[str, str] = {}
    for name, patterns in _named(groups):
        for layer in matching(layers, patterns, "groups"):
            if layer in group_of:
                raise ArgumentError(
                    f"`groups` must not overlap, layer {layer!r} is in {group_of[layer]!r} and "
                    f"in {name!r}."
                )
            group_of[layer] = name
    for layer in layers:
        if layer in group_of.values() and group_of.get(layer) != layer:
            raise ArgumentError(f"`groups`: the layer {layer!r} is not in the group of its name.")
    genes: dict[str, tuple[str, ...]] = {}
    for layer in layers:
        gene = group_of.get(layer, layer)
        genes[gene] = (*genes.get(gene, ()), layer)
    return genes


def _named(groups: Groups | None) -> list[tuple[str, Sequence[str]]]:
    """Return name and patterns of each group."""
    if groups is None:
        return []
    if isinstance(groups, str):
        raise ArgumentError(f"`groups` must be a list or a mapping, got {groups!r}.")
    lists = groups.values() if isinstance(groups, Mapping) else groups
    patterns = [[given] if isinstance(given, str) else list(given) for given in lists]
    names = list(groups) if isinstance(groups, Mapping) else [",".join(p) for p in patterns]
    for name, given in zip(names, patterns, strict=True):
        if not name or not given:
            raise ArgumentError(f"`groups` must have a name and a pattern, got {name!r}: {given}.")
    return list(zip(names, patterns, strict=True))
