"""A problem with a known front, and the conformance check of algorithms, for plug-ins too."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from axopt.exploration.algorithm import create_algorithm
from axopt.exploration.front import non_dominated
from axopt.exploration.loop import SearchOutcome, run_search
from axopt.exploration.space import Genes, SearchSpace
from axopt.exploration.store import Store
from axopt.exploration.trial import Outcome, State, Trial

_BUDGET = 60
_SEED = 3


class TinyProblem:
    """Loss against power of a made-up network: choice 0 is exact, higher ones are cheaper.

    The loss of a layer grows with its choice, is larger in every second layer, and two cheap
    neighbours cost extra, so that the front is not made of independent layers.

    Args:
        sizes: Choices of each layer; the default has 256 points.
    """

    objective_names = ("loss", "power")

    def __init__(self, sizes: Sequence[int] = (4, 4, 4, 4)) -> None:
        names = tuple(f"layer{index}" for index in range(len(sizes)))
        self.space = SearchSpace(names, tuple(sizes))

    def evaluate(self, genes: Genes) -> Outcome:
        """Loss and power of ``genes``, exact in binary floating point."""
        loss = float(sum(gene**2 * (1 + layer % 2) for layer, gene in enumerate(genes)))
        loss += sum(2.0 for a, b in itertools.pairwise(genes) if a >= 2 and b >= 2)
        power = sum((layer + 1) * (1 - gene / 8) for layer, gene in enumerate(genes))
        return Outcome((loss, power), {"loss": loss})

    def true_front(self) -> set[tuple[float, ...]]:
        """The objectives of the Pareto-optimal points, by looking at every point."""
        points = itertools.product(*(range(size) for size in self.space.sizes))
        objectives = [self.evaluate(genes).objectives for genes in points]
        mask = non_dominated(objectives)
        return {values for values, kept in zip(objectives, mask, strict=True) if kept}


class FlakyProblem(TinyProblem):
    """`TinyProblem` where some points raise, and some have a loss that is NaN.

    Args:
        fails: Which points raise; by default every fifth in some fixed order.
    """

    def __init__(self, fails: Callable[[Genes], bool] | None = None) -> None:
        super().__init__()
        self._fails = fails or (lambda genes: sum(genes) % 5 == 2)

    def evaluate(self, genes: Genes) -> Outcome:
        """As `TinyProblem`, with faults."""
        if self._fails(genes):
            raise RuntimeError(f"cannot evaluate {genes}")
        outcome = super().evaluate(genes)
        if sum(genes) % 5 == 4:
            return replace(outcome, objectives=(float("nan"), outcome.objectives[1]))
        return outcome


def check_algorithm(name: str) -> None:
    """Check that a registered algorithm keeps the contract of `Algorithm`.

    The same seed gives the same trials; a search resumed from any half-filled store goes on as
    if never stopped; seeds come first; no proposal lies outside the space; failing evaluations,
    even all of them, do no harm; and the search of a small space ends.

    Raises:
        AssertionError: Naming the rule that the algorithm breaks.
        ArgumentError: If ``name`` is not registered, or it proposes a point out of the space.
    """
    full = _search(name, TinyProblem(), Store.in_memory())
    _require(name, len(full.trials) == _BUDGET, f"spends a budget of {_BUDGET}")
    _require(name, [t.genes for t in full.trials[:4]] == _seeds(4), "evaluates the seeds first")
    again = _search(name, TinyProblem(), Store.in_memory())
    _require(name, timeless(again.trials) == timeless(full.trials), "repeats with its seed")
    for already in (1, 4, _BUDGET // 2, _BUDGET - 1):
        resumed = _search(name, TinyProblem(), _store_with(full.trials[:already]))
        _require(
            name,
            timeless(resumed.trials) == timeless(full.trials)
            and resumed.n_evaluated == _BUDGET - already,
            f"goes on from {already} stored trials as if never stopped",
        )
    _check_failures(name)
    _check_end(name)


def timeless(trials: Sequence[Trial]) -> list[Trial]:
    """``trials`` without their durations, the one part of them that may differ."""
    return [replace(trial, seconds=0.0) for trial in trials]


def _check_failures(name: str) -> None:
    flaky = _search(name, FlakyProblem(), Store.in_memory())
    _require(name, len(flaky.trials) == _BUDGET, "goes on when some evaluations fail")
    _require(name, 0 < flaky.n_failed < _BUDGET, "meets both kinds of points")
    complete = all(trial.state is State.COMPLETE for trial in flaky.front)
    _require(name, complete, "has no failed trial in the front")
    hopeless = _search(name, FlakyProblem(lambda genes: True), Store.in_memory())
    _require(name, hopeless.n_failed == _BUDGET, "goes on when all evaluations fail")


def _check_end(name: str) -> None:
    for sizes in ((2, 2, 2), (1, 3, 1), (1,)):
        problem = TinyProblem(sizes)
        outcome = _search(name, problem, Store.in_memory(), budget=1000, n_seeds=1)
        ended = outcome.stop_reason in ("exhausted", "nothing new")
        _require(name, ended, f"ends in a space of {problem.space.n_points} points")


def _search(
    name: str, problem: TinyProblem, store: Store, *, budget: int = _BUDGET, n_seeds: int = 4
) -> SearchOutcome:
    store.settle("order", "algorithm")  # else a small space is searched exhaustively
    algorithm = create_algorithm(name, problem.space, n_objectives=2, seed=_SEED, population=10)
    seeds = _seeds(n_seeds, len(problem.space.sizes))
    return run_search(problem, algorithm, store, budget=budget, seeds=seeds)


def _seeds(count: int, layers: int = 4) -> list[Genes]:
    return [(choice,) * layers for choice in range(count)]


def _store_with(trials: Sequence[Trial]) -> Store:
    store = Store.in_memory()
    for trial in trials:
        store.commit(trial)
    return store


def _require(name: str, kept: bool, rule: str) -> None:
    if not kept:
        raise AssertionError(f"algorithm {name!r} breaks a rule: it {rule}.")
