"""Genetic algorithms of pymoo behind the ask/tell interface.

All of them mate in the same way and propose no point twice. They differ in which points survive a
generation.

.. [Deb2002] Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II",
   IEEE Transactions on Evolutionary Computation 6 (2), 2002.
.. [Seada2016] Seada and Deb, "A unified evolutionary optimization procedure for single, multiple,
   and many objectives", IEEE Transactions on Evolutionary Computation 20 (3), 2016.
.. [Beume2007] Beume et al., "SMS-EMOA: multiobjective selection based on dominated hypervolume",
   European Journal of Operational Research 181 (3), 2007.
.. [Panichella2022] Panichella, "An improved Pareto front modeling algorithm for large-scale
   many-objective optimization", GECCO 2022.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt

from axopt.exploration.algorithm import Algorithm, Standard, check_shares
from axopt.exploration.algorithms import register_algorithm
from axopt.exploration.space import Genes, SearchSpace


class GeneticSearch(Algorithm):
    """A genetic algorithm that swaps, steps and resets genes, never proposing a point twice.

    Points told before the first `ask` form the initial population together with random ones.
    Where mating finds nothing new, which happens in small spaces, random unseen points are
    proposed instead (pymoo alone would shrink its generations for ever).

    Args:
        space: The search space.
        n_objectives: Number of objectives.
        seed: Seeds every random decision.
        population: Individuals that survive, and offspring, of each generation.
        crossover: Probability that two parents exchange genes, 0..1.
        step: Probability that a mutated gene moves to a neighbouring option rather than to any
            other one, 0..1. Options are ordered by power.

    Raises:
        ArgumentError: If an argument breaks its rule.
    """

    selection: ClassVar[str]
    """How survivors and parents are selected: a key of `pymoo_parts.SELECTIONS`."""

    def __init__(
        self,
        space: SearchSpace,
        *,
        crossover: float = 0.9,  # pymoo's and Optuna's default
        step: float = 0.5,
        **standard: Unpack[Standard],
    ) -> None:
        super().__init__(space, **standard)
        check_shares(self.selection, crossover=crossover, step=step)
        from axopt.exploration.pymoo_parts import build_engine  # pymoo takes a second to import

        self._values: dict[Genes, tuple[float, ...]] = {}
        self._engine = build_engine(
            self.selection,
            space,
            **standard,
            sample=self._initial_points,
            is_unseen=self.unseen.__contains__,
            crossover=crossover,
            step=step,
        )
        self._offspring: Any = None

    def learns_after(self, n_seeds: int) -> int:
        """Return the size of the first generation: the seeds, and random points to fill it."""
        return max(self.population, n_seeds)

    def ask(self) -> list[Genes]:
        """Return the points of the next generation that are not known yet."""
        while True:
            self._offspring = self._next_offspring()
            proposals = [g for g in _genes_of(self._offspring) if g not in self._values]
            if proposals or not len(self._offspring):
                break
            self._advance()  # told points filled the initial population: all is known of it
        for genes in proposals:
            self.unseen.mark(genes)
        return proposals

    def tell(self, genes: Sequence[Genes], objectives: npt.NDArray[np.float64]) -> None:
        """Complete the generation with what could be evaluated of it."""
        for point, values in zip(genes, objectives, strict=True):
            self.unseen.mark(point)
            self._values[point] = tuple(float(value) for value in values)
        if self._offspring is not None:
            self._advance()

    def _initial_points(self) -> list[Genes]:
        """Return the told points, then random ones up to the population."""
        points = list(self._values)
        while len(points) < self.population and (drawn := self.unseen.draw()) is not None:
            points.append(drawn)
        return points

    def _next_offspring(self) -> Any:
        offspring = self._engine.ask()
        if offspring is None or not len(offspring):
            draws = (self.unseen.draw() for _ in range(self.population))
            offspring = self._engine.new_population([g for g in draws if g is not None])
        return offspring

    def _advance(self) -> None:
        genes = _genes_of(self._offspring)
        known = [index for index, point in enumerate(genes) if point in self._values]
        if known:
            self._engine.tell(
                self._offspring[known], np.array([self._values[genes[i]] for i in known])
            )
        self._offspring = None


@register_algorithm("nsga2")
class Nsga2(GeneticSearch):
    """NSGA-II [Deb2002]_: survivors by rank of dominance, then by crowding distance.

    Its options are those of `GeneticSearch`.
    """

    selection = "nsga2"


@register_algorithm("unsga3")
class UnifiedNsga3(GeneticSearch):
    """U-NSGA-III [Seada2016]_: survivors near evenly spread reference directions.

    The directions are as many as the population allows. Its options are those of
    `GeneticSearch`.
    """

    selection = "unsga3"


@register_algorithm("sms-emoa")
class SmsEmoa(GeneticSearch):
    """SMS-EMOA [Beume2007]_: of the last front, points that add least hypervolume are dropped.

    A generation has ``population`` offspring, as in pymoo, where the paper has one. Its options
    are those of `GeneticSearch`.
    """

    selection = "sms-emoa"


@register_algorithm("age-moea2")
class AgeMoea2(GeneticSearch):
    """AGE-MOEA-II [Panichella2022]_: survivors spread along the estimated shape of the front.

    Its options are those of `GeneticSearch`.
    """

    selection = "age-moea2"


def _genes_of(population: Any) -> list[Genes]:
    return [tuple(int(gene) for gene in individual.X) for individual in population]
