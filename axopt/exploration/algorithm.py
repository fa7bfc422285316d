"""The one interface of all search algorithms, and how one is made with its options."""

from __future__ import annotations

import difflib
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError
from axopt.exploration.algorithms import ALGORITHMS, DEFAULT_POPULATION
from axopt.exploration.space import Genes, SearchSpace, Unseen
from axopt.registry import blamed_on

OptionValue = bool | int | float | str
"""What an option of an algorithm may be: plain values that a file and a store can keep."""


class Standard(typing.TypedDict):
    """The keyword arguments that every algorithm has, for constructors that pass them on.

    Attributes:
        n_objectives: Number of objectives, at least 1; all are minimised.
        seed: Seeds every random decision.
        population: Points of one generation.
    """

    n_objectives: int
    seed: int
    population: int


_STANDARD = ("space", *Standard.__annotations__)


def check_shares(algorithm: str, **shares: float) -> None:
    """Refuse options of an algorithm that are not in 0..1.

    Args:
        algorithm: Its name.
        **shares: Name of the option -> value.

    Raises:
        ArgumentError: If a value is not in 0..1; names the option and the algorithm.
    """
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ArgumentError(f"`{name}` of {algorithm} must be in 0..1, got {value}.")


class Algorithm(ABC):
    """Proposes points and learns their objectives; never evaluates one itself.

    The contract, which `axopt.exploration.testing.check_algorithm` checks:

    * Proposals depend on the constructor's arguments and on the calls of `ask` and `tell` only,
      so that a search can be replayed: no clock, no global random state, no hash order.
    * `tell` follows each `ask` with the proposals that have objectives, in their order. Failed
      ones are left out, so the list may be empty. Pruned ones come with the objectives that they
      had when their evaluation was stopped.
    * `tell` may also come before the first `ask`, with points that others chose (the seeds).
      They must count like the algorithm's own.
    * `ask` may repeat a point, which costs nothing but is no progress. An empty list means that
      it has nothing to propose; `stop_reason` may say why, which ends the search.

    An algorithm may have options of its own: keyword-only arguments of its constructor beyond
    the four below, annotated as bool, int, float or str, each with a default. `create_algorithm`
    passes them on, and the command line sets them by ``--algorithm-option name=value``.

    Args:
        space: The search space; ``space.known`` holds what is known before any evaluation.
        n_objectives: Number of objectives, at least 1; all are minimised.
        seed: Seeds every random decision.
        population: Points of one generation; algorithms without generations ignore it.

    Raises:
        ArgumentError: If an argument breaks its rule.

    Example:
        >>> from axopt.exploration import Algorithm, Known, SearchSpace
        >>> class Cheapest(Algorithm):
        ...     '''Proposes the cheapest option of every gene, if costs are known.'''
        ...
        ...     def ask(self):
        ...         costs = [known.values for known in self.space.additive if known.exact]
        ...         return [tuple(gene.index(min(gene)) for gene in v) for v in costs]
        ...
        ...     def tell(self, genes, objectives):
        ...         pass
        >>> power = Known(objective=1, values=((0.5, 0.3), (0.5, 0.1)), exact=True)
        >>> space = SearchSpace(("a", "b"), (2, 2), (power,))
        >>> Cheapest(space, n_objectives=2, seed=0, population=4).ask()
        [(1, 1)]
    """

    uses_sensitivities: typing.ClassVar[bool] = False
    """Whether it profits from an estimate of objective 0 in ``space.known``: sensitivities, which
    are then measured before the algorithm is made."""

    needs_sensitivities: typing.ClassVar[bool] = False
    """Whether it cannot do without that estimate."""

    stop_reason: str | None = None
    """Why nothing is left to propose, in one or two words, set when `ask` returns an empty list.
    The search then ends with this reason. None: the search asks again."""

    uses_limits: typing.ClassVar[bool] = False
    """Whether it looks for points within ``space.limits`` by itself. Others are told the
    objectives of points beyond them with a penalty."""

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

    def learns_after(self, n_seeds: int) -> int:
        """Return after how many points proposals depend on objectives, given the seeds.

        A budget up to that number is spent on seeds and random points alone. The default, 0,
        is for algorithms that have no such phase.

        Args:
            n_seeds: Number of points that others chose and that are evaluated first.
        """
        return 0

    def diagnostics(self) -> dict[str, float | int | str]:
        """Return figures about the search so far, such as how well a model predicts; by name.

        The default is none.
        """
        return {}

    def focus(self, limits: Sequence[float | None]) -> None:
        """Settle ``space.limits``, once, before the first `ask` and `tell`.

        Args:
            limits: Worst value of interest of every objective, None for no limit.
        """
        self.space = replace(self.space, limits=tuple(limits))

    @abstractmethod
    def ask(self) -> list[Genes]:
        """Return the points to evaluate next, all in the space."""

    @abstractmethod
    def tell(self, genes: Sequence[Genes], objectives: npt.NDArray[np.float64]) -> None:
        """Learn the ``objectives``, ``(len(genes), n_objectives)`` finite, of ``genes``."""


@dataclass(frozen=True)
class AlgorithmOption:
    """One option of an algorithm.

    Attributes:
        kind: bool, int, float or str.
        default: Its value where none is given.
    """

    kind: type[bool] | type[int] | type[float] | type[str]
    default: OptionValue

    def accepts(self, value: object) -> bool:
        """Return whether ``value`` is of the option's kind; an int is a float too."""
        if self.kind is float:
            return type(value) in (int, float)
        return type(value) is self.kind


def algorithm_options(name: str) -> dict[str, AlgorithmOption]:
    """Return the options that an algorithm has of its own, with their kinds and defaults.

    Args:
        name: A name of `list_algorithms`.

    Returns:
        Name of the option -> its kind and default.

    Raises:
        ArgumentError: If ``name`` is unknown, or an option of that class is not annotated as
            bool, int, float or str or has no default.

    Example:
        >>> from axopt.exploration import algorithm_options
        >>> algorithm_options("nsga2")["crossover"].default
        0.9
        >>> algorithm_options("random")
        {}
    """
    options = {}
    constructor = ALGORITHMS[name].__init__
    hints = typing.get_type_hints(constructor)
    for parameter in inspect.signature(constructor).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in _STANDARD:
            continue
        kind = hints.get(parameter.name)
        if kind not in (bool, int, float, str) or parameter.default is parameter.empty:
            raise ArgumentError(
                f"`algorithm` {name!r} must annotate its option {parameter.name!r} as bool, int, "
                "float or str and give it a default."
            )
        options[parameter.name] = AlgorithmOption(kind, parameter.default)
    return options


def settled_options(name: str, given: typing.Mapping[str, Any]) -> dict[str, OptionValue]:
    """Return the options of ``given`` that differ from their defaults, checked.

    Args:
        name: A name of `list_algorithms`.
        given: Name of an option -> value.

    Raises:
        ArgumentError: If the algorithm has no such option or the value is of another kind.
    """
    known = algorithm_options(name)
    for option, value in given.items():
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {_listed(known)}."
            raise ArgumentError(
                f"`algorithm_options` must be options of {name!r}, got {option!r}; {hint}"
            )
        if not known[option].accepts(value):
            raise ArgumentError(
                f"`algorithm_options[{option!r}]` of {name!r} must be of type "
                f"{known[option].kind.__name__}, got {value!r}."
            )
    return {
        option: known[option].kind(value)
        for option, value in sorted(given.items())
        if value != known[option].default
    }


def create_algorithm(
    name: str,
    space: SearchSpace,
    *,
    n_objectives: int,
    seed: int = 0,
    population: int = DEFAULT_POPULATION,
    **options: OptionValue,
) -> Algorithm:
    """Make an algorithm that was neither asked nor told anything yet.

    Args:
        name: A name of `list_algorithms`.
        space: The search space.
        n_objectives: Number of objectives, at least 1; all are minimised.
        seed: Seeds every random decision.
        population: Points of one generation; algorithms without generations ignore it.
        **options: Options of that algorithm, see `algorithm_options`.

    Returns:
        The algorithm.

    Raises:
        ArgumentError: If ``name`` or an option is unknown, or an argument breaks its rule.

    Example:
        >>> from axopt.exploration import SearchSpace, create_algorithm
        >>> space = SearchSpace(("conv", "fc"), (3, 3))
        >>> create_algorithm("random", space, n_objectives=2, population=2).ask()
        [(2, 1), (1, 0)]
    """
    algorithm = ALGORITHMS[name]
    settled = settled_options(name, options)
    with blamed_on("algorithm", name, "__init__"):
        return algorithm(
            space, n_objectives=n_objectives, seed=seed, population=population, **settled
        )


def _listed(known: typing.Mapping[str, AlgorithmOption]) -> str:
    return ", ".join(known) or "none"
