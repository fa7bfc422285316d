"""The pieces of pymoo that genetic algorithms are built from. Importing this imports pymoo.

Genes are categorical. Their options are ordered by power: neighbours are near in power, but
distances between numbers of options mean nothing. So crossover swaps whole genes, and mutation
steps to a neighbour or draws any other option. Simulated binary crossover and polynomial mutation,
pymoo's defaults, would average the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.algorithms.moo.nsga2 import NSGA2, binary_tournament
from pymoo.algorithms.moo.sms import SMSEMOA, cv_and_dom_tournament
from pymoo.algorithms.moo.unsga3 import UNSGA3, comp_by_rank_and_ref_line_dist
from pymoo.config import Config
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.sampling import Sampling
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ux import UX
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.util.ref_dirs import get_reference_directions

from axopt.exploration.age_survival import AgeSurvival
from axopt.exploration.space import Genes, SearchSpace

_MATING_ROUNDS = 100  # pymoo's default; each round tries to fill what is left of the generation


class Engine:
    """An algorithm of pymoo reduced to ask and tell, with its seed and termination set."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm

    def ask(self) -> Any:
        """The next generation: a pymoo Population, or None when mating found nothing new."""
        return self._algorithm.ask()

    def tell(self, population: Any, objectives: npt.NDArray[np.float64]) -> None:
        """Let ``population``, ``(n,)``, with ``objectives``, ``(n, m)``, compete."""
        population.set("F", objectives)
        self._algorithm.tell(infills=population)

    def new_population(self, genes: Sequence[Genes]) -> Any:
        """Individuals with the given genes."""
        return Population.new("X", np.array(genes, dtype=np.int64)) if genes else Population()


def build_engine(
    selection: str,
    space: SearchSpace,
    *,
    n_objectives: int,
    seed: int,
    population: int,
    sample: Callable[[], list[Genes]],
    is_unseen: Callable[[Genes], bool],
    crossover: float,
    step: float,
) -> Engine:
    """Set a genetic algorithm up over ``space``, waiting for its first ask.

    Args:
        selection: How survivors and parents are selected, a key of `SELECTIONS`.
        space: Where to search.
        n_objectives: Number of objectives.
        seed: Seeds the algorithm's generator, which pymoo else seeds from the system.
        population: Individuals that survive, and offspring, of each generation.
        sample: Gives the initial population.
        is_unseen: Whether a point may be proposed.
        crossover: Probability that two parents exchange genes.
        step: Probability that a mutated gene moves to a neighbouring option.
    """
    Config.show_compile_hint = False  # a library does not print
    make, tournament = SELECTIONS[selection]
    algorithm = make(
        n_objectives,
        pop_size=population,
        sampling=_GivenSampling(sample),
        mating=Mating(
            TournamentSelection(func_comp=tournament),
            UX(prob=crossover),
            _StepOrReset(step),
            eliminate_duplicates=_SeenElimination(is_unseen),
            n_max_iterations=_MATING_ROUNDS,
        ),
        eliminate_duplicates=False,  # of the initial population, which is distinct already
        output=None,
        seed=seed,
    )
    problem = Problem(
        n_var=len(space.sizes),
        n_obj=n_objectives,
        xl=np.zeros(len(space.sizes), dtype=np.int64),
        xu=np.array(space.sizes, dtype=np.int64) - 1,
        vtype=int,
    )
    algorithm.setup(problem, termination=NoTermination())
    return Engine(algorithm)


def _nsga2(n_objectives: int, **common: Any) -> Any:
    return NSGA2(**common)


def _unsga3(n_objectives: int, *, pop_size: int, **common: Any) -> Any:
    directions = _directions(n_objectives, pop_size)
    return UNSGA3(directions, pop_size=max(pop_size, len(directions)), **common)


def _sms_emoa(n_objectives: int, **common: Any) -> Any:
    # moocore has no contributions to a length; with one objective both algorithms keep the best
    return SMSEMOA(**common) if n_objectives > 1 else NSGA2(**common)


def _age_moea2(n_objectives: int, **common: Any) -> Any:
    algorithm = GeneticAlgorithm(
        survival=AgeSurvival(), advance_after_initial_infill=True, **common
    )
    algorithm.tournament_type = "comp_by_rank_and_crowding"
    return algorithm


SELECTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "nsga2": (_nsga2, binary_tournament),
    "unsga3": (_unsga3, comp_by_rank_and_ref_line_dist),
    "sms-emoa": (_sms_emoa, cv_and_dom_tournament),
    "age-moea2": (_age_moea2, binary_tournament),
}
"""Name -> how the algorithm is made, and how two parents are compared."""


def _directions(n_objectives: int, most: int) -> Any:
    """Return evenly spread directions, ``(n, n_objectives)``, at most ``most`` if that can be."""
    partitions = 1
    while n_objectives > 1 and comb(partitions + n_objectives, n_objectives - 1) <= most:
        partitions += 1
    return get_reference_directions("das-dennis", n_objectives, n_partitions=partitions)


class _GivenSampling(Sampling):  # type: ignore[misc]  # pymoo is untyped
    """An initial population that is decided elsewhere."""

    def __init__(self, sample: Callable[[], list[Genes]]) -> None:
        super().__init__()
        self._sample = sample

    def _do(self, problem: Any, n_samples: int, *_: Any, **__: Any) -> npt.NDArray[np.int64]:
        return np.array(self._sample(), dtype=np.int64).reshape(-1, problem.n_var)


class _StepOrReset(Mutation):  # type: ignore[misc]  # pymoo is untyped
    """Each gene changes with probability 1 / genes: a step up or down, or any other option."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self._step = step

    def _do(
        self,
        problem: Any,
        X: npt.NDArray[np.int64],
        *_: Any,
        random_state: np.random.Generator,
        **__: Any,
    ) -> npt.NDArray[np.int64]:
        sizes = problem.xu + 1
        step = np.clip(X + random_state.choice([-1, 1], size=X.shape), 0, problem.xu)
        reset = (X + random_state.integers(1, np.maximum(sizes, 2), size=X.shape)) % sizes
        change = np.where(random_state.random(X.shape) < self._step, step, reset)
        return np.where(random_state.random(X.shape) < 1 / problem.n_var, change, X)


class _SeenElimination(DuplicateElimination):  # type: ignore[misc]  # pymoo is untyped
    """Drops points proposed earlier, not only those that pymoo's population still holds."""

    def __init__(self, is_unseen: Callable[[Genes], bool]) -> None:
        super().__init__()
        self._is_unseen = is_unseen

    def do(self, pop: Any, *others: Any, **_: Any) -> Any:
        taken = {tuple(individual.X) for other in others for individual in other}
        kept = []
        for index, individual in enumerate(pop):
            genes = tuple(int(gene) for gene in individual.X)
            if genes not in taken and self._is_unseen(genes):
                taken.add(genes)
                kept.append(index)
        return pop[kept]
