"""The assignment around which sensitivities are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from axopt.errors import ArgumentError, UnknownLayerError
from axopt.model import Assignment
from axopt.multipliers import load_library
from axopt.problem import AssignmentProblem, Option
from axopt.sensitivities.measured import Measurements
from axopt.sensitivities.result import EXACT

UNIFORM = "uniform"
LIMITS = {"divergence": 0.1}
"""Objective -> largest loss of a uniform assignment that is a good base: about 3 pp of top-1."""

LIMIT_IN_PERCENT = 3.0
"""The same for errors, in percentage points."""

Around = str | Assignment | Mapping[str, str]


@dataclass(frozen=True)
class Base:
    """The assignment that is changed in one gene at a time.

    Attributes:
        around: What it is, as text; see `Sensitivity.around`.
        options: The option of every gene.
    """

    around: str
    options: tuple[Option, ...]


def label_of(option: Option) -> str:
    """Return the name of an option in results."""
    return option.multiplier.key + " swapped" * option.swap


def base_of(measurements: Measurements, around: Around) -> Base:
    """Return the base that ``around`` names.

    Args:
        measurements: Of the problem; for "uniform", uniform assignments are measured.
        around: "exact", "uniform", the name of a multiplier, or an assignment of layers.

    Raises:
        ArgumentError: If no gene has that multiplier, or an assignment gives the layers of a
            group different multipliers.
        UnknownLayerError: If an assignment names a layer that the model does not have.
    """
    problem = measurements.problem
    if not isinstance(around, str):
        return Base("assignment", _of_layers(problem, around))
    if around == EXACT:
        return Base(EXACT, (Option(problem.reference, False),) * len(problem.genes))
    if around == UNIFORM:
        return _good_uniform(measurements)
    labels = {name for options in problem.options_of_genes for o in options for name in _names(o)}
    if around not in labels:
        raise ArgumentError(
            f"`around` must be {EXACT!r}, {UNIFORM!r} or a multiplier to choose from, got "
            f"{around!r}."
        )
    chosen = [_named(options, around) for options in problem.options_of_genes]
    first = next(option for option in chosen if option is not None)
    exact = Option(problem.reference, False)
    return Base(label_of(first), tuple(exact if o is None else o for o in chosen))


def _named(options: Sequence[Option], name: str) -> Option | None:
    return next((option for option in options if name in _names(option)), None)


def _names(option: Option) -> tuple[str, ...]:
    """Return the names that mean an option."""
    if option.swap:
        return (label_of(option),)
    return (option.multiplier.key, option.multiplier.name)


def _good_uniform(measurements: Measurements) -> Base:
    """Return the uniform assignment with the largest loss within `LIMITS`.

    A loss is the objective less that of the exact network. If no approximate uniform assignment
    is within the limit, that of the least loss is taken.
    """
    problem = measurements.problem
    exact = (Option(problem.reference, False),) * len(problem.genes)
    bases = [Base(EXACT, exact)]
    for genes, option in problem.uniform().items():
        if not option.multiplier.is_exact:
            pairs = zip(problem.options_of_genes, genes, strict=True)
            bases.append(Base(label_of(option), tuple(o[gene] for o, gene in pairs)))
    points = measurements.measure([base.options for base in bases])
    values = [problem.objectives(point)[0] for point in points]
    limit = LIMITS.get(problem.objective_names[0], LIMIT_IN_PERCENT)
    losses = {n: value - values[0] for n, value in enumerate(values) if n}
    if not losses:
        return bases[0]
    within = {n: loss for n, loss in losses.items() if loss <= limit}
    best = max(within, key=lambda n: within[n]) if within else min(losses, key=lambda n: losses[n])
    return bases[best]


def _of_layers(
    problem: AssignmentProblem, around: Assignment | Mapping[str, str]
) -> tuple[Option, ...]:
    """Return the options of genes that an assignment of layers means."""
    exact = Option(problem.reference, False)
    given = _given(problem, around)
    known = {layer for layers in problem.genes.values() for layer in layers}
    for name in given:
        if name not in known:
            raise UnknownLayerError(f"`around`: {name!r} is no emulated layer of the model.")
    chosen = []
    for gene, layers in problem.genes.items():
        options = list(dict.fromkeys(given.get(layer, exact) for layer in layers))
        if len(options) > 1:
            raise ArgumentError(
                f"`around` must give the layers of the group {gene!r} one multiplier, got "
                f"{', '.join(map(label_of, options))}."
            )
        chosen.append(options[0])
    return tuple(chosen)


def _given(
    problem: AssignmentProblem, around: Assignment | Mapping[str, str]
) -> dict[str, Option]:
    library = {
        o.multiplier.key: o.multiplier for options in problem.options_of_genes for o in options
    }
    library.setdefault(problem.reference.key, problem.reference)
    bundled = load_library(narrow=True)

    def multiplier(name: str) -> Option:
        return Option(library.get(name) or bundled[name], False)

    if isinstance(around, Assignment):
        return {
            name: Option(multiplier(entry.multiplier).multiplier, entry.swap)
            for name, entry in around.layers.items()
        }
    if not isinstance(around, Mapping) or not all(isinstance(m, str) for m in around.values()):
        raise ArgumentError(
            "`around` must be a text, an assignment, or a mapping of layers to multipliers, got "
            f"{around!r}."
        )
    return {name: multiplier(of_layer) for name, of_layer in around.items()}
