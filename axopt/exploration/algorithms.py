"""The registry of search algorithms; listing their names imports none of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from axopt.errors import ArgumentError
from axopt.registry import Registry

if TYPE_CHECKING:
    from axopt.exploration.algorithm import Algorithm

AlgorithmType = TypeVar("AlgorithmType", bound="type[Algorithm]")

DEFAULT_POPULATION = 40
"""Small, since budgets are hundreds of evaluations: 500 leave room for 20 generations."""

DEFAULT_ALGORITHM = "auto"

DEFAULT_BUDGET = 500
"""Evaluations of an algorithm that learns from evaluations alone."""

_BUDGETS = {"additive": 60, "auto": 200}

ALGORITHMS: Registry[type[Algorithm]] = Registry(
    "algorithm",
    group="axopt.algorithms",
    built_in={
        "additive": "axopt.exploration.additive_search",
        "age-moea2": "axopt.exploration.genetic",
        "auto": "axopt.exploration.auto",
        "exhaustive": "axopt.exploration.plain",
        "gp": "axopt.exploration.optuna_samplers",
        "nsga2": "axopt.exploration.genetic",
        "optuna-nsga2": "axopt.exploration.optuna_samplers",
        "random": "axopt.exploration.plain",
        "sms-emoa": "axopt.exploration.genetic",
        "tpe": "axopt.exploration.optuna_samplers",
        "unsga3": "axopt.exploration.genetic",
    },
)
"""Classes of algorithms by name; packages offer more by the entry point ``axopt.algorithms``."""


def default_budget(algorithm: str) -> int:
    """Return how many evaluations a search has by default.

    Args:
        algorithm: Name of the algorithm.

    Example:
        >>> default_budget("auto"), default_budget("nsga2")
        (200, 500)
    """
    return _BUDGETS.get(algorithm, DEFAULT_BUDGET)


def register_algorithm(name: str) -> Callable[[AlgorithmType], AlgorithmType]:
    """Return a class decorator that makes an `Algorithm` known to `create_algorithm`.

    Args:
        name: The algorithm's name, for ``axopt.search(algorithm=name)`` and the command line.

    Returns:
        The decorator, which returns the class unchanged.

    Raises:
        ArgumentError: By the decorator, if another algorithm has that name, or what it decorates
            is no class with ``ask`` and ``tell``.

    Example:
        >>> from axopt.exploration import Algorithm, list_algorithms, register_algorithm
        >>> @register_algorithm("diagonal")
        ... class Diagonal(Algorithm):
        ...     def ask(self):
        ...         steps = range(min(self.space.sizes))
        ...         return [(step,) * len(self.space.sizes) for step in steps]
        ...
        ...     def tell(self, genes, objectives):
        ...         pass
        >>> "diagonal" in list_algorithms()
        True
        >>> ALGORITHMS.remove("diagonal")
    """

    def decorate(kind: AlgorithmType) -> AlgorithmType:
        if not isinstance(kind, type) or not (hasattr(kind, "ask") and hasattr(kind, "tell")):
            raise ArgumentError(f"an algorithm must be a subclass of `Algorithm`, got {kind!r}.")
        if inspect.isabstract(kind):
            raise ArgumentError(f"an algorithm must define `ask` and `tell`, got {kind!r}.")
        ALGORITHMS.add(name, kind)
        return kind

    return decorate


def list_algorithms() -> list[str]:
    """Return the names that `create_algorithm` knows, sorted.

    Returns:
        The names of the built-in algorithms, of registered ones, and of installed packages' ones.

    Example:
        >>> from axopt.exploration import list_algorithms
        >>> [name for name in list_algorithms() if "nsga2" in name]
        ['nsga2', 'optuna-nsga2']
    """
    return ALGORITHMS.names()
