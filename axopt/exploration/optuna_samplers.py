"""Optuna's samplers behind the ask/tell interface.

Optuna repeats points, a third to a half of its trials in small spaces, and does not remember
their values. Here a repeated point is told its known values at once and another point is asked
for. After `_MAX_REPEATS` repeats in a row an unseen neighbour of the last one is proposed.

.. [Ozaki2022] Ozaki et al., "Multiobjective tree-structured Parzen estimator", JAIR 73, 2022.
.. [Daulton2020] Daulton et al., "Differentiable expected hypervolume improvement for parallel
   multi-objective Bayesian optimization", NeurIPS 2020.
.. [Deb2002] Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II",
   IEEE Transactions on Evolutionary Computation 6 (2), 2002.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Unpack

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError
from axopt.exploration.algorithm import Algorithm, Standard, check_shares
from axopt.exploration.algorithms import register_algorithm
from axopt.exploration.front import non_dominated
from axopt.exploration.space import Genes, SearchSpace

if TYPE_CHECKING:
    import optuna

_MAX_REPEATS = 4


class OptunaSearch(Algorithm):
    """One proposal at a time from an Optuna sampler, over an in-memory study."""

    repeats_count: ClassVar[bool] = True
    """Whether the sampler learns the values of a point again that it repeats."""

    def __init__(self, space: SearchSpace, **standard: Unpack[Standard]) -> None:
        super().__init__(space, **standard)
        import optuna

        self._values: dict[Genes, list[float]] = {}
        self._pending: tuple[Genes, optuna.Trial] | None = None
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            str(layer): optuna.distributions.CategoricalDistribution(range(size))
            for layer, size in enumerate(space.sizes)
        }
        with _quiet_optuna():
            self._study = optuna.create_study(
                directions=["minimize"] * self.n_objectives, sampler=self._make_sampler()
            )

    def ask(self) -> list[Genes]:
        """Return one unseen point; none when the space is exhausted."""
        with _quiet_optuna():
            self._drop_pending()
            for _ in range(_MAX_REPEATS):
                trial = self._study.ask(self._distributions)
                genes = tuple(int(trial.params[name]) for name in self._distributions)
                if genes in self.unseen:
                    self.unseen.mark(genes)
                    self._pending = genes, trial
                    return [genes]
                self._finish(trial, self._values.get(genes) if self.repeats_count else None)
        substitute = self.unseen.near(genes)
        return [] if substitute is None else [substitute]

    def tell(self, genes: Sequence[Genes], objectives: npt.NDArray[np.float64]) -> None:
        """Finish the pending trial, or add a finished one for a point of another origin."""
        with _quiet_optuna():
            for point, row in zip(genes, objectives, strict=True):
                values = [float(value) for value in row]
                self.unseen.mark(point)
                self._values[point] = values
                if self._pending is not None and self._pending[0] == point:
                    self._finish(self._pending[1], values)
                    self._pending = None
                else:
                    self._finish(self._adopt(point), values)

    @abstractmethod
    def _make_sampler(self) -> optuna.samplers.BaseSampler:
        """Return the sampler, seeded."""

    def _adopt(self, genes: Genes) -> optuna.Trial:
        """Return a running trial at a point that the sampler did not choose."""
        self._study.enqueue_trial(dict(zip(self._distributions, genes, strict=True)))
        return self._study.ask(self._distributions)

    def _drop_pending(self) -> None:
        """Fail the last proposal if nothing was told of it."""
        if self._pending is not None:
            self._finish(self._pending[1], None)
            self._pending = None

    def _finish(self, trial: optuna.Trial, values: list[float] | None) -> None:
        import optuna

        if values is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, values)


@register_algorithm("tpe")
class Tpe(OptunaSearch):
    """Tree-structured Parzen estimator [Ozaki2022]_ over all layers jointly; no generations.

    Args:
        space: The search space.
        n_objectives: Number of objectives.
        seed: Seeds every random decision.
        population: Not used.
        startup: Number of points before the estimator is used, seeds included, at least 1.
        candidates: Number of points that the estimator compares for each proposal, at least 1.

    Raises:
        ArgumentError: If an argument breaks its rule.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        startup: int = 10,  # Optuna's defaults
        candidates: int = 24,
        **standard: Unpack[Standard],
    ) -> None:
        for name, value in (("startup", startup), ("candidates", candidates)):
            if value < 1:
                raise ArgumentError(f"`{name}` of tpe must be >= 1, got {value}.")
        self._startup = startup
        self._candidates = candidates
        super().__init__(space, **standard)

    def learns_after(self, n_seeds: int) -> int:
        """Return the number of points before the estimator is used."""
        return max(self._startup, n_seeds)

    def _make_sampler(self) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.TPESampler(
            seed=self.seed,
            multivariate=True,
            n_startup_trials=self._startup,
            n_ei_candidates=self._candidates,
        )


@register_algorithm("optuna-nsga2")
class OptunaNsga2(OptunaSearch):
    """NSGA-II [Deb2002]_ as Optuna implements it.

    Args:
        space: The search space.
        n_objectives: Number of objectives.
        seed: Seeds every random decision.
        population: Individuals of each generation.
        crossover: Probability that two parents exchange genes, 0..1.

    Raises:
        ArgumentError: If an argument breaks its rule.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        crossover: float = 0.9,  # Optuna's default
        **standard: Unpack[Standard],
    ) -> None:
        check_shares("optuna-nsga2", crossover=crossover)
        self._crossover = crossover
        super().__init__(space, **standard)

    def learns_after(self, n_seeds: int) -> int:
        """Return the size of the first generation: the seeds, and random points to fill it."""
        return max(self.population, n_seeds)

    def _make_sampler(self) -> optuna.samplers.BaseSampler:
        import optuna

        self._sampler = optuna.samplers.NSGAIISampler(
            seed=self.seed,
            population_size=self.population,
            crossover_prob=self._crossover,
        )
        return self._sampler

    def _adopt(self, genes: Genes) -> optuna.Trial:
        """Return a running trial that is a member of the current generation.

        Optuna assigns the generation while it samples a parameter. With every parameter given
        it samples none, and the trial would never be a parent.
        """
        trial = super()._adopt(genes)
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        self._sampler.get_trial_generation(self._study, frozen)
        return trial


@register_algorithm("gp")
class GaussianProcess(OptunaSearch):
    """Gaussian processes of the objectives [Daulton2020]_, as Optuna implements them.

    One proposal at a time, no generations. It needs SciPy and PyTorch. The acquisition function,
    the expected gain of hypervolume, is Optuna's. It is compared on unseen points: random ones,
    neighbours of told ones of the front, and then up to seven times on all points that differ
    from the best so far in one gene. Optuna's own optimiser tries one gene after the other from
    ten starts, which takes about 5 s of processor time a proposal with 20 genes of 13 options and
    60 points; this takes 0.7 s.

    Args:
        space: The search space.
        n_objectives: Number of objectives.
        seed: Seeds every random decision.
        population: Not used.
        startup: Number of points before the processes are used, seeds included, at least 1.
        candidates: Number of random points that are compared for each proposal, at least 1.
        limit: Most points that the processes are fitted to, at least 10: those of the front, then
            the latest. The time of a proposal grows with its third power.

    Raises:
        ArgumentError: If an argument breaks its rule.
    """

    repeats_count = False  # equal points make the matrix of covariances singular

    def __init__(
        self,
        space: SearchSpace,
        *,
        startup: int = 10,  # Optuna's default
        candidates: int = 512,
        limit: int = 150,
        **standard: Unpack[Standard],
    ) -> None:
        least = {"startup": (startup, 1), "candidates": (candidates, 1), "limit": (limit, 10)}
        for name, (value, lowest) in least.items():
            if value < lowest:
                raise ArgumentError(f"`{name}` of gp must be >= {lowest}, got {value}.")
        self._startup = startup
        self._candidates = candidates
        self._limit = limit
        super().__init__(space, **standard)

    def learns_after(self, n_seeds: int) -> int:
        """Return the number of points before the processes are used."""
        return max(self._startup, n_seeds)

    def ask(self) -> list[Genes]:
        """Return one unseen point; none when the space is exhausted."""
        if len(self._values) > self._startup and self._n_finished() > self._limit:
            self._forget()
        return super().ask()

    def _make_sampler(self) -> optuna.samplers.BaseSampler:
        from axopt.exploration.optuna_gp import BatchedGPSampler  # imports torch

        self._sampler = BatchedGPSampler(
            self.space,
            self.unseen.__contains__,
            seed=self.seed,
            startup=self._startup,
            candidates=self._candidates,
        )
        return self._sampler

    def _n_finished(self) -> int:
        import optuna

        done = (optuna.trial.TrialState.COMPLETE,)
        return len(self._study.get_trials(deepcopy=False, states=done))

    def _forget(self) -> None:
        """Go on in a study of fewer points, a fifth below the limit: the front and the latest."""
        import optuna

        points = list(self._values)
        on_front = non_dominated(list(self._values.values()))
        order = sorted(range(len(points)), key=lambda i: (on_front[i], i), reverse=True)
        kept = sorted(order[: max(4 * self._limit // 5, self._startup)])
        with _quiet_optuna():
            self._drop_pending()
            self._study = optuna.create_study(
                directions=["minimize"] * self.n_objectives, sampler=self._sampler
            )
            for index in kept:
                self._finish(self._adopt(points[index]), self._values[points[index]])


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Without Optuna's line per trial and its notes on experimental arguments."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
