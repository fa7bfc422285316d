"""The default algorithm: an additive model, fitted round by round, and the front that it predicts.

The model of the objectives begins with the sensitivities, if they are known. A dynamic programme
gives the front that the model predicts, and the first batch is a spread of it. Every further round
fits the model to all that was measured. Its candidates are the points of the programmes of the
fitted model and of drawn ones, and mutations, crossovers and neighbours of the front. It proposes
those that are expected to add most to the hypervolume.

.. [Jones1998] Jones, Schonlau and Welch, "Efficient global optimization of expensive black-box
   functions", Journal of Global Optimization 13, 1998: expected improvement.
.. [Ginsbourger2010] Ginsbourger, Le Riche and Carraro, "Kriging is well-suited to parallelize
   optimization", 2010: a batch, one point after the other, each taken as measured as predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Unpack

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError
from axopt.exploration.additive import BINS
from axopt.exploration.algorithm import Algorithm, Standard
from axopt.exploration.algorithms import register_algorithm
from axopt.exploration.forecast import Forecast
from axopt.exploration.front import non_dominated
from axopt.exploration.gains import FreeSpace, best_together
from axopt.exploration.predictions import Predictions
from axopt.exploration.programme import Programme
from axopt.exploration.proposals import crossed, distinct, hashed, mutated, neighbours, thinned
from axopt.exploration.space import Genes, SearchSpace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MARGIN = 0.02
"""Share of an objective's range that is left beyond its worst value of interest."""

DRAWS = 2
"""Models drawn from the posterior a round."""

MOST_COMPARED = 400
"""Candidates whose prediction is refined, after a first look by sums alone."""

MOST_NEIGHBOURS = 2000
"""All neighbours of the front are candidates if they are no more than this."""


@register_algorithm("auto")
class Auto(Algorithm):
    """Model the objectives as sums over genes and measure where most is expected.

    Objectives that `SearchSpace.known` holds exactly are never modelled. Without sensitivities the
    model begins with a guess from the costs and learns from what is told.

    Args:
        space: The search space.
        n_objectives: Number of objectives.
        seed: Seeds every random decision.
        population: Not used.
        first: Number of points of the first batch, at least 1.
        batch: Number of points of every further one, at least 1.
        patience: The search ends after that many rounds in a row in which the model expects no
            gain above its own errors, at least 1.

    Raises:
        ArgumentError: If an argument breaks its rule.
    """

    uses_sensitivities: ClassVar[bool] = True
    uses_limits: ClassVar[bool] = True

    def __init__(
        self,
        space: SearchSpace,
        *,
        first: int = 20,
        batch: int = 10,
        patience: int = 2,
        **standard: Unpack[Standard],
    ) -> None:
        super().__init__(space, **standard)
        for name, value in (("first", first), ("batch", batch), ("patience", patience)):
            if value < 1:
                raise ArgumentError(f"`{name}` of auto must be >= 1, got {value}.")
        self._first, self._batch, self._patience = first, batch, patience
        self._rng = np.random.default_rng(self.seed)
        self._sizes = np.array(space.sizes)
        self._forecast = Forecast(space, self.n_objectives)
        self._programme = Programme(space, self.n_objectives)
        self._marked: list[int] = []  # hashes of the points that were proposed or told
        self._told: dict[Genes, tuple[float, ...]] = {}
        self._predictions = Predictions()
        self._hopeless_rounds = 0
        self._asked = False

    def learns_after(self, n_seeds: int) -> int:
        """Return the number of seeds, or the size of the first batch; 0 with sensitivities."""
        return 0 if self.space.known_of(0) is not None else n_seeds or self._first

    def diagnostics(self) -> dict[str, float | int | str]:
        """Return how well the first objective was predicted before it was measured.

        Returns:
            ``n_predicted``, the number of points; ``rank_correlation``, Spearman's, of predicted
            and measured values; ``median_ratio`` of measured over predicted; ``spread``, the
            standard deviation of its logarithm in the latest rounds, which counts as noise. The
            last three are left out for fewer than three points.
        """
        return self._predictions.summary()

    def ask(self) -> list[Genes]:
        """Return the points that are expected to add most to the hypervolume."""
        if self._hopeless_rounds >= self._patience:
            self.stop_reason = "converged"
            return []
        count = self._batch if self._asked else self._first
        points, values = self._measured()
        self._forecast.fit(points, values, self._limits())
        pool = self._pool(points, values)
        chosen = self._chosen(pool, values, count) if len(pool) else []
        if not chosen:
            drawn = (self.unseen.draw() for _ in range(count))
            chosen = [genes for genes in drawn if genes is not None]
        self._asked = True
        for genes in chosen:
            self._mark(genes)
        return chosen

    def tell(self, genes: Sequence[Genes], objectives: Floats) -> None:
        """Learn what was measured."""
        for point, values in zip(genes, objectives, strict=True):
            self._mark(point)
            self._told[point] = tuple(float(value) for value in values)
            self._predictions.measured(point, float(values[0]) - self._forecast.base(0))

    def _measured(self) -> tuple[Ints, Floats]:
        points = np.array(list(self._told), np.int64).reshape(-1, len(self._sizes))
        return points, np.array(list(self._told.values())).reshape(-1, self.n_objectives)

    def _limits(self) -> list[float | None]:
        return list(self.space.limits) or [None] * self.n_objectives

    def _pool(self, points: Ints, values: Floats) -> Ints:
        """Return candidates that were not proposed yet, ``(n, genes)``."""
        predicted = self._predicted_front(self._forecast.terms(), 300, BINS // 2)
        if not self._asked:
            return self._unseen(predicted)
        drawn = [self._predicted_front(self._drawn(), 150, BINS // 4) for _ in range(DRAWS)]
        front = predicted
        if len(points):
            best = points[non_dominated(values)]
            order = np.argsort(values[non_dominated(values)][:, -1], kind="stable")
            front = best[order]
        parents = np.concatenate([front, thinned(predicted, 60)])
        near = [
            mutated(parents, self._sizes, 500, self._rng),
            crossed(front, 150, self._rng),
            crossed(thinned(predicted, 60), 100, self._rng),
        ]
        if len(front) * (self._sizes - 1).sum() <= MOST_NEIGHBOURS:
            near.append(neighbours(front, self._sizes))
        return self._unseen(np.concatenate([predicted, *drawn, *near]))

    def _predicted_front(self, terms: dict[int, Floats], count: int, bins: int) -> Ints:
        limits = self.space.limits
        found, _ = self._programme.predicted_front(self._forecast, terms, bins, limits)
        return thinned(found, count)

    def _drawn(self) -> dict[int, Floats]:
        return {k: model.draw(self._rng) for k, model in self._forecast.models.items()}

    def _unseen(self, points: Ints) -> Ints:
        """Return the distinct points that may be proposed."""
        points = distinct(points)
        may = ~np.isin(hashed(points), np.array(self._marked, np.int64))
        most = self.space.max_kinds
        if most is not None:
            may &= [self.space.n_kinds(tuple(genes)) <= most for genes in points.tolist()]
        return np.asarray(points[may])

    def _mark(self, genes: Genes) -> None:
        self.unseen.mark(genes)
        self._marked.append(int(hashed(np.array([genes]))[0]))

    def _chosen(self, pool: Ints, values: Floats, count: int) -> list[Genes]:
        """Return the points of the pool with the largest expected gains, one after the other.

        If no point is expected to gain, those nearest to the limits are returned.
        """
        guesses = self._forecast.predict_sums(pool)
        corner, span = self._corner(values, guesses)
        free = FreeSpace(values, corner)
        excess = self._excess(guesses, span)
        likely = free.gains(guesses) - excess
        kept = np.argsort(-likely, kind="stable")[:MOST_COMPARED]
        pool, excess = pool[kept], excess[kept]
        predicted = self._forecast.predict(pool)
        self._watch(values, corner, predicted)
        within = np.flatnonzero(excess == 0)
        chosen = within[best_together(predicted[within], values, corner, count)].tolist()
        if not chosen:
            beyond = np.maximum((predicted - corner) / span, 0).sum(1) + excess
            chosen = np.argsort(beyond, kind="stable")[:count].tolist()
        genes = [tuple(pool[index].tolist()) for index in chosen]
        if 0 in self._forecast.models:
            self._predictions.predicted(genes, predicted[chosen, 0] - self._forecast.base(0))
        return genes

    def _watch(self, values: Floats, corner: Floats, predicted: Floats) -> None:
        """Count the rounds in which no candidate gains if its error is one deviation larger.

        While nothing measured is within the limits, no round counts.
        """
        spread = self._predictions.spread()
        if spread is None or not (values < corner).all(1).any():
            return
        base = self._forecast.base(0)
        worse = predicted.copy()
        worse[:, 0] = base + (worse[:, 0] - base) * np.exp(spread)
        hopeful = bool((FreeSpace(values, corner).gains(worse) > 0).any())
        self._hopeless_rounds = 0 if hopeful else self._hopeless_rounds + 1

    def _corner(self, values: Floats, guesses: Floats) -> tuple[Floats, Floats]:
        """Return the worst point of interest, and the range of the objectives.

        It is given by the limits, else by the worst values of the front of what is measured and
        expected. Beyond these and beyond limits of exact costs a margin is left, so that points
        at the edge count too.
        """
        known = np.concatenate([values, guesses])
        span = np.ptp(known, axis=0)
        span = np.where(span > 0, span, 1.0)
        corner = known[non_dominated(known)].max(0) + MARGIN * span
        for objective, limit in enumerate(self._limits()):
            if limit is not None:
                exact = objective not in self._forecast.models
                corner[objective] = limit + MARGIN * span[objective] * exact
        return corner, span

    def _excess(self, guesses: Floats, span: Floats) -> Floats:
        """Return how far exact costs of points are beyond their limits, in ranges, ``(n,)``."""
        found = np.zeros(len(guesses))
        for objective, limit in enumerate(self._limits()):
            if limit is not None and objective not in self._forecast.models:
                found += np.maximum(guesses[:, objective] - limit, 0) / span[objective]
        return found
