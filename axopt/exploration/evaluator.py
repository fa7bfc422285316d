"""How a batch of points becomes outcomes, apart from who remembers them.

The ledger (`axopt.exploration.ledger`) knows what was evaluated and in which order it is
committed. An `Evaluator` only evaluates: here in this process, one point after the other.
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from axopt.exploration.records import to_json
from axopt.exploration.space import Genes
from axopt.exploration.trial import FULL, Evaluated, Outcome, Problem, State

_MAX_REASON_CHARS = 500
_TRACEBACK_FRAMES = 5


class Evaluator(Protocol):
    """Evaluates points, in order, with faults as results.

    The contract, which `axopt.exploration.testing.check_evaluator` checks:

    * There is one result a point, in the order of asking, whatever finishes first.
    * An evaluation that raises is a failed result, not an exception. Only interrupts
      (`KeyboardInterrupt`, `SystemExit`) come through.
    * Results are yielded as soon as all earlier ones were, so that each can be committed before
      the next is waited for. Closing the generator drops what was not yielded yet.
    * Objectives and info are plain values, equal to those that a store gives back.

    Example:
        >>> from axopt.exploration import InProcess
        >>> from axopt.exploration.testing import TinyProblem
        >>> results = InProcess(TinyProblem((3, 3))).evaluate([(0, 0), (1, 2)])
        >>> [result.objectives for result in results]
        [(0.0, 3.0), (9.0, 2.375)]
    """

    def evaluate(self, batch: Sequence[Genes]) -> Generator[Evaluated, None, None]:
        """Yield how the evaluation of each point ended, in the order of ``batch``."""
        ...


class InProcess:
    """Evaluates in this process and thread, each point when its result is asked for.

    Args:
        problem: What to evaluate.

    Example:
        >>> from axopt.exploration import InProcess
        >>> from axopt.exploration.testing import FlakyProblem
        >>> (result,) = InProcess(FlakyProblem(lambda genes: True)).evaluate([(0, 0, 0, 0)])
        >>> result.state.value, result.reason
        ('failed', "RuntimeError('cannot evaluate (0, 0, 0, 0)')")
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def evaluate(self, batch: Sequence[Genes]) -> Generator[Evaluated, None, None]:
        """Yield how the evaluation of each point ended, in the order of ``batch``."""
        for genes in batch:
            yield evaluated(self._problem, genes)


def evaluated(problem: Problem, genes: Genes) -> Evaluated:
    """Evaluate one point. Whatever goes wrong, short of an interrupt, is a failed result."""
    started = time.monotonic()
    objectives: tuple[float, ...] = ()
    info: Mapping[str, Any] = {}
    fidelity = FULL
    try:
        outcome = problem.evaluate(genes)
        reason = _fault_of(outcome, problem.objective_names)
        if reason is None:
            objectives = tuple(float(value) for value in outcome.objectives)
            info = json.loads(to_json(dict(outcome.info)))  # as a resumed search will read it
            fidelity = float(outcome.fidelity)
    except Exception as error:
        reason = _printable(repr(error))
        info = {"traceback": _printable(traceback.format_exc(limit=-_TRACEBACK_FRAMES), None)}
    state = State.COMPLETE if fidelity == FULL else State.PRUNED
    if reason is not None:
        state = State.FAILED
    return Evaluated(state, objectives, info, reason, time.monotonic() - started, fidelity)


def _fault_of(outcome: Outcome, names: Sequence[str]) -> str | None:
    """Return why ``outcome`` cannot be used, None if it can. Objectives pass here only."""
    if len(outcome.objectives) != len(names):
        return f"{len(names)} objectives expected ({', '.join(names)}), got {outcome.objectives}"
    for name, value in zip(names, outcome.objectives, strict=True):
        if not math.isfinite(value):
            return f"objective not finite: {name}={float(value)}"
    if not 0 < outcome.fidelity <= FULL:
        return f"fidelity must be above 0 and at most 1, got {outcome.fidelity}"
    try:
        to_json(dict(outcome.info))
    except (TypeError, ValueError) as error:
        return f"info is not JSON: {error}"
    return None


def _printable(text: str, limit: int | None = _MAX_REASON_CHARS) -> str:
    """Return ``text`` as SQLite and a terminal can take it: no lone surrogates, not endless."""
    return text[:limit].encode("utf-8", "backslashreplace").decode()
