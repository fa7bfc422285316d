"""The problem of a search: which multiplier each layer gets, as genes and objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from axopt.corrections import BY_POWER, Corrections
from axopt.data import Split
from axopt.errors import ArgumentError
from axopt.evaluation import BATCH_SIZE, Metric, as_metric, parts_of_outputs
from axopt.exploration import Genes, Known, Outcome, SearchSpace
from axopt.model import Cost, EmulatedModel, Memo, Reestimator, allowed_corrections, cost
from axopt.multipliers import Multiplier
from axopt.problem.candidate import Candidate, Candidates
from axopt.problem.chosen import checked_costs, first_objective, values_of
from axopt.problem.constraints import Constraints, uniform_points
from axopt.problem.distinct import fewest, limited
from axopt.problem.groups import Groups, genes_of
from axopt.problem.known import (
    Values,
    check_reachable,
    figures_of_genes,
    kinds_of_genes,
    powers_under_data,
)
from axopt.problem.measuring import Meter, Readings
from axopt.problem.objectives import (
    DIVERGENCE,
    ERROR,
    OBJECTIVES,
    POWER_UNDER_DATA,
    Measured,
    value_of,
)
from axopt.problem.options import Option, default_reference, in_order
from axopt.problem.parts import EvaluatedByParts, PartwiseEvaluation, ValuesOf

DEFAULT_REUSE_MB = 1024
STAGING_RULE = 1
"""Number of the rule by which evaluations stop, part of the identity of a search."""

DIFFERENCES = {
    "model": "the model has other weights or layers than in the run",
    "quantisation": "the model was prepared otherwise (calibration samples, calibrator or weight "
    "scales) than in the run",
    "calibration": "the model was prepared otherwise (calibration samples, calibrator or weight "
    "scales) than in the run",
    "validation": "the validation samples are not those of the run",
    "activity": "gate lists or axopt's cost model are not those of the run",
    "reestimated on": "batch norms are re-estimated on other samples than in the run",
    "staged": "evaluations are staged in one of them only, or by another rule",
}
"""Field of `AssignmentProblem.identity` -> what it means that it differs."""


class AssignmentProblem(EvaluatedByParts):
    """Which multiplier each layer gets, as a problem for `axopt.exploration.run_search`.

    The first objective is ``objective`` on ``split``, then come ``costs``.

    Args:
        emulated: A model made by `prepare`; its assignment changes.
        split: The samples that candidates are measured on.
        options: What a gene may stand for, see `options_of`.
        reference: The exact multiplier that power and area are relative to.
        metric: The metric, see `axopt.evaluate`.
        objective: What is minimised first: a name of `OBJECTIVES`, such as divergence or error (of
            the metric), or of another metric, whose error is meant.
        divergence_outputs: Path of an output -> weight of its divergence, for models with several
            outputs; by default the output that the metric reads.
        costs: Names of `OBJECTIVES` to minimise beside it.
        correct: Whether layers get the corrections that help them, or which ones they may get.
        reestimate: Samples on which batch norms are re-estimated for every candidate, if given.
        groups: Layers that share a gene, see `axopt.search`.
        fixed: Multipliers of fixed layers, see `axopt.search`.
        candidates: Multipliers that layers choose from, see `axopt.search`.
        max_delay_ns: Largest delay of a multiplier that a layer may have, None for any.
        max_power: Largest relative power of interest, a limit of the space; None for any.
        max_multipliers: Most distinct multipliers of an assignment, see `repaired`.
        batch_size: Samples at a time.
        staged: Whether evaluations may stop early, see `axopt.exploration.SampledProblem`. They
            do where ``objective`` is a mean over samples and ``costs`` are known before.
        reuse_mb: Memory in MiB for results of layers that candidates have in common; 0 for none.

    Raises:
        ArgumentError: If an argument breaks its rule.
        UnknownLayerError: If a pattern of ``groups`` matches no layer.

    Example:
        >>> import axopt, torch
        >>> from axopt.data import Split
        >>> from axopt.problem import AssignmentProblem, options_of
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3))
        >>> samples = Split(torch.rand(30, 4), torch.arange(30) % 3)
        >>> emulated = axopt.prepare(net, samples.batches(30))
        >>> options = options_of(["mul8s_1KV8", "mul8s_1L2H"], False)
        >>> problem = AssignmentProblem(emulated, samples, options)
        >>> problem.space.sizes, problem.objective_names
        ((2,), ('divergence', 'rel_power'))
    """

    def __init__(
        self,
        emulated: EmulatedModel,
        split: Split,
        options: Sequence[Option],
        *,
        reference: Multiplier | None = None,
        metric: str | Metric = "top1",
        objective: str = DIVERGENCE,
        divergence_outputs: Mapping[str, float] | None = None,
        costs: Sequence[str] = ("rel_power",),
        correct: bool | Corrections = True,
        reestimate: Split | None = None,
        groups: Groups | None = None,
        fixed: Mapping[str, str | Multiplier] | None = None,
        candidates: Mapping[str, Sequence[str | Multiplier]] | None = None,
        max_delay_ns: float | None = None,
        max_power: float | None = None,
        max_multipliers: int | None = None,
        batch_size: int = BATCH_SIZE,
        staged: bool = True,
        reuse_mb: int = DEFAULT_REUSE_MB,
    ) -> None:
        self.emulated = emulated
        self.split = split
        self.reference = reference or default_reference(options)
        self.genes = genes_of(groups, [info.name for info in emulated.layers()])
        self._orders_are_free = not any(option.swap for option in options)
        constraints = Constraints(fixed or {}, candidates or {}, max_delay_ns)
        self.options_of_genes = constraints.options_of_genes(
            self.genes, options, self.reference, not self._orders_are_free
        )
        self.options = _union(self.options_of_genes)
        self._check_most(max_multipliers)
        self.metric = as_metric(metric)
        self.costs = checked_costs(costs, objective)
        self._objective, self._others = first_objective(objective, self.metric)
        self.allowed = allowed_corrections(correct)
        self._check_multipliers()
        self.reestimate = reestimate
        self.batch_size = batch_size
        self.max_multipliers = max_multipliers
        self._candidates = Candidates(
            emulated,
            self.allowed,
            None if reestimate is None else Reestimator(emulated, reestimate.batches(batch_size)),
        )
        self.compared = parts_of_outputs(self.metric, emulated.adapter, divergence_outputs)
        self._meter = Meter(
            emulated,
            self.metric,
            self.compared if DIVERGENCE in (objective, *costs) else (),
            lambda: self.exact(treated=True).apply_(emulated),
            others=self._others,
            batch_size=batch_size,
        )
        self._divergence_outputs = dict(divergence_outputs or {})
        self._space = self._settled_space(max_power)
        self._staged = staged
        self._memo = Memo(emulated, reuse_mb << 20)

    def _settled_space(self, max_power: float | None) -> SearchSpace:
        kinds = kinds_of_genes(self.options_of_genes, self.options)
        known = self._known(kinds)
        limits: list[float | None] = [None] * len(self.objective_names)
        if max_power is not None:
            limits[self.power_objective] = max_power
            check_reachable("max_power", max_power, known, self.power_objective)
        return SearchSpace(
            tuple(self.genes),
            tuple(map(len, self.options_of_genes)),
            known,
            limits=() if max_power is None else tuple(limits),
            kinds=kinds,
            max_kinds=self.max_multipliers,
        )

    def _check_most(self, most: int | None) -> None:
        """Refuse a cap on distinct multipliers that no point can keep."""
        if most is not None and fewest(self.options_of_genes, most) is None:
            least = fewest(self.options_of_genes, len(self.genes))
            raise ArgumentError(
                f"`max_multipliers` must be at least {least}, got {most}: the layers cannot do "
                "with fewer distinct multipliers, as some are fixed or have candidates."
            )

    def _activity_identity(self) -> dict[str, str]:
        """Return what power under data depends on, if a search uses it.

        Raises:
            CircuitError: If a multiplier has no gate list.
        """
        by_power = self.allowed is not None and self.allowed.order == BY_POWER
        if POWER_UNDER_DATA not in self.costs and not by_power:
            return {}
        from axopt.circuits import activity_digest

        used = [*(option.multiplier for option in self.options), self.reference]
        return {"activity": activity_digest(used)}

    def _check_multipliers(self) -> None:
        """Check that objectives and corrections can be computed for every multiplier."""
        self._activity_identity()
        for name in self.costs:
            check = OBJECTIVES[name].check
            if check is not None:
                for multiplier in {option.multiplier for option in self.options}:
                    check(multiplier)
                check(self.reference)

    @property
    def space(self) -> SearchSpace:
        """The genes, their options, and what is known of objectives before an evaluation."""
        return self._space

    @property
    def objective_names(self) -> tuple[str, ...]:
        """Name of the first objective, then of the costs."""
        first = self._objective.name
        return (self.metric.error_name if first == ERROR else first, *self.costs)

    @property
    def first_unit(self) -> str:
        """Unit of the first objective."""
        first = self._objective
        return self.metric.unit if first.name == ERROR else first.unit

    @property
    def power_objective(self) -> int:
        """Position of the relative power among the objectives.

        Raises:
            ArgumentError: If it is no objective.
        """
        for name in ("rel_power", POWER_UNDER_DATA):
            if name in self.objective_names:
                return self.objective_names.index(name)
        raise ArgumentError(
            f"`max_power` needs the objective rel_power, got {list(self.objective_names)}."
        )

    @property
    def restricted(self) -> tuple[str, ...]:
        """Names of the genes that do not have all options that others have."""
        pairs = zip(self.genes, self.options_of_genes, strict=True)
        return tuple(name for name, of_gene in pairs if of_gene != self.options)

    def identity(self) -> dict[str, Any]:
        """Return everything that objectives depend on, as plain values."""
        kinds = sorted({option.multiplier.signed for option in self.options})
        groups = {name: list(layers) for name, layers in self.genes.items() if layers != (name,)}
        options = [[o.multiplier.key, o.multiplier.digest, o.swap] for o in self.options]
        cap = self.max_multipliers
        number = {option: n for n, option in enumerate(self.options)}
        restricted = {
            name: [number[option] for option in of_gene]
            for name, of_gene in zip(self.genes, self.options_of_genes, strict=True)
            if name in self.restricted
        }
        return {
            **({"options of genes": restricted} if restricted else {}),  # others have none
            **({"groups": groups} if groups else {}),  # stores of searches without have none
            **({} if cap is None else {"max multipliers": cap}),  # likewise
            **(
                {"divergence outputs": self._divergence_outputs}
                if self._divergence_outputs
                else {}
            ),
            **({"objective": self._others[0].name} if self._others else {}),
            **({} if self._values_of() is None else {"staged": STAGING_RULE}),
            **({"options": self.emulated.options} if self.emulated.options else {}),
            **self._activity_identity(),
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
            "choices": options,  # the name that stores of earlier versions have
        }

    def uniform(self) -> dict[Genes, Option]:
        """Return the points that use one option in every layer that may have it.

        A layer that may not have it gets the option that is nearest in power. Points keep
        ``max_multipliers``, and are distinct.

        Returns:
            Point -> the option that it is made for.
        """
        points = uniform_points(self.options_of_genes, self._macs_of_genes())
        found: dict[Genes, Option] = {}
        for genes, option in points.items():
            found.setdefault(self.repaired(genes), option)
        return found

    def repaired(self, genes: Genes) -> Genes:
        """Return the point with at most ``max_multipliers`` distinct multipliers nearest to one.

        While there are more, the multiplier that does the smallest share of the multiplications
        is replaced by the remaining one that is nearest to it in power, if all layers that use it
        may have another one. Multipliers with equal tables count as one. A point within the limit
        stays as it is.

        Args:
            genes: A point of the space.
        """
        if self.max_multipliers is None:
            return genes
        macs = self._macs_of_genes()
        return limited(genes, self.options_of_genes, macs, self.max_multipliers)

    def is_exact(self, genes: Genes) -> bool:
        """Return whether all layers have the reference multiplier.

        Args:
            genes: A point of the space.
        """
        key = self.reference.key
        pairs = zip(self.options_of_genes, genes, strict=True)
        return all(o[g].multiplier.key == key and not o[g].swap for o, g in pairs)

    def candidate(self, genes: Genes, *, treated: bool = True) -> Candidate:
        """Settle what every layer gets.

        Args:
            genes: A point of the space.
            treated: Whether layers are corrected and batch norms re-estimated, as the search
                does; otherwise multipliers and orders are those of the options alone.
        """
        pairs = zip(self.options_of_genes, genes, strict=True)
        return self.settled([of_gene[gene] for of_gene, gene in pairs], treated=treated)

    def settled(self, options: Sequence[Option], *, treated: bool = True) -> Candidate:
        """Settle what every layer gets for options that need not be those of the search.

        Args:
            options: The option of every gene.
            treated: See `candidate`.
        """
        by_layers = dict(zip(self.genes.values(), options, strict=True))
        if not treated:
            return self._candidates.plain(by_layers)
        return self._candidates.of(by_layers, order=self._orders_are_free)

    def exact(self, *, treated: bool) -> Candidate:
        """Settle the reference multiplier in every layer, with or without the treatment."""
        options = [Option(self.reference, False)] * len(self.genes)
        return self.settled(options, treated=treated and self.treats)

    @property
    def treats(self) -> bool:
        """Whether candidates are corrected, or batch norms re-estimated for them."""
        return self._candidates.treated

    def measured(self, candidate: Candidate, split: Split) -> tuple[Measured, Tensor]:
        """Apply and measure a candidate.

        Args:
            candidate: A candidate of this problem.
            split: The samples to measure on.

        Returns:
            Cost and quality, and what the metric kept of each sample.
        """
        self._meter.settle(split)
        candidate.apply_(self.emulated)
        read = self._meter.read(split)
        return self._point(candidate, read), read.samples

    def measured_each(
        self,
        candidates: Sequence[Candidate],
        split: Split,
        memo: Memo,
        on_step: Callable[[int, int], object] | None = None,
    ) -> list[Measured]:
        """Apply and measure several candidates that share the multipliers of their first layers.

        Args:
            candidates: Candidates of this problem.
            split: The samples to measure on.
            memo: Keeps the results of layers that candidates have in common.
            on_step: Called with the number of forward passes done and of all.

        Returns:
            Cost and quality of each candidate, equal to those of `measured`.
        """
        self._meter.settle(split)
        applies = [partial(candidate.apply_, self.emulated) for candidate in candidates]
        points = []
        for candidate, read in zip(
            candidates, self._meter.read_each(split, applies, memo, on_step), strict=True
        ):
            candidate.apply_(self.emulated)
            points.append(self._point(candidate, read))
        return points

    def _point(self, candidate: Candidate, read: Readings) -> Measured:
        """Return what was measured of the candidate that is applied."""
        return Measured(
            candidate,
            self.emulated,
            cost(self.emulated, reference=self.reference),
            read.quality,
            self.metric,
            self._cost_under_data(),
            read.divergence,
            read.others,
            self.reference,
        )

    def _cost_under_data(self) -> Cost | None:
        """Return the cost of the candidate that is applied, if an objective needs it."""
        if POWER_UNDER_DATA not in self.costs:
            return None
        return cost(self.emulated, reference=self.reference, power="activity")

    def objectives(self, point: Measured) -> tuple[float, ...]:
        """Return the objectives of a measured candidate."""
        costs = (OBJECTIVES[name] for name in self.costs)
        return tuple(value_of(objective, point) for objective in (self._objective, *costs))

    def outcome_of(self, candidate: Candidate, kept: Sequence[Tensor]) -> Outcome:
        """Return the outcome of a candidate from what was kept of all validation samples.

        Args:
            candidate: The candidate; it is applied.
            kept: One tensor an observer of the meter, in the stored order of the samples.
        """
        candidate.apply_(self.emulated)
        point = self._point(candidate, self._meter.readings(kept))
        info = {
            "quality": asdict(point.quality),
            "rel_power": point.cost.rel_power,
            **({} if point.divergence is None else {"divergence": point.divergence}),
        }
        return Outcome(self.objectives(point), info)

    @cached_property
    def _partwise(self) -> PartwiseEvaluation:
        return self._meter.partwise(self.split, self._values_of(), self._memo)

    def _values_of(self) -> ValuesOf | None:
        """Return the first objective of each sample, None if evaluations are not staged."""
        known = {one.objective for one in self._space.known if one.exact}
        if not self._staged or not known.issuperset(range(1, 1 + len(self.costs))):
            return None
        return values_of(self._objective, self.metric, self._others)

    def _known(self, kinds: tuple[tuple[int, ...], ...]) -> tuple[Known, ...]:
        """Return what is known of the costs: those that follow from the options."""
        found = []
        for position, name in enumerate(self.costs, start=1):
            objective = OBJECTIVES[name]
            if objective.combine == "distinct":
                values: Values = tuple(tuple(map(float, of_gene)) for of_gene in kinds)
            elif name == POWER_UNDER_DATA:
                values = powers_under_data(
                    self.emulated,
                    list(zip(self.genes.values(), self.options_of_genes, strict=True)),
                    self.reference,
                    self._candidates,
                    order=self._orders_are_free,
                )
            else:
                options, macs = self.options_of_genes, self._macs_of_genes()
                values = figures_of_genes(objective, options, macs, self.reference)
            if values:
                found.append(Known(position, values, exact=True, combine=objective.combine))
        return tuple(found)

    def _macs_of_genes(self) -> list[int]:
        macs = {info.name: info.macs for info in self.emulated.layers()}
        return [sum(macs[name] for name in names) for names in self.genes.values()]


def _union(options: Sequence[tuple[Option, ...]]) -> tuple[Option, ...]:
    """Return the options that some gene has, in the order of the genes if all have the same."""
    first, *others = options
    same = all(of_gene == first for of_gene in others)
    return first if same else in_order(option for of_gene in options for option in of_gene)
