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

from axopt.exploration import Genes, additive_front, hypervolume

Floats = npt.NDArray[np.float64]

FLOOR = 1e-8
"""Least squared distance of an option, so that logarithms exist."""

PRIOR_WEIGHT = 0.05
"""Weight of a squared log-change of one term, against one squared log-residual of a point."""


@dataclass
class AdditiveModel:
    """Squared distance and power of an assignment as sums over its genes.

    Attributes:
        prior: ``(genes, options)`` squared distances, from sensitivities.
        power: ``(genes, options)`` what each option adds to the relative power; exact.
        terms: ``(genes, options)`` fitted squared distances.
    """

    prior: Floats
    power: Floats
    terms: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.prior = np.maximum(self.prior, FLOOR)
        self.terms = self.prior

    def predicted(self, points: Iterable[Genes]) -> Floats:
        """Return squared distance and power of points, ``(n, 2)``."""
        genes = np.array(list(points)).reshape(-1, len(self.terms))
        layers = np.arange(len(self.terms))
        return np.stack([table[layers, genes].sum(1) for table in (self.terms, self.power)], 1)

    def front(self, terms: Floats | None = None) -> list[Genes]:
        """Return the front of the fitted terms, or of others, by rising power."""
        found = additive_front(list(self.terms if terms is None else terms), list(self.power))
        return [point.genes for point in found]

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
    candidates = [genes for genes in pool if genes not in measured]
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
