"""The options of every gene: layers that are fixed, layers that have candidates of their own."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from axopt.errors import ArgumentError, UnknownMultiplierError
from axopt.model import matching
from axopt.multipliers import Multiplier, MultiplierLibrary, load_library
from axopt.problem.options import Option, in_order, nearest, options_of

EXACT = "exact"
"""The reference multiplier, as a value of ``fixed`` or ``candidates``."""


@dataclass(frozen=True)
class Constraints:
    """Which options layers may have.

    Attributes:
        fixed: Name or pattern of layers -> their multiplier, or its name. "exact" is the
            reference. It need not be one of the multipliers that other layers choose from.
        candidates: Name or pattern of layers -> multipliers, or names and patterns of these, that
            the layers choose from. A layer that several patterns match has what all of them
            allow.
        max_delay_ns: Largest delay of a multiplier in ns, None for any.

    Example:
        >>> from axopt.problem import options_of
        >>> options = options_of(["mul8s_1KV8", "mul8s_1L2H"], False)
        >>> constraints = Constraints(fixed={"conv*": "exact"})
        >>> found = constraints.options_of_genes(
        ...     {"conv1": ("conv1",), "fc": ("fc",)}, options, options[0].multiplier, False
        ... )
        >>> [[option.multiplier.name for option in of_gene] for of_gene in found]
        [['mul8s_1KV8'], ['mul8s_1KV8', 'mul8s_1L2H']]
    """

    fixed: Mapping[str, str | Multiplier] = field(default_factory=dict)
    candidates: Mapping[str, Sequence[str | Multiplier]] = field(default_factory=dict)
    max_delay_ns: float | None = None

    def options_of_genes(
        self,
        genes: Mapping[str, Sequence[str]],
        options: Sequence[Option],
        reference: Multiplier,
        operand_order: bool,
    ) -> tuple[tuple[Option, ...], ...]:
        """Return the options of every gene, by falling power.

        Args:
            genes: Name of a gene -> its layers.
            options: The options of a gene without constraints.
            reference: The multiplier that "exact" means.
            operand_order: Whether operand orders are options, of fixed multipliers too.

        Raises:
            ArgumentError: If constraints contradict each other or leave a layer no option.
            UnknownLayerError: If a pattern matches no layer.
            UnknownMultiplierError: If a name is unknown.
        """
        layers = [name for names in genes.values() for name in names]
        searched = MultiplierLibrary({o.multiplier.key: o.multiplier for o in options}.values())
        rules = self._rules(layers, searched, reference)
        found = []
        for gene, names in genes.items():
            allowed = _agreed(gene, {name: rules[name] for name in names if name in rules}, names)
            of_gene = options if allowed is None else options_of(allowed, operand_order)
            found.append(self._fast_enough(gene, of_gene))
        return tuple(found)

    def _rules(
        self, layers: Sequence[str], searched: MultiplierLibrary, reference: Multiplier
    ) -> dict[str, tuple[str, tuple[Multiplier, ...]]]:
        """Return what restricts each layer: words for messages, and the multipliers allowed."""
        rules: dict[str, tuple[str, tuple[Multiplier, ...]]] = {}
        given = [
            *(
                (p, "fixed", (_multiplier("fixed", p, value, searched, reference),))
                for p, value in self.fixed.items()
            ),
            *(
                (p, "candidates", _candidates("candidates", p, values, searched, reference))
                for p, values in self.candidates.items()
            ),
        ]
        for pattern, argument, allowed in given:
            said = f"`{argument}` of {pattern!r}"
            for layer in sorted(matching(layers, [pattern], argument), key=layers.index):
                before, other = rules.get(layer, (said, allowed))
                keys = {multiplier.key for multiplier in allowed}
                both = tuple(multiplier for multiplier in other if multiplier.key in keys)
                if not both:
                    raise ArgumentError(
                        f"{said} contradicts {before} for the layer {layer!r}: "
                        f"{_keys(allowed)} and {_keys(other)} have no multiplier in common."
                    )
                rules[layer] = (said if before == said else f"{before} and {said}", both)
        return rules

    def _fast_enough(self, gene: str, options: Sequence[Option]) -> tuple[Option, ...]:
        limit = self.max_delay_ns
        if limit is None:
            return tuple(options)
        fast = tuple(o for o in options if o.multiplier.delay_ns <= limit)
        if not fast:
            least = min(option.multiplier.delay_ns for option in options)
            raise ArgumentError(
                f"`max_delay_ns` must leave {gene!r} a multiplier, got {limit}; the fastest one "
                f"that it may have takes {least} ns."
            )
        return fast


def _candidates(
    argument: str,
    pattern: str,
    values: Sequence[str | Multiplier],
    searched: MultiplierLibrary,
    reference: Multiplier,
) -> tuple[Multiplier, ...]:
    """Return the multipliers that ``values`` name, each once."""
    if isinstance(values, str | Multiplier) or not values:
        raise ArgumentError(
            f"`{argument}` of {pattern!r} must be a list of at least one multiplier, got "
            f"{values!r}."
        )
    found: dict[str, Multiplier] = {}
    for value in values:
        if isinstance(value, str) and any(c in value for c in "*?["):
            form = value if "/" in value else f"*/{value}"
            matches = [searched[key] for key in fnmatch.filter(searched, form)]
            if not matches:
                raise ArgumentError(
                    f"`{argument}` of {pattern!r}: {value!r} matches none of the {len(searched)} "
                    "multipliers to choose from."
                )
        else:
            matches = [_multiplier(argument, pattern, value, searched, reference)]
        found.update((multiplier.key, multiplier) for multiplier in matches)
    return tuple(found.values())


def _multiplier(
    argument: str,
    pattern: str,
    value: str | Multiplier,
    searched: MultiplierLibrary,
    reference: Multiplier,
) -> Multiplier:
    """Return the multiplier of a name: one to choose from, else of the bundled library."""
    if isinstance(value, str) and value != EXACT:
        try:
            return searched[value] if value in searched else load_library(narrow=True)[value]
        except UnknownMultiplierError as error:
            raise UnknownMultiplierError(f"`{argument}` of {pattern!r}: {error}") from None
    multiplier = reference if value == EXACT else value
    if not isinstance(multiplier, Multiplier):
        raise ArgumentError(
            f"`{argument}` of {pattern!r} must name a multiplier, got {multiplier!r}."
        )
    if multiplier.key not in searched:
        return multiplier
    same = searched[multiplier.key]
    if (same.signed, same.digest) != (multiplier.signed, multiplier.digest):
        raise ArgumentError(
            f"`{argument}` of {pattern!r} must not be another multiplier than the one to choose "
            f"from that is called {multiplier.key}."
        )
    return same


def _agreed(
    gene: str,
    rules: Mapping[str, tuple[str, tuple[Multiplier, ...]]],
    layers: Sequence[str],
) -> tuple[Multiplier, ...] | None:
    """Return the multipliers that the layers of a gene may have, None for any.

    Raises:
        ArgumentError: If they may have different ones.
    """
    if not rules:
        return None
    first, (said, allowed) = next(iter(rules.items()))
    for layer in layers:
        other = rules.get(layer)
        if other is None or {m.key for m in other[1]} != {m.key for m in allowed}:
            has = "no constraint" if other is None else f"{other[0]}: {_keys(other[1])}"
            raise ArgumentError(
                f"{said} must hold for all layers of the group {gene!r}, which have one "
                f"multiplier: {first!r} has {_keys(allowed)}, {layer!r} has {has}."
            )
    return allowed


def _keys(multipliers: Sequence[Multiplier]) -> str:
    return ", ".join(multiplier.key for multiplier in multipliers)


def uniform_points(
    options: Sequence[Sequence[Option]], macs: Sequence[int]
) -> dict[tuple[int, ...], Option]:
    """Return the points that use one option in every gene that has it.

    Other genes get the option that is nearest in power. Every option gives a point that some gene
    can choose; of equal points the one is kept whose option does most multiplications.

    Args:
        options: The options of every gene.
        macs: Multiplications of every gene.

    Returns:
        Point -> the option that it is made for, by falling power.
    """
    free = [of_gene for of_gene in options if len(of_gene) > 1] or options
    points: dict[tuple[int, ...], Option] = {}
    shares: dict[tuple[int, ...], int] = {}
    for wanted in in_order(option for of_gene in free for option in of_gene):
        genes = tuple(of_gene.index(nearest(of_gene, wanted)) for of_gene in options)
        share = sum(
            n for n, of_gene, g in zip(macs, options, genes, strict=True) if of_gene[g] == wanted
        )
        if share > shares.get(genes, -1):
            points[genes], shares[genes] = wanted, share
    return points
