"""Fronts of additive models under any known costs, by dynamic programmes.

Two sums need one programme (`additive_front`). Two sums of costs are mixed with several weights. A
cost that is a maximum over genes, as delay, becomes a filter: options above a threshold are left
out, for several thresholds. A bound on the number of kinds of multipliers, or that number as a
cost, becomes a filter too: a few sets of kinds are chosen, and a programme runs for each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from axopt.exploration.additive import front_arrays
from axopt.exploration.exact_costs import ExactCosts, padded
from axopt.exploration.forecast import Forecast
from axopt.exploration.front import non_dominated
from axopt.exploration.space import SearchSpace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Limits = Sequence[float | None]

MOST_FILTERS = 8
_THRESHOLDS = 8
_MOST_KINDS = 8
_BEYOND = 2.0  # a fitted term may be too large by as much
_WEIGHTS = np.geomspace(1e-3, 1e3, 25)


class Programme:
    """Proposes the points that are best if errors are sums of given terms.

    Args:
        space: The search space.
        n_objectives: Number of objectives; what is known of more of them is ignored.
    """

    def __init__(self, space: SearchSpace, n_objectives: int) -> None:
        self._costs = costs = ExactCosts(space, n_objectives)
        self._n_objectives = n_objectives
        self._kinds: Ints | None = None
        self._counts: list[int] = []
        distinct = [k for k, how in costs.combines.items() if how == "distinct"]
        if space.max_kinds is not None:
            self._kinds = np.nan_to_num(padded(space.kinds), nan=-1).astype(np.int64)
            self._counts = [space.max_kinds]
        if distinct:
            self._kinds = np.nan_to_num(costs.tables[distinct[0]], nan=-1).astype(np.int64)
            n_kinds = len(np.unique(self._kinds[self._kinds >= 0]))
            most = min(n_kinds, _MOST_KINDS, space.max_kinds or n_kinds)
            self._counts = list(range(1, most + 1))

    def front(self, terms: Floats, sums: Sequence[Floats], bins: int, limits: Limits = ()) -> Ints:
        """Return points ``(n, genes)`` of the fronts of the sum of ``terms`` and of costs.

        Args:
            terms: ``(genes, options)`` errors; infinite where a gene has no such option.
            sums: Costs that are sums, exact or modelled, as ``terms``.
            bins: See `additive_front`.
            limits: Worst value of interest of every objective, None for no limit; () for none.
        """
        mixes = _mixed(sums)
        found = []
        filters = self._filters(terms, mixes, limits)
        bins //= 1 if len(filters) == 1 else 2
        for mask in filters:
            tables = [
                (of_gene[allowed], [cost[gene][allowed] for cost in mixes], allowed.nonzero()[0])
                for gene, (of_gene, allowed) in enumerate(zip(terms, mask, strict=True))
            ]
            for number in range(len(mixes)):
                genes, _ = front_arrays([(t, costs[number]) for t, costs, _ in tables], bins)
                found.append(_renumbered(genes, [options for *_, options in tables]))
            if not mixes:
                best = np.array([[of_gene.argmin() for of_gene, *_ in tables]])
                found.append(_renumbered(best, [options for *_, options in tables]))
        return np.concatenate(found)

    def predicted_front(
        self, forecast: Forecast, terms: dict[int, Floats], bins: int, limits: Limits
    ) -> tuple[Ints, Floats]:
        """Return the points that are best by some terms, and what is predicted of them.

        Args:
            forecast: Predicts the objectives (without what sums miss), by which dominated points
                are left out.
            terms: Objective -> terms, of all objectives that are not known exactly.
            bins: See `additive_front`.
            limits: See `front`.

        Returns:
            Points ``(n, genes)`` and objectives ``(n, m)``, by rising last objective.
        """

        def table(objective: int) -> Floats:
            known = self._costs.tables.get(objective)
            return terms[objective] if known is None else np.nan_to_num(known, nan=np.inf)

        sums = [
            table(k)
            for k in range(1, self._n_objectives)
            if k in terms or self._costs.combines[k] == "sum"
        ]
        errors = _hopeful(table(0), limits[0] if limits else None, forecast.base(0))
        found = self.front(errors, sums, bins, limits)
        values = forecast.predict_sums(found)
        kept = np.flatnonzero(non_dominated(values))
        kept = kept[np.argsort(values[kept, -1], kind="stable")]
        return found[kept], values[kept]

    def _filters(self, terms: Floats, mixes: Sequence[Floats], limits: Limits) -> list[Mask]:
        """Return which options may be used, in several ways; in each, every gene has one."""
        ways = [
            [table <= at for at in _thresholds(table, limits[objective] if limits else None)]
            for objective, table in self._costs.tables.items()
            if self._costs.combines[objective] == "max"
        ]
        if self._kinds is not None:
            kinds = self._kinds
            sets = _sets_of_kinds(terms, mixes, kinds, self._counts)
            ways.append([np.isin(kinds, chosen) for chosen in sets])
        present = np.isfinite(terms)
        found = [
            np.logical_and.reduce([present, *combined]) for combined in itertools.product(*ways)
        ]
        usable = [mask for mask in found if mask.any(1).all()] or [present]
        if len(usable) <= MOST_FILTERS:
            return usable
        chosen = np.linspace(0, len(usable) - 1, MOST_FILTERS).round().astype(int)
        return [usable[index] for index in chosen]


def _hopeful(terms: Floats, limit: float | None, base: float) -> Floats:
    """Return terms with infinity for options that by themselves go far beyond the limit.

    Without them a programme has less to do, and its levels of cost are closer together.
    """
    if limit is None or limit <= base:
        return terms
    added = terms - terms.min(1, keepdims=True)
    return np.where(added > _BEYOND * (limit - base), np.inf, terms)


def _thresholds(table: Floats, limit: float | None) -> Floats:
    """Return values that a maximum may have, evenly chosen among those within the limit."""
    values = np.unique(table[~np.isnan(table)])
    values = values[values >= np.nanmin(table, axis=1).max()]
    if limit is not None and (values <= limit).any():
        values = values[values <= limit]
    count = min(_THRESHOLDS, len(values))
    return np.asarray(values[np.linspace(0, len(values) - 1, count).round().astype(int)])


def _renumbered(genes: Ints, options: Sequence[Ints]) -> Ints:
    return np.stack([of[chosen] for of, chosen in zip(options, genes.T, strict=True)], 1)


def _mixed(sums: Sequence[Floats]) -> list[Floats]:
    """Return costs to search with: the only one, or weighted sums of all."""
    scaled = []
    for cost in sums:
        finite = np.where(np.isfinite(cost), cost, np.nan)
        span = (np.nanmax(finite, axis=1) - np.nanmin(finite, axis=1)).sum()
        scaled.append(np.nan_to_num(finite) / (span or 1.0))
    if len(scaled) < 2:
        return scaled
    weights = [w for w in itertools.product(range(5), repeat=len(scaled)) if sum(w) == 4]
    return [
        sum((w * cost for w, cost in zip(of, scaled, strict=True)), np.zeros_like(scaled[0]))
        for of in weights
    ]


def _sets_of_kinds(
    terms: Floats, mixes: Sequence[Floats], kinds: Ints, counts: Sequence[int]
) -> list[Ints]:
    """Return sets of few kinds, each the best found for some weight of cost against error.

    For one weight, every gene takes its best option of a kind in the set, so a set is valued by
    one sum, and all additions to it by one array. Sets grow by the best addition and are then
    improved by exchanges.
    """
    names = np.unique(kinds[kinds >= 0])
    found: dict[tuple[int, ...], None] = {}
    for weight in _WEIGHTS if mixes else (0.0,):
        for mix in mixes or [np.zeros_like(terms)]:
            value = terms / max(_typical(terms), 1e-300) + weight * mix
            of_kind = np.stack(
                [np.where(kinds == name, value, np.inf).min(1) for name in names], 1
            )
            for count in counts:
                found[_chosen(of_kind, count)] = None
    return [names[list(chosen)] for chosen in found]


def _typical(terms: Floats) -> float:
    """Return how much errors differ in all genes together, as costs are scaled."""
    finite = np.where(np.isfinite(terms), terms, np.nan)
    return float((np.nanmedian(finite, axis=1) - np.nanmin(finite, axis=1)).sum())


def _chosen(of_kind: Floats, count: int) -> tuple[int, ...]:
    """Return the columns of ``(genes, kinds)`` with the least sum of the least of each row."""
    finite = np.where(np.isfinite(of_kind), of_kind, 1e12)
    chosen: list[int] = []
    for _ in range(min(count, finite.shape[1])):
        best = finite[:, chosen].min(1) if chosen else np.full(len(finite), np.inf)
        chosen.append(int(np.minimum(best[:, None], finite).sum(0).argmin()))
    for _ in range(4):
        before = list(chosen)
        for place in range(len(chosen)):
            rest = chosen[:place] + chosen[place + 1 :]
            best = finite[:, rest].min(1) if rest else np.full(len(finite), np.inf)
            chosen[place] = int(np.minimum(best[:, None], finite).sum(0).argmin())
        if chosen == before:
            break
    return tuple(sorted(set(chosen)))
