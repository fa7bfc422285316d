"""Search with additive knowledge: sensitivities, the programme's front, rounds of refinement.

The squared distance to the exact network's outputs is modelled as a sum over layers. Its terms
start as the sensitivities: the squared distance of one layer changed at a time. Every round refits
the terms to all points measured so far, in log space, and measures the points from which the model
expects most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from axopt.design.selection import Outlook, choose
from axopt.exploration import Genes, additive_front, hypervolume, non_dominated

Floats = npt.NDArray[np.float64]

FLOOR = 1e-8
"""Least squared distance of an option, so that logarithms exist."""

PRIOR_WEIGHT = 0.05
"""Weight of a squared log-change of one term, against one squared log-residual of a point."""

POWERS = (None, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Relative powers for which few multipliers are chosen; None for all powers together."""


@dataclass
class AdditiveModel:
    """Squared distance and power of an assignment as sums over its genes.

    Attributes:
        prior: ``(genes, options)`` squared distances, from sensitivities.
        power: ``(genes, options)`` what each option adds to the relative power; exact.
        exact: The option of the exact multiplier.
        most: Most options that an assignment may use.
        terms: ``(genes, options)`` fitted squared distances.
        sets: Options that assignments choose from; one set of all if ``most`` allows all.
    """

    prior: Floats
    power: Floats
    exact: int
    most: int
    terms: Floats = field(init=False)
    sets: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.prior = np.maximum(self.prior, FLOOR)
        self.terms = self.prior
        count = self.prior.shape[1]
        self.sets = [list(range(count))] if self.most >= count else self._few()

    def _few(self) -> list[list[int]]:
        """Return sets of at most ``most`` options, each the best found for some power."""
        outlook = Outlook(self.prior, self.power)
        others = [option for option in range(self.prior.shape[1]) if option != self.exact]
        found = set()
        for power in POWERS:
            with_exact = choose(outlook, others, self.exact, self.most - 1, power)
            found.add(tuple(sorted([*with_exact, self.exact])))
            found.add(tuple(sorted(choose(outlook, others, self.exact, self.most, power))))
        return [list(columns) for columns in sorted(found)]

    def allows(self, genes: Genes) -> bool:
        """Return whether an assignment uses at most ``most`` options."""
        return len(set(genes)) <= self.most

    def predicted(self, points: Iterable[Genes]) -> Floats:
        """Return squared distance and power of points, ``(n, 2)``."""
        genes = np.array(list(points)).reshape(-1, len(self.terms))
        layers = np.arange(len(self.terms))
        return np.stack([table[layers, genes].sum(1) for table in (self.terms, self.power)], 1)

    def front(self, terms: Floats | None = None) -> list[Genes]:
        """Return the front of the fitted terms, or of others, by rising power."""
        terms = self.terms if terms is None else terms
        points = [
            (point.error, point.cost, tuple(columns[gene] for gene in point.genes))
            for columns in self.sets
            for point in additive_front(list(terms[:, columns]), list(self.power[:, columns]))
        ]
        kept = non_dominated([point[:2] for point in points])
        front = [point for point, keep in zip(points, kept, strict=True) if keep]
        return [genes for _, _, genes in sorted(front, key=lambda point: point[1])]

    def refit(self, points: Sequence[Genes], squared: Floats) -> None:
        """Fit the terms to measured squared distances; terms without evidence keep the prior."""
        genes = torch.tensor(points)
        logs = torch.from_numpy(np.log(np.maximum(squared, FLOOR)))
        prior = torch.from_numpy(self.prior)
        change = torch.zeros_like(prior, requires_grad=True)
        optimiser = torch.optim.LBFGS([change], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimiser.zero_grad()
            terms = prior * change.exp()
            sums = terms[torch.arange(len(terms)), genes].sum(1)
            value = (sums.log() - logs).square().sum() + PRIOR_WEIGHT * change.square().sum()
            value.backward()
            return value

        optimiser.step(loss)
        self.terms = (prior * change.detach().exp()).numpy()


def proposals(
    model: AdditiveModel,
    measured: dict[Genes, float],
    count: int,
    corner: tuple[float, float],
    rng: np.random.Generator,
) -> list[Genes]:
    """Return the points that add most to the hypervolume, as the model predicts.

    Args:
        model: The fitted model.
        measured: Points measured so far, with their squared distances.
        count: Number of points.
        corner: Worst distance and power of interest.
        rng: Source of the drawn terms and of the mutations.
    """
    pool = dict.fromkeys(thinned(model.front(), 200))
    for _ in range(3):
        drawn = model.terms * np.exp(0.3 * rng.standard_normal(model.terms.shape))
        pool.update(dict.fromkeys(thinned(model.front(drawn), 100)))
    pool.update(dict.fromkeys(_mutations(list(pool), model.terms.shape[1], rng)))
    candidates = [genes for genes in pool if genes not in measured and model.allows(genes)]
    predicted = model.predicted(candidates)
    predicted[:, 0] **= 0.5
    known = np.stack([np.sqrt(list(measured.values())), model.predicted(measured)[:, 1]], 1)
    chosen: list[Genes] = []
    for _ in range(min(count, len(candidates))):
        before = hypervolume(known, corner)
        gains = [hypervolume(np.vstack([known, row]), corner) - before for row in predicted]
        best = int(np.argmax(gains))
        chosen.append(candidates.pop(best))
        known = np.vstack([known, predicted[best]])
        predicted = np.delete(predicted, best, 0)
    return chosen


def _mutations(points: Sequence[Genes], options: int, rng: np.random.Generator) -> list[Genes]:
    """Return a copy of every point with one or two genes moved by up to two options."""
    found = []
    for genes in points:
        changed = np.array(genes)
        for gene in rng.choice(len(genes), rng.integers(1, 3), replace=False):
            changed[gene] = np.clip(changed[gene] + rng.integers(-2, 3), 0, options - 1)
        found.append(tuple(changed.tolist()))
    return found


def thinned(points: Sequence[Genes], count: int) -> list[Genes]:
    """Return at most ``count`` points, evenly spaced in their order, the ends included."""
    if len(points) <= count:
        return list(points)
    return [points[i] for i in np.linspace(0, len(points) - 1, count).round().astype(int)]
