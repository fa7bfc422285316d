"""The one interface of all search algorithms, and their registry."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError
from axopt.exploration.space import Genes, SearchSpace, Unseen

DEFAULT_POPULATION = 40
"""Small, since budgets are hundreds of evaluations: 500 leave room for 20 generations."""


class Algorithm(ABC):
    """Proposes points and learns what they are worth; never evaluates one itself.

    The contract, which `axopt.exploration.testing.check_algorithm` checks:

    * Proposals depend on the constructor's arguments and on the calls of `ask` and `tell` only,
      so that a search can be replayed: no clock, no global random state, no hash order.
    * `tell` follows each `ask` with the proposals that could be evaluated, in their order.
      Failed ones are left out (they have no objectives), so the list may be empty.
    * `tell` may also come before the first `ask`, with points that others chose (the seeds).
      They must count like the algorithm's own.
    * `ask` may repeat a point, which costs nothing but is no progress. An empty list means that
      it has nothing to propose.

    Args:
        space: Where to search.
        n_objectives: Number of objectives, at least 1; all are minimised.
        seed: Seeds every random decision.
        population: Points of one generation; algorithms without generations ignore it.
    """

    def __init__(
        self, space: SearchSpace, *, n_objectives: int, seed: int, population: int
    ) -> None:
        if n_objectives < 1:
            raise ArgumentError(f"`n_objectives` must be >= 1, got {n_objectives}.")
        if seed < 0:
            raise ArgumentError(f"`seed` must be >= 0, got {seed}.")
        if population < 2:
            raise ArgumentError(f"`population` must be >= 2, got {population}.")
        self.space = space
        self.n_objectives = n_objectives
        self.seed = seed
        self.population = population
        self.unseen = Unseen(space, np.random.default_rng(seed))

    @abstractmethod
    def ask(self) -> list[Genes]:
        """The points to evaluate next, all in the space."""

    @abstractmethod
    def tell(self, genes: Sequence[Genes], objectives: npt.NDArray[np.float64]) -> None:
        """Learn the ``objectives``, ``(len(genes), n_objectives)`` finite, of ``genes``."""


AlgorithmType = TypeVar("AlgorithmType", bound=type[Algorithm])

_registry: dict[str, type[Algorithm]] = {}
_BUILT_IN_MODULES = ("nsga2", "optuna_samplers", "plain")


def register_algorithm(name: str) -> Callable[[AlgorithmType], AlgorithmType]:
    """Class decorator: make an `Algorithm` known to `create_algorithm` as ``name``.

    Raises:
        ArgumentError: If ``name`` is taken by another class.
    """

    def register(algorithm: AlgorithmType) -> AlgorithmType:
        if _registry.get(name, algorithm) is not algorithm:
            raise ArgumentError(f"`name` must not be registered already, got {name!r}.")
        _registry[name] = algorithm
        return algorithm

    return register


def list_algorithms() -> list[str]:
    """The names that `create_algorithm` knows, sorted."""
    _import_built_ins()
    return sorted(_registry)


def create_algorithm(
    name: str,
    space: SearchSpace,
    *,
    n_objectives: int,
    seed: int = 0,
    population: int = DEFAULT_POPULATION,
) -> Algorithm:
    """An algorithm at its beginning; see `Algorithm` for the arguments.

    Raises:
        ArgumentError: If ``name`` is unknown or an argument breaks its rule.
    """
    _import_built_ins()
    if name not in _registry:
        near = get_close_matches(name, _registry, n=1)
        known = ", ".join(sorted(_registry))
        hint = f"did you mean {near[0]!r}?" if near else f"known are {known}."
        raise ArgumentError(f"`name` must be a known algorithm, got {name!r}; {hint}")
    return _registry[name](space, n_objectives=n_objectives, seed=seed, population=population)


def _import_built_ins() -> None:
    """Import the modules that register themselves; none of them imports pymoo or Optuna."""
    for module in _BUILT_IN_MODULES:
        importlib.import_module(f"axopt.exploration.{module}")
