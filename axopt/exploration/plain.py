"""Algorithms that learn nothing: random and exhaustive search."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from axopt.exploration.algorithm import Algorithm
from axopt.exploration.algorithms import register_algorithm
from axopt.exploration.space import Genes, SearchSpace


@register_algorithm("random")
class RandomSearch(Algorithm):
    """Uniform draws without repetition: the baseline that every other algorithm must beat."""

    def ask(self) -> list[Genes]:
        """Return the next ``population`` points, fewer when fewer are left."""
        draws = (self.unseen.draw() for _ in range(self.population))
        return [genes for genes in draws if genes is not None]

    def tell(self, genes: Sequence[Genes], objectives: npt.NDArray[np.float64]) -> None:
        """Mark the points as seen, so that they are not drawn again."""
        for point in genes:
            self.unseen.mark(point)


@register_algorithm("exhaustive")
class ExhaustiveSearch(Algorithm):
    """Every point once, in lexicographic order; the seed has no influence."""

    def __init__(
        self, space: SearchSpace, *, n_objectives: int, seed: int, population: int
    ) -> None:
        super().__init__(space, n_objectives=n_objectives, seed=seed, population=population)
        self._points = itertools.product(*(range(size) for size in space.sizes))

    def ask(self) -> list[Genes]:
        """Return the next ``population`` points, fewer at the end."""
        return list(itertools.islice(self._points, self.population))

    def tell(self, genes: Sequence[Genes], objectives: npt.NDArray[np.float64]) -> None:
        """Do nothing: the order is fixed."""
