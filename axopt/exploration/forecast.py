"""Objectives of points that were not measured: known exactly, or modelled as sums over genes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from axopt.exploration.additive_model import AdditiveModel, Prior
from axopt.exploration.exact_costs import ExactCosts, padded
from axopt.exploration.space import Known, SearchSpace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TINY = 1e-12

ESTIMATED = {
    "alone": 0.1,
    "of_kind": 0.1,
    "of_gene": 0.1,
    "overall": 0.3,
    "chain": 0.1,
    "nearby": 0.1,
    "noise": 0.03,
}
"""`Prior.deviations` of an objective whose terms are estimated: sensitivities."""

GUESSED = {**ESTIMATED, "alone": 0.7, "of_kind": 0.7, "of_gene": 0.5, "overall": 5.0}
"""The same where terms are guessed from a cost."""


class Forecast:
    """Predicts all objectives of a space.

    An objective that is not known exactly has an `AdditiveModel` of its values above a *base*:
    0 unless smaller values were estimated or measured.

    Args:
        space: The search space.
        n_objectives: Number of objectives.

    Attributes:
        costs: The objectives that are known exactly.
        models: Objective -> the model of one that is not.
    """

    def __init__(self, space: SearchSpace, n_objectives: int) -> None:
        self.costs = ExactCosts(space, n_objectives)
        self.models: dict[int, AdditiveModel] = {}
        self._bases: dict[int, float] = {}
        self._n_objectives = n_objectives
        for objective in range(n_objectives):
            if objective not in self.costs.tables:
                known = space.known_of(objective)
                if known is not None and known.combine != "sum":
                    known = None
                prior, base = _prior_of(space, self.costs, objective, known)
                self.models[objective] = AdditiveModel(prior)
                self._bases[objective] = base

    def fit(self, points: Ints, values: Floats, limits: list[float | None]) -> None:
        """Fit the models to measured points.

        Args:
            points: ``(n, genes)``.
            values: ``(n, n_objectives)``.
            limits: Worst value of interest of every objective, or None. Points far beyond them
                count less.
        """
        for objective, model in self.models.items():
            measured = values[:, objective]
            base = min([self._bases[objective], *measured])
            self._bases[objective] = base
            lifted = measured - base
            useful = lifted > _TINY
            limit = limits[objective]
            doubt = None
            if limit is not None and limit > base:
                beyond = np.maximum(np.log(np.maximum(lifted, _TINY) / (limit - base)), 0)
                doubt = 0.5 * beyond[useful]
            model.fit(points[useful], lifted[useful], doubt)

    def predict(self, points: Ints) -> Floats:
        """Return the expected objectives of points ``(n, genes)``, ``(n, n_objectives)``."""
        found = np.empty((len(points), self._n_objectives))
        for objective in range(self._n_objectives):
            if objective in self.models:
                lifted = self.models[objective].predict(points)
                found[:, objective] = self._bases[objective] + lifted
            else:
                found[:, objective] = self.costs.of(objective, points)
        return found

    def predict_sums(self, points: Ints) -> Floats:
        """Return about what `predict` does, in less time: models without what sums miss."""
        found = np.empty((len(points), self._n_objectives))
        for objective in range(self._n_objectives):
            if objective in self.models:
                lifted = self.models[objective].predict_sums(points)
                found[:, objective] = self._bases[objective] + lifted
            else:
                found[:, objective] = self.costs.of(objective, points)
        return found

    def terms(self) -> dict[int, Floats]:
        """Return the fitted terms of the objectives that are modelled, by objective."""
        return {objective: model.terms for objective, model in self.models.items()}

    def base(self, objective: int) -> float:
        """Return the value above which an objective is modelled; 0 for one that is exact."""
        return self._bases.get(objective, 0.0)


def _prior_of(
    space: SearchSpace, costs: ExactCosts, objective: int, known: Known | None
) -> tuple[Prior, float]:
    """Return the prior of an objective's terms, and the value above which they add up."""
    kinds = padded(space.kinds or [range(size) for size in space.sizes])
    numbers = np.nan_to_num(kinds, nan=0).astype(np.int64)
    if known is not None:
        terms = padded(known.values)
        least = np.minimum(np.nanmin(terms, axis=1), 0)
        return Prior(terms - least[:, None], numbers, ESTIMATED), float(least.sum())
    return Prior(_shape(space, costs, objective), numbers, GUESSED), 0.0


def _shape(space: SearchSpace, costs: ExactCosts, objective: int) -> Floats:
    """Return terms for an objective of which nothing is known, from a cost that is known.

    Errors rise with what is saved: they are guessed as the square of the share saved.
    """
    flat = padded([[1 / len(space.sizes)] * size for size in space.sizes])
    sums = [costs.tables[k] for k, how in costs.combines.items() if how == "sum"]
    if not sums or np.nanmin(sums[0]) < 0:
        return flat
    most = np.nanmax(sums[0], axis=1, keepdims=True)
    if (most <= 0).any():
        return flat
    if objective > 0:
        return sums[0] + 0.01 * flat
    return np.asarray(most / most.sum() * (0.01 + (1 - sums[0] / most) ** 2))
