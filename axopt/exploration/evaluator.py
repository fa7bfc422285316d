"""How a batch of points becomes outcomes, apart from who remembers them.

The ledger (`axopt.exploration.ledger`) knows what was evaluated and in which order it is
committed. An `Evaluator` only evaluates: here in this process, one point after the other.
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial as bind
from typing import Any, Protocol

import numpy as np

from axopt.exploration.records import to_json
from axopt.exploration.space import Genes
from axopt.exploration.staging import Partial, Rivals, SampledProblem, packed
from axopt.exploration.trial import FULL, Evaluated, Outcome, Problem, State, Trial

LOOK_AHEAD_SECONDS = 10.0
"""How long the points may take that are evaluated together and committed after that."""

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
    * A result depends on the point and on ``front`` only, not on other points of the batch.

    Example:
        >>> from axopt.exploration import InProcess
        >>> from axopt.exploration.testing import TinyProblem
        >>> results = InProcess(TinyProblem((3, 3))).evaluate([(0, 0), (1, 2)])
        >>> [result.objectives for result in results]
        [(0.0, 3.0), (9.0, 2.375)]
    """

    def evaluate(
        self, batch: Sequence[Genes], front: Sequence[Trial] = ()
    ) -> Generator[Evaluated, None, None]:
        """Yield how the evaluation of each point ended, in the order of ``batch``.

        Args:
            batch: The points.
            front: The complete trials that no other dominated when the batch was asked for. A
                point that one of them surely dominates may be pruned.
        """
        ...


class InProcess:
    """Evaluates in this process and thread, each point when its result is asked for.

    Points of a `SampledProblem` are evaluated several at a time, as many as take about
    `LOOK_AHEAD_SECONDS`, and pruned when the front dominates them.

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
        self._together = 1

    def evaluate(
        self, batch: Sequence[Genes], front: Sequence[Trial] = ()
    ) -> Generator[Evaluated, None, None]:
        """Yield how the evaluation of each point ended, in the order of ``batch``."""
        problem = self._problem
        if not isinstance(problem, SampledProblem):
            for genes in batch:
                yield evaluated(problem, genes)
            return
        rivals = Rivals(problem, front)
        done = 0
        while done < len(batch):
            group = batch[done : done + self._together]
            started = time.monotonic()
            results = evaluated_together(problem, group, rivals)
            seconds = max(time.monotonic() - started, 1e-6) / len(group)
            self._together = max(1, min(2 * len(group), int(LOOK_AHEAD_SECONDS / seconds)))
            yield from results
            done += len(group)


def evaluated(problem: Problem, genes: Genes) -> Evaluated:
    """Evaluate one point. Whatever goes wrong, short of an interrupt, is a failed result."""
    started = time.monotonic()
    result = _settled(problem, lambda: problem.evaluate(genes))
    return replace(result, seconds=time.monotonic() - started)


def evaluated_together(
    problem: SampledProblem, group: Sequence[Genes], rivals: Rivals
) -> list[Evaluated]:
    """Evaluate several points part by part; each result is as if it was alone.

    Args:
        problem: What to evaluate.
        group: The points.
        rivals: What prunes them.
    """
    partials = [_begun(problem, genes) for genes in group]
    for part in range(len(problem.parts)):
        going = [partial for partial in partials if partial.goes_on]
        problem.extend(going, part)
        if part < len(problem.parts) - 1:
            for partial in going:
                if partial.goes_on:
                    rivals.stop_if_dominated(partial)
    return [
        replace(_settled(problem, bind(_outcome, problem, one)), seconds=one.seconds)
        for one in partials
    ]


def _begun(problem: SampledProblem, genes: Genes) -> Partial:
    started = time.monotonic()
    try:
        partial = problem.begin(genes)
    except Exception as error:
        partial = Partial(genes, fault=error)
    partial.seconds += time.monotonic() - started
    return partial


def _outcome(problem: SampledProblem, partial: Partial) -> Outcome:
    """Return how an evaluation ended that had all the parts it needs."""
    if partial.fault is not None:
        raise partial.fault
    if partial.stopped is not None:
        return partial.stopped
    outcome = problem.finish(partial)
    if len(problem.parts) == 1:
        return outcome
    samples = packed(np.concatenate(partial.values), problem.parts[-1])
    return replace(outcome, info={**outcome.info, "samples": samples})


def _settled(problem: Problem, evaluate: Callable[[], Outcome]) -> Evaluated:
    """Return an outcome as a result, apart from its duration; an exception is a fault."""
    objectives: tuple[float, ...] = ()
    info: Mapping[str, Any] = {}
    fidelity = FULL
    try:
        outcome = evaluate()
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
    return Evaluated(state, objectives, info, reason, 0.0, fidelity)


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
