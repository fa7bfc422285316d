"""What is evaluated and what is remembered of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from axopt.exploration.space import Genes, SearchSpace

FULL = 1.0
"""The fidelity of an evaluation on everything that objectives are defined on."""


@dataclass(frozen=True)
class Outcome:
    """The result of one evaluation, as a `Problem` returns it.

    Args:
        objectives: One finite value an objective, minimised.
        info: What else to remember; JSON-able, no NaN or infinity.
        fidelity: Share of the full evaluation that was done, above 0 and at most 1. Below 1 the
            evaluation was stopped early and the objectives are estimates: the trial is pruned.

    Example:
        >>> from axopt.exploration import Outcome
        >>> Outcome((1.5, 0.25)).fidelity
        1.0
    """

    objectives: tuple[float, ...]
    info: Mapping[str, Any] = field(default_factory=dict)
    fidelity: float = FULL


class Problem(Protocol):
    """What a search minimises. An exception from `evaluate` fails that trial, not the search.

    Example:
        >>> from axopt.exploration import Outcome, SearchSpace
        >>> class Sum:
        ...     space = SearchSpace(("a", "b"), (3, 3))
        ...     objective_names = ("sum",)
        ...
        ...     def evaluate(self, genes):
        ...         return Outcome((float(sum(genes)),))
        >>> Sum().evaluate((1, 2)).objectives
        (3.0,)
    """

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        ...

    @property
    def objective_names(self) -> tuple[str, ...]:
        """One name an objective, in the order of `Outcome.objectives`."""
        ...

    def evaluate(self, genes: Genes) -> Outcome:
        """Evaluate one point; a pure function of ``genes``."""
        ...


class State(StrEnum):
    """How a trial ended. A trial is recorded when it has ended and never changes after.

    Example:
        >>> from axopt.exploration import State
        >>> [state.value for state in State]
        ['complete', 'failed', 'pruned']
    """

    COMPLETE = "complete"
    FAILED = "failed"
    PRUNED = "pruned"


@dataclass(frozen=True)
class Evaluated:
    """How the evaluation of one point ended, before it is committed.

    Args:
        state: How it ended: complete, failed, or pruned (stopped early).
        objectives: The values, minimised; estimates when pruned; empty when failed.
        info: `Outcome.info`; for a failure that raised, ``{"traceback": ...}``.
        reason: Why it failed; None otherwise.
        seconds: Wall-clock duration of the evaluation.
        fidelity: Share of the full evaluation that was done; 1 unless pruned.

    Example:
        >>> from axopt.exploration import Evaluated, State
        >>> Evaluated(State.COMPLETE, (1.0,), {}, None, 0.1).fidelity
        1.0
    """

    state: State
    objectives: tuple[float, ...]
    info: Mapping[str, Any]
    reason: str | None
    seconds: float
    fidelity: float = FULL


@dataclass(frozen=True)
class Trial:
    """A committed evaluation of one point.

    Args:
        number: 0, 1, 2, ... in the order of commits.
        genes: The point.
        state: How the evaluation ended.
        objectives: The values, minimised; estimates when pruned; empty when failed.
        info: `Outcome.info`; for a failure that raised, ``{"traceback": ...}``.
        reason: Why it failed; None otherwise.
        seconds: Wall-clock duration of the evaluation.
        fidelity: Share of the full evaluation that was done; 1 unless pruned.

    Example:
        >>> from axopt.exploration import State, Trial
        >>> Trial(0, (1, 2), State.COMPLETE, (3.0,), {}, None, 0.1).objectives
        (3.0,)
    """

    number: int
    genes: Genes
    state: State
    objectives: tuple[float, ...]
    info: Mapping[str, Any]
    reason: str | None
    seconds: float
    fidelity: float = FULL

    @classmethod
    def of(cls, number: int, genes: Genes, evaluated: Evaluated) -> Trial:
        """Return the trial that a commit of ``evaluated`` under ``number`` makes."""
        return cls(
            number,
            genes,
            evaluated.state,
            evaluated.objectives,
            evaluated.info,
            evaluated.reason,
            evaluated.seconds,
            evaluated.fidelity,
        )
