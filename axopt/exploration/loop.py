"""The search loop: ask, evaluate, commit, tell.

A search is a pure function of the space, the algorithm with its seed, the seeds, the budget and
the evaluations. So nothing of an algorithm is stored: on resume it starts anew, and every
proposal that the store knows is answered from there. The trials, their order and the front are
those of a search that was never stopped, wherever it was killed.
"""

import json
import logging
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError, StoreError
from axopt.exploration.algorithm import DEFAULT_POPULATION, Algorithm
from axopt.exploration.front import non_dominated
from axopt.exploration.plain import ExhaustiveSearch
from axopt.exploration.records import to_json
from axopt.exploration.space import Genes, SearchSpace
from axopt.exploration.store import Store
from axopt.exploration.trial import Outcome, Problem, State, Trial

MAX_STALE_ASKS = 100
"""The search stops after this many asks in a row without a new point."""

_MAX_REASON_CHARS = 500
_TRACEBACK_FRAMES = 5

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchOutcome:
    """How a search went.

    Args:
        trials: All trials, by number, including those of earlier runs on the same store.
        n_evaluated: Evaluations that this run made, failed ones included.
        n_cached: Proposals that this run answered without evaluating: replayed from the store,
            or proposed before.
        n_failed: Trials that failed.
        stop_reason: ``"budget"`` (as many distinct points were evaluated), ``"exhausted"``
            (every point of the space was) or ``"nothing new"`` (the algorithm only repeats).
    """

    trials: tuple[Trial, ...]
    n_evaluated: int
    n_cached: int
    n_failed: int
    stop_reason: str

    @property
    def front(self) -> tuple[Trial, ...]:
        """The complete trials that no other dominates, by number."""
        complete = [trial for trial in self.trials if trial.state is State.COMPLETE]
        if not complete:
            return ()
        mask = non_dominated([trial.objectives for trial in complete])
        return tuple(trial for trial, kept in zip(complete, mask, strict=True) if kept)


def run_search(
    problem: Problem,
    algorithm: Algorithm,
    store: Store,
    *,
    budget: int,
    seeds: Sequence[Genes] = (),
    on_trial: Callable[[Trial], None] | None = None,
) -> SearchOutcome:
    """Search until the budget is spent or nothing new can be proposed.

    A space with at most ``budget`` points is searched exhaustively, whatever ``algorithm`` is.
    The store remembers that choice of its first run, so that resuming with another budget goes
    on with the same sequence: a larger budget extends it, a smaller one gives its beginning.

    Args:
        problem: What to evaluate. An exception, or objectives that are not finite, fail the
            trial; a failed point counts in the budget, is never told to the algorithm and never
            in the front.
        algorithm: A fresh one: neither asked nor told yet.
        store: Where trials are committed before the algorithm hears of them.
        budget: Distinct points to evaluate, those already in the store included.
        seeds: Points that are evaluated first, in this order, and told to the algorithm.
        on_trial: Called after each commit of this run, not for replayed trials.

    Raises:
        ArgumentError: If ``budget`` is below 1, or a seed or a proposal is not in the space.
        StoreError: If the store holds other trials than this search asks for, or cannot be
            written.
    """
    if budget < 1:
        raise ArgumentError(f"`budget` must be >= 1, got {budget}.")
    for index, seed in enumerate(seeds):
        if not problem.space.contains(seed):
            raise ArgumentError(f"`seeds[{index}]` must be in the space, got {seed}.")
    ledger = _Ledger(problem, store, budget, on_trial)
    algorithm = _settle_algorithm(algorithm, problem.space, store, budget)
    genes, objectives = ledger.answer(seeds)
    stop_reason, stale_asks = ledger.stop_reason(0), 0
    if stop_reason is None:
        algorithm.tell(genes, objectives)
    while stop_reason is None:
        known = len(ledger.trials)
        genes, objectives = ledger.answer(algorithm.ask())
        stale_asks = 0 if len(ledger.trials) > known else stale_asks + 1
        stop_reason = ledger.stop_reason(stale_asks)
        if stop_reason is None:
            algorithm.tell(genes, objectives)
    return ledger.outcome(stop_reason)


class _Ledger:
    """Answers proposals: from this run, else from the store, else by evaluating."""

    def __init__(
        self,
        problem: Problem,
        store: Store,
        budget: int,
        on_trial: Callable[[Trial], None] | None,
    ) -> None:
        self.trials: list[Trial] = []
        self._problem = problem
        self._store = store
        self._budget = budget
        self._on_trial = on_trial
        self._recorded = store.trials()
        self._by_genes: dict[Genes, Trial] = {}
        self._n_evaluated = 0
        self._n_cached = 0

    def answer(self, proposals: Sequence[Genes]) -> tuple[list[Genes], npt.NDArray[np.float64]]:
        """The proposals that have objectives, and these; ends early when the budget is spent."""
        told: dict[Genes, tuple[float, ...]] = {}
        for proposal in proposals:
            genes = tuple(int(gene) for gene in proposal)  # an algorithm may deal in NumPy's
            if not self._problem.space.contains(genes):
                raise ArgumentError(f"`algorithm` must propose points of the space, got {genes}.")
            if genes in self._by_genes:
                self._n_cached += 1
            elif len(self.trials) >= self._budget:
                break
            else:
                self._record(genes)
            trial = self._by_genes[genes]
            if trial.state is State.COMPLETE:
                told[genes] = trial.objectives
        width = len(self._problem.objective_names)
        return list(told), np.array(list(told.values()), dtype=np.float64).reshape(-1, width)

    def stop_reason(self, stale_asks: int) -> str | None:
        """Why the search is over; None while it is not."""
        if len(self.trials) >= self._problem.space.n_points:
            return "exhausted"
        if len(self.trials) >= self._budget:
            return "budget"
        return "nothing new" if stale_asks >= MAX_STALE_ASKS else None

    def outcome(self, stop_reason: str) -> SearchOutcome:
        return SearchOutcome(
            trials=tuple(self.trials),
            n_evaluated=self._n_evaluated,
            n_cached=self._n_cached,
            n_failed=sum(trial.state is State.FAILED for trial in self.trials),
            stop_reason=stop_reason,
        )

    def _record(self, genes: Genes) -> None:
        number = len(self.trials)
        if number < len(self._recorded):
            trial = self._replayed(number, genes)
            self._n_cached += 1
        else:
            trial = _run_trial(self._problem, number, genes)
            self._store.commit(trial)  # durable from here; a crash before tell() replays it
            self._n_evaluated += 1
            if self._on_trial is not None:
                self._on_trial(trial)
        self.trials.append(trial)
        self._by_genes[genes] = trial

    def _replayed(self, number: int, genes: Genes) -> Trial:
        trial = self._recorded[number]
        width = len(self._problem.objective_names) if trial.state is State.COMPLETE else 0
        if trial.genes != genes or len(trial.objectives) != width:
            raise StoreError(
                f"{self._store.path}: does not belong to this search, or is damaged: its trial "
                f"{number} is {trial.genes} with {len(trial.objectives)} objectives, this "
                f"search asks for {genes} with {width}."
            )
        return trial


def _settle_algorithm(
    algorithm: Algorithm, space: SearchSpace, store: Store, budget: int
) -> Algorithm:
    """``algorithm``, or exhaustive search where the space fits the store's first budget."""
    fits = space.n_points <= budget
    order = store.settle("order", "exhaustive" if fits else "algorithm")
    if order == "algorithm":
        return algorithm
    if order != "exhaustive":
        raise StoreError(f"{store.path}: has an unknown order of trials, {order!r}.")
    return ExhaustiveSearch(
        space,
        n_objectives=algorithm.n_objectives,
        seed=algorithm.seed,
        population=DEFAULT_POPULATION,
    )


def _run_trial(problem: Problem, number: int, genes: Genes) -> Trial:
    """Evaluate one point. Whatever goes wrong, short of an interrupt, is a failed trial."""
    started = time.monotonic()
    objectives: tuple[float, ...] = ()
    info: Mapping[str, Any] = {}
    try:
        outcome = problem.evaluate(genes)
        reason = _fault_of(outcome, problem.objective_names)
        if reason is None:
            objectives = tuple(float(value) for value in outcome.objectives)
            info = json.loads(to_json(dict(outcome.info)))  # as a resumed search will read it
    except Exception as error:
        reason = _printable(repr(error))
        info = {"traceback": _printable(traceback.format_exc(limit=-_TRACEBACK_FRAMES), None)}
    if reason is not None:
        _logger.warning("trial %d %s failed: %s", number, genes, reason)
    state = State.COMPLETE if reason is None else State.FAILED
    return Trial(number, genes, state, objectives, info, reason, time.monotonic() - started)


def _fault_of(outcome: Outcome, names: Sequence[str]) -> str | None:
    """The one gate for objectives: why ``outcome`` cannot be used, None if it can."""
    if len(outcome.objectives) != len(names):
        return f"{len(names)} objectives expected ({', '.join(names)}), got {outcome.objectives}"
    for name, value in zip(names, outcome.objectives, strict=True):
        if not math.isfinite(value):
            return f"objective not finite: {name}={float(value)}"
    try:
        to_json(dict(outcome.info))
    except (TypeError, ValueError) as error:
        return f"info is not JSON: {error}"
    return None


def _printable(text: str, limit: int | None = _MAX_REASON_CHARS) -> str:
    """``text`` as SQLite and a terminal can take it: no lone surrogates, not endless."""
    return text[:limit].encode("utf-8", "backslashreplace").decode()
