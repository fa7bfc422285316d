"""Per-layer choice of multipliers as a problem of genes and objectives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from axopt.corrections import Corrections
from axopt.data import Split
from axopt.errors import ArgumentError
from axopt.evaluation import BATCH_SIZE, METRICS, Evaluation, evaluate
from axopt.exploration import Genes, Outcome, SearchSpace
from axopt.model import (
    Cost,
    EmulatedModel,
    Reestimator,
    allowed_corrections,
    assign_,
    correct_together,
    cost,
)
from axopt.multipliers import Multiplier, MultiplierLibrary, load_library
from axopt.study.groups import Groups, genes_of

OBJECTIVES = ("rel_power", "rel_area", "delay_ns")
"""Cost figures that a search can minimise beside the error."""


@dataclass(frozen=True)
class Option:
    """What one gene value means: a circuit and its operand order."""

    multiplier: Multiplier
    swap: bool


def default_library() -> MultiplierLibrary:
    """The multipliers that a search chooses from unless told: the signed ones of release v1."""
    return load_library().select(release="v1", signed=True)


def options_of(
    library: MultiplierLibrary | Iterable[str | Multiplier] | None, operand_order: bool
) -> tuple[Option, ...]:
    """The meaning of the gene values, by falling power, so that neighbours are alike.

    Args:
        library: Multipliers, or their names in the bundled library; the default library if None.
        operand_order: Whether non-commutative circuits count twice, once for each order.

    Raises:
        ArgumentError: If the library is empty or one name instead of a list.
        MultiplierError: If a multiplier is listed twice.
        UnknownMultiplierError: If a name is unknown.
    """
    if library is None:
        library = default_library()
    elif isinstance(library, str):
        raise ArgumentError(f"`library` must be a list of multipliers, got {library!r}.")
    elif not isinstance(library, MultiplierLibrary):
        bundled = load_library()
        library = MultiplierLibrary(bundled[m] if isinstance(m, str) else m for m in library)
    if not library:
        raise ArgumentError("`library` must hold at least one multiplier, got none.")
    ordered = sorted(library.values(), key=lambda m: (-m.power_mw, m.key))
    return tuple(
        Option(multiplier, swap)
        for multiplier in ordered
        for swap in (False, True)
        if not swap or (operand_order and not multiplier.is_commutative)
    )


class AssignmentProblem:
    """Per-layer choice of multipliers as a problem for the search room.

    The objectives are the validation error of the metric and the cost figures asked for.
    """

    def __init__(
        self,
        emulated: EmulatedModel,
        split: Split,
        options: Sequence[Option],
        *,
        reference: Multiplier | None = None,
        metric: str = "top1",
        costs: Sequence[str] = ("rel_power",),
        correct: bool | Corrections = True,
        reestimate: Split | None = None,
        groups: Groups | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        if metric not in METRICS:
            raise ArgumentError(f"`metric` must be one of {', '.join(METRICS)}, got {metric!r}.")
        wrong = [name for name in costs if name not in OBJECTIVES]
        if wrong or len(set(costs)) != len(costs):
            raise ArgumentError(
                f"`objectives` must be distinct and of {', '.join(OBJECTIVES)}, got {list(costs)}."
            )
        self.emulated = emulated
        self.split = split
        self.options = tuple(options)
        self.reference = reference or _default_reference(options)
        self.metric = METRICS[metric]
        self.costs = tuple(costs)
        self.allowed = allowed_corrections(correct)
        self.reestimate = reestimate
        self._reestimator = (
            None if reestimate is None else Reestimator(emulated, reestimate.batches(batch_size))
        )
        self._orders_chosen = any(option.swap for option in options)
        self.batch_size = batch_size
        self.genes = genes_of(groups, [info.name for info in emulated.layers()])
        self._space = SearchSpace(tuple(self.genes), (len(self.options),) * len(self.genes))

    @property
    def space(self) -> SearchSpace:
        return self._space

    @property
    def objective_names(self) -> tuple[str, ...]:
        return (self.metric.error_name, *self.costs)

    def identity(self) -> dict[str, Any]:
        """Everything that objectives depend on, as plain values."""
        kinds = sorted({option.multiplier.signed for option in self.options})
        groups = {name: list(layers) for name, layers in self.genes.items() if layers != (name,)}
        return {
            **({"groups": groups} if groups else {}),  # stores of searches without have none
            **({"options": self.emulated.options} if self.emulated.options else {}),
            "model": self.emulated.digest,
            "quantisation": [self.emulated.quantisation_digest(signed) for signed in kinds],
            "validation": self.split.digest,
            "metric": self.metric.name,
            "objectives": list(self.objective_names),
            "reference": self.reference.key,
            "corrections": None if self.allowed is None else list(self.allowed.names),
            "reestimated on": None if self.reestimate is None else self.reestimate.digest,
            "calibration": self.emulated.calibration_digest,
            "layers": list(self._space.names),
            "choices": [[c.multiplier.key, c.multiplier.digest, c.swap] for c in self.options],
        }

    def uniform(self) -> dict[Genes, Option]:
        """The points that use one option in every layer."""
        return {(gene,) * len(self.genes): option for gene, option in enumerate(self.options)}

    def apply(self, genes: Genes) -> None:
        """Assign the circuits that ``genes`` stand for, corrected if asked for.

        Corrections choose operand orders, unless these are genes; layers of a group have one.
        """
        chosen = [self.options[gene] for gene in genes]
        fixed = self.allowed is None or self._orders_chosen
        spec = {
            layer: (option.multiplier, option.swap) if fixed else option.multiplier
            for layers, option in zip(self.genes.values(), chosen, strict=True)
            for layer in layers
        }
        assign_(self.emulated, spec, correct=self.allowed or False)
        if not fixed:
            self._agree_on_orders()
        if self._reestimator is not None:
            self._reestimator.apply_()

    def _agree_on_orders(self) -> None:
        emulated = self.emulated.emulated_layers
        for layers in self.genes.values():
            members = [emulated[layer] for layer in layers]
            if self.allowed is not None and len({member.swap for member in members}) > 1:
                correct_together(members, self.allowed)

    def measure(self, split: Split) -> Evaluation:
        """Quality of the present assignment on ``split``."""
        return evaluate(self.emulated, split, self.metric.name, batch_size=self.batch_size)

    def cost(self) -> Cost:
        """Cost of the present assignment."""
        return cost(self.emulated, reference=self.reference)

    def evaluate(self, genes: Genes) -> Outcome:
        self.apply(genes)
        figures = self.cost()
        quality = self.measure(self.split)
        objectives = (
            self.metric.error(quality.value),
            *(getattr(figures, name) for name in self.costs),
        )
        return Outcome(objectives, {"quality": asdict(quality), "rel_power": figures.rel_power})


def _default_reference(options: Sequence[Option]) -> Multiplier:
    """The exact circuit of the kind searched, signed where both are."""
    signed = any(option.multiplier.signed for option in options)
    for option in options:
        if option.multiplier.is_exact and option.multiplier.signed == signed:
            return option.multiplier
    return load_library().exact(signed=signed)
