"""What is evaluated and what is remembered of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from axopt.exploration.space import Genes, SearchSpace


@dataclass(frozen=True)
class Outcome:
    """What one evaluation found.

    Args:
        objectives: One finite value an objective, minimised.
        info: What else to remember; JSON-able, no NaN or infinity.
    """

    objectives: tuple[float, ...]
    info: Mapping[str, Any] = field(default_factory=dict)


class Problem(Protocol):
    """What a search minimises. An exception from `evaluate` fails that trial, not the search."""

    @property
    def space(self) -> SearchSpace:
        """The points to choose from."""
        ...

    @property
    def objective_names(self) -> tuple[str, ...]:
        """One name an objective, in the order of `Outcome.objectives`."""
        ...

    def evaluate(self, genes: Genes) -> Outcome:
        """Evaluate one point; a pure function of ``genes``."""
        ...


class State(StrEnum):
    """How a trial ended. A trial is recorded when it has ended and never changes after."""

    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class Trial:
    """One evaluated point.

    Args:
        number: 0, 1, 2, ... in the order of evaluation.
        genes: The point.
        state: How it ended.
        objectives: The values, minimised; empty when failed.
        info: `Outcome.info`; for a failure that raised, ``{"traceback": ...}``.
        reason: Why it failed; None when complete.
        seconds: Wall-clock duration of the evaluation.
    """

    number: int
    genes: Genes
    state: State
    objectives: tuple[float, ...]
    info: Mapping[str, Any]
    reason: str | None
    seconds: float
