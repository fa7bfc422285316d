"""The search loop: ask, evaluate, commit, tell.

A search is a pure function of the space, the algorithm with its seed, the seeds, the budget and
the evaluations. So nothing of an algorithm is stored: on resume it starts anew, and every
proposal that the store knows is answered from there. The trials, their order and the front are
those of a search that was never stopped, wherever it was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError, StoreError
from axopt.exploration.algorithm import Algorithm
from axopt.exploration.algorithms import DEFAULT_POPULATION
from axopt.exploration.evaluator import Evaluator, InProcess
from axopt.exploration.front import non_dominated
from axopt.exploration.ledger import Ledger
from axopt.exploration.limits import Limits, Penalty
from axopt.exploration.plain import ExhaustiveSearch
from axopt.exploration.space import Genes, SearchSpace
from axopt.exploration.store import Store
from axopt.exploration.trial import Problem, State, Trial
from axopt.registry import blamed_on

MAX_STALE_ASKS = 100
"""The search stops after this many asks in a row without a new point."""


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
            (every point of the space was), ``"nothing new"`` (the algorithm only repeats),
            ``"interrupted"``, or what the algorithm says (`Algorithm.stop_reason`), such as
            ``"converged"``.
        exhaustive: Whether the space was searched exhaustively in place of the algorithm.
        learns_after: After how many points the algorithm's proposals depend on objectives.

    Example:
        >>> from axopt.exploration import SearchOutcome, State, Trial
        >>> good = Trial(0, (0,), State.COMPLETE, (1.0, 1.0), {}, None, 0.1)
        >>> bad = Trial(1, (1,), State.COMPLETE, (2.0, 1.0), {}, None, 0.1)
        >>> outcome = SearchOutcome((good, bad), 2, 0, 0, "budget")
        >>> [trial.number for trial in outcome.front]
        [0]
    """

    trials: tuple[Trial, ...]
    n_evaluated: int
    n_cached: int
    n_failed: int
    stop_reason: str
    exhaustive: bool = False
    learns_after: int = 0

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
    evaluator: Evaluator | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    repair: Callable[[Genes], Genes] | None = None,
    limits: Callable[[Sequence[Trial]], Limits] | None = None,
) -> SearchOutcome:
    """Search until the budget is spent or nothing new can be proposed.

    A space with at most ``budget`` points is searched exhaustively, whatever ``algorithm`` is.
    The store keeps which of the two its first run did, so that resuming with another budget
    goes on with the same sequence: a larger budget extends it, a smaller one gives its beginning.

    Args:
        problem: What to minimise. An exception, or objectives that are not finite, fail the
            trial; a failed point counts in the budget, is never told to the algorithm and never
            in the front.
        algorithm: A fresh one: neither asked nor told yet.
        store: Where trials are committed before the algorithm learns them.
        budget: Distinct points to evaluate, those already in the store included.
        seeds: Points that are evaluated first, in this order, and told to the algorithm.
        evaluator: Evaluates the points of ``problem``; in this process by default.
        on_trial: Called after each commit of this run, not for replayed trials.
        repair: Proposal -> the point of the space that is evaluated in its place, a pure function;
            a repaired point is its own repair. The algorithm is told the objectives of that point
            for its proposal. Trials, budget and front hold repaired points only, each once.
        limits: Trials of the seeds -> worst value of interest of every objective, a pure function;
            those of ``problem.space`` by default. The algorithm then looks for points within them,
            see `Algorithm.uses_limits`. Trials and front hold all points.

    Returns:
        The trials, their front, and why the search stopped.

    Raises:
        ArgumentError: If ``budget`` is below 1, or a seed or a proposal is not in the space.
        StoreError: If the store holds other trials than this search asks for, or cannot be
            written.

    Example:
        >>> from axopt.exploration import Store, create_algorithm, run_search
        >>> from axopt.exploration.testing import TinyProblem
        >>> problem = TinyProblem((3, 3))
        >>> algorithm = create_algorithm("random", problem.space, n_objectives=2)
        >>> outcome = run_search(problem, algorithm, Store.in_memory(), budget=9)
        >>> outcome.stop_reason, len(outcome.trials), len(outcome.front)
        ('exhausted', 9, 7)
    """
    if budget < 1:
        raise ArgumentError(f"`budget` must be >= 1, got {budget}.")
    for index, seed in enumerate(seeds):
        if not problem.space.contains(seed):
            raise ArgumentError(f"`seeds[{index}]` must be in the space, got {seed}.")
    width = len(problem.objective_names)
    evaluator = InProcess(problem) if evaluator is None else evaluator
    ledger = Ledger(problem.space, width, evaluator, store, budget, on_trial, repair)
    running = _settle_algorithm(algorithm, problem.space, store, budget)
    stop_reason = _run(ledger, running, problem.space, budget, seeds, limits)
    return SearchOutcome(
        trials=tuple(ledger.trials),
        n_evaluated=ledger.n_evaluated,
        n_cached=ledger.n_cached,
        n_failed=sum(trial.state is State.FAILED for trial in ledger.trials),
        stop_reason=stop_reason,
        exhaustive=running is not algorithm,
        learns_after=running.learns_after(len(set(seeds))),
    )


def _run(
    ledger: Ledger,
    algorithm: Algorithm,
    space: SearchSpace,
    budget: int,
    seeds: Sequence[Genes],
    limits: Callable[[Sequence[Trial]], Limits] | None,
) -> str:
    """Ask, answer and tell until a reason to stop, which is returned."""

    def reason_to_stop(stale_asks: int) -> str | None:
        if len(ledger.trials) >= space.n_points:
            return "exhausted"
        if len(ledger.trials) >= budget:
            return "budget"
        return "nothing new" if stale_asks >= MAX_STALE_ASKS else None

    genes, objectives = ledger.answer(seeds)
    stop_reason, stale_asks = reason_to_stop(0), 0
    if stop_reason is None:
        settled = space.limits if limits is None else limits(ledger.trials)
        penalise = _focused(algorithm, settled, ledger.trials)
    while stop_reason is None:
        with blamed_on("algorithm", type(algorithm).__name__, "tell"):
            algorithm.tell(genes, penalise(objectives))
        known = len(ledger.trials)
        with blamed_on("algorithm", type(algorithm).__name__, "ask"):
            proposed = algorithm.ask()
        if algorithm.stop_reason is not None and not len(proposed):
            return algorithm.stop_reason
        genes, objectives = ledger.answer(proposed)
        stale_asks = 0 if len(ledger.trials) > known else stale_asks + 1
        stop_reason = reason_to_stop(stale_asks)
    return stop_reason


def _focused(
    algorithm: Algorithm, limits: Limits, trials: Sequence[Trial]
) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """Tell the algorithm the limits; return what turns objectives into those that it is told."""
    if all(limit is None for limit in limits):
        return lambda objectives: objectives
    algorithm.focus(limits)
    if algorithm.uses_limits:
        return lambda objectives: objectives
    return Penalty(limits, [t.objectives for t in trials if t.state is State.COMPLETE])


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
