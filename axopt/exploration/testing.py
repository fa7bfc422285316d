"""Problems with a known front, and conformance checks of algorithms, stores and evaluators.

The checks are for plug-ins too: a package that brings an algorithm calls `check_algorithm` in its
tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature

import numpy as np

from axopt.errors import StoreError
from axopt.exploration.algorithm import OptionValue, create_algorithm
from axopt.exploration.algorithms import ALGORITHMS
from axopt.exploration.evaluator import Evaluator
from axopt.exploration.front import non_dominated
from axopt.exploration.loop import SearchOutcome, run_search
from axopt.exploration.space import Genes, Known, SearchSpace
from axopt.exploration.staging import Partial, parts_of
from axopt.exploration.store import Store
from axopt.exploration.trial import Evaluated, Outcome, Problem, State, Trial
from axopt.exploration.variants import VARIANTS, Variant

_BUDGET = 60
_FEW = 20
_SEED = 3


class TinyProblem:
    """Loss against power of a made-up network: option 0 is exact, higher ones are cheaper.

    The loss of a layer grows with its option, is larger in every second layer, and two cheap
    neighbours cost extra, so that the front is not made of independent layers. The power is
    additive, which the space says.

    Args:
        sizes: Number of options of each layer; the default has 256 points.
        estimated: Whether the space estimates the loss as well, as sensitivities would: the loss
            of each option, the others exact.

    Example:
        >>> from axopt.exploration.testing import TinyProblem
        >>> TinyProblem((4, 4)).evaluate((0, 3)).objectives
        (18.0, 2.25)
    """

    objective_names = ("loss", "power")

    def __init__(self, sizes: Sequence[int] = (4, 4, 4, 4), *, estimated: bool = False) -> None:
        names = tuple(f"layer{index}" for index in range(len(sizes)))
        power = tuple(
            tuple((layer + 1) * (1 - option / 8) for option in range(size))
            for layer, size in enumerate(sizes)
        )
        known = [Known(objective=1, values=power, exact=True)]
        if estimated:
            loss = tuple(
                tuple(float(option**2 * (1 + layer % 2)) for option in range(size))
                for layer, size in enumerate(sizes)
            )
            known.append(Known(objective=0, values=loss, exact=False))
        self.space = SearchSpace(names, tuple(sizes), tuple(known))

    def evaluate(self, genes: Genes) -> Outcome:
        """Return loss and power of ``genes``, exact in binary floating point."""
        loss = float(sum(gene**2 * (1 + layer % 2) for layer, gene in enumerate(genes)))
        loss += sum(2.0 for a, b in itertools.pairwise(genes) if a >= 2 and b >= 2)
        power = sum((layer + 1) * (1 - gene / 8) for layer, gene in enumerate(genes))
        return Outcome((loss, power), {"loss": loss})

    def true_front(self) -> set[tuple[float, ...]]:
        """Return the objectives of the Pareto-optimal points, by looking at every point."""
        points = itertools.product(*(range(size) for size in self.space.sizes))
        objectives = [self.evaluate(genes).objectives for genes in points]
        mask = non_dominated(objectives)
        return {values for values, kept in zip(objectives, mask, strict=True) if kept}


class FlakyProblem(TinyProblem):
    """`TinyProblem` where some points raise, and some have a loss that is NaN.

    Args:
        fails: Which points raise; by default every fifth in some fixed order.
        estimated: See `TinyProblem`.
    """

    def __init__(
        self, fails: Callable[[Genes], bool] | None = None, *, estimated: bool = False
    ) -> None:
        super().__init__(estimated=estimated)
        self._fails = fails or (lambda genes: sum(genes) % 5 == 2)

    def evaluate(self, genes: Genes) -> Outcome:
        """Evaluate as `TinyProblem` does, with faults."""
        if self._fails(genes):
            raise RuntimeError(f"cannot evaluate {genes}")
        outcome = super().evaluate(genes)
        if sum(genes) % 5 == 4:
            return replace(outcome, objectives=(float("nan"), outcome.objectives[1]))
        return outcome


class StagedProblem(TinyProblem):
    """`TinyProblem` where points of a high loss are stopped after a quarter of their evaluation.

    Args:
        limit: Loss above which a point is pruned.
        estimated: See `TinyProblem`.
    """

    def __init__(self, limit: float = 20.0, *, estimated: bool = False) -> None:
        super().__init__(estimated=estimated)
        self._limit = limit

    def evaluate(self, genes: Genes) -> Outcome:
        """Evaluate as `TinyProblem` does; estimates where the evaluation stops early."""
        outcome = super().evaluate(genes)
        if outcome.objectives[0] <= self._limit:
            return outcome
        return replace(outcome, fidelity=0.25)


class SampledTinyProblem(TinyProblem):
    """`TinyProblem` whose loss is a mean over samples, as that of a network is.

    The loss of a sample is that of `TinyProblem` times two skewed random factors: one of the
    sample, one of the sample and the point.

    Args:
        sizes: Number of options of each layer.
        n: Number of samples.
        shuffled: Whether samples are in random order; otherwise those with large values are first.
        spread: Standard deviation of the logarithm of each factor.

    Attributes:
        n_measured: Number of values of samples that were measured so far.

    Example:
        >>> from axopt.exploration.testing import SampledTinyProblem
        >>> problem = SampledTinyProblem((4, 4))
        >>> problem.parts, problem.evaluate((0, 0)).objectives
        ((16, 32, 63, 125, 188, 250, 313, 375, 438, 500), (0.0, 3.0))
    """

    def __init__(
        self,
        sizes: Sequence[int] = (4, 4, 4, 4),
        n: int = 500,
        *,
        shuffled: bool = False,
        spread: float = 0.8,
    ) -> None:
        super().__init__(sizes)
        self._spread = spread
        self._of_samples = np.random.default_rng(0).lognormal(0.0, spread, n)
        if not shuffled:
            self._of_samples[::-1].sort()
        self.shuffled = shuffled
        self.parts = parts_of(n)
        self.n_measured = 0

    def begin(self, genes: Genes) -> Partial:
        """Begin with all values that may be asked for."""
        own = np.random.default_rng(genes).lognormal(0.0, self._spread, self.parts[-1])
        loss = super().evaluate(genes).objectives[0]
        return Partial(genes, state=loss * self._of_samples * own)

    def extend(self, partials: Sequence[Partial], part: int) -> None:
        """Reveal the values of a part, of the last point first."""
        first = self.parts[part - 1] if part else 0
        for partial in reversed(partials):
            partial.values.append(partial.state[first : self.parts[part]])
            self.n_measured += self.parts[part] - first

    def finish(self, partial: Partial) -> Outcome:
        """Return the mean of all values, and the power."""
        loss = float(np.concatenate(partial.values).mean())
        return Outcome((loss, super().evaluate(partial.genes).objectives[1]))

    def evaluate(self, genes: Genes) -> Outcome:
        """Evaluate on all samples."""
        partial = self.begin(genes)
        for part in range(len(self.parts)):
            self.extend([partial], part)
        return self.finish(partial)


def check_algorithm(name: str, **options: OptionValue) -> None:
    """Check that a registered algorithm keeps the contract of `Algorithm`.

    The same seed gives the same trials. A search resumed from any half-filled store continues as
    if it was never stopped. Seeds come first. No proposal lies outside the space. Evaluations
    that fail, even all of them, or that are stopped early do no harm. The search of a small space
    ends. So does that of spaces with uneven genes, limits, few kinds of options, a third objective
    or unknown costs. An algorithm that uses sensitivities is given them.

    Args:
        name: A name of `axopt.exploration.list_algorithms`.
        **options: Options of the algorithm.

    Raises:
        AssertionError: Naming the rule that the algorithm breaks.
        ArgumentError: If ``name`` is not registered, an option is wrong, or the algorithm
            proposes a point out of the space.

    Example:
        >>> from axopt.exploration.testing import check_algorithm
        >>> check_algorithm("random")
    """
    problem = TinyProblem(estimated=_estimates(name))
    full = _search(name, problem, Store.in_memory(), options)
    _require(name, _ended(full), f"spends a budget of {_BUDGET}, or says why it stops")
    _require(name, [t.genes for t in full.trials[:4]] == _seeds(4), "evaluates the seeds first")
    again = _search(name, problem, Store.in_memory(), options)
    _require(name, timeless(again.trials) == timeless(full.trials), "repeats with its seed")
    count = len(full.trials)
    for already in (1, 4, count // 2, count - 1):
        resumed = _search(name, problem, _store_with(full.trials[:already]), options)
        _require(
            name,
            timeless(resumed.trials) == timeless(full.trials)
            and resumed.n_evaluated == count - already,
            f"goes on from {already} stored trials as if never stopped",
        )
    _check_variants(name, options)
    _check_failures(name, options)
    _check_pruning(name, options)
    _check_end(name, options)


def check_store(create: Callable[[], Store]) -> None:
    """Check that a store keeps trials of every state, in order, and changes none.

    Args:
        create: Makes an empty store, open for writing.

    Raises:
        AssertionError: Naming the rule that the store breaks.

    Example:
        >>> from axopt.exploration import Store
        >>> from axopt.exploration.testing import check_store
        >>> check_store(Store.in_memory)
    """
    trials = [
        Trial(0, (0, 1), State.COMPLETE, (0.1, 1 / 3), {"text": "\u00e9"}, None, 0.5),
        Trial(1, (1, 1), State.FAILED, (), {"traceback": "..."}, "ValueError('x')", 0.25),
        Trial(2, (2, 0), State.PRUNED, (7.5, 0.2), {}, None, 0.125, 0.3),
    ]
    with create() as store:
        _require("store", store.trials() == [], "begins empty")
        for number, trial in enumerate(trials):
            store.commit(trial)
            _require("store", store.trials() == trials[: number + 1], "returns what it committed")
        for taken in (replace(trials[0], genes=(3, 3)), replace(trials[0], number=3)):
            try:
                store.commit(taken)
            except StoreError:
                continue
            _require("store", False, "refuses a number or genes that are taken")
        _require("store", store.trials() == trials, "is unchanged by a commit that it refuses")
        _require("store", store.settle("note", [1]) == [1], "returns a note that it settles")
        _require("store", store.settle("note", [2]) == [1], "keeps the first value of a note")


def check_evaluator(create: Callable[[Problem], Evaluator]) -> None:
    """Check that an evaluator keeps the contract of `Evaluator`.

    Args:
        create: Makes the evaluator of a problem.

    Raises:
        AssertionError: Naming the rule that the evaluator breaks.

    Example:
        >>> from axopt.exploration import InProcess
        >>> from axopt.exploration.testing import check_evaluator
        >>> check_evaluator(InProcess)
    """
    batch = [(3, 3, 3, 3), (0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 0), (1, 1, 1, 1)]
    _require("evaluator", list(create(TinyProblem()).evaluate([])) == [], "takes an empty batch")
    problem = TinyProblem()
    results = list(create(problem).evaluate(batch))
    expected = [problem.evaluate(genes).objectives for genes in batch]
    _require("evaluator", [r.objectives for r in results] == expected, "keeps the order of asking")
    _require("evaluator", {r.state for r in results} == {State.COMPLETE}, "completes evaluations")
    flaky = list(create(FlakyProblem()).evaluate(batch))
    states = [State.FAILED if sum(genes) % 5 in (2, 4) else State.COMPLETE for genes in batch]
    _require("evaluator", [r.state for r in flaky] == states, "returns faults as failed results")
    for result in flaky:
        told = (result.objectives == ()) == (result.reason is not None)
        _require("evaluator", told, "gives failed results a reason and no objectives")
    staged = list(create(StagedProblem()).evaluate(batch))
    pruned = [r.state for r in staged].count(State.PRUNED)
    _require("evaluator", 0 < pruned < len(batch), "prunes what was stopped early")
    _check_results_are_lazy(create, batch)
    _check_front(create)


def _check_results_are_lazy(
    create: Callable[[Problem], Evaluator], batch: Sequence[Genes]
) -> None:
    """Check that the first result can be committed before the last one is there."""
    results = create(TinyProblem()).evaluate(batch)
    first: Evaluated = next(results)
    results.close()
    same = first.objectives == TinyProblem().evaluate(batch[0]).objectives
    _require("evaluator", same, "yields the first result on its own")
    _require("evaluator", next(results, None) is None, "yields nothing after it was closed")


def _check_front(create: Callable[[Problem], Evaluator]) -> None:
    """Check that points are pruned by the front alone, whatever else is in their batch."""
    points = [(0, 0, 0, 0), (0, 0, 1, 0), (0, 0, 2, 0), (3, 3, 2, 3), (1, 0, 1, 1), (0, 3, 3, 0)]

    def results(batch: Sequence[Genes], front: Sequence[Trial]) -> list[Evaluated]:
        evaluator = create(SampledTinyProblem())
        told = {"front": front} if "front" in signature(evaluator.evaluate).parameters else {}
        return [replace(r, seconds=0.0) for r in evaluator.evaluate(batch, **told)]

    complete = results(points, ())
    states = {result.state for result in complete}
    _require("evaluator", states == {State.COMPLETE}, "prunes nothing without a front")
    front = [Trial.of(number, *of) for number, of in enumerate(zip(points, complete, strict=True))]
    together = results(points, front[:3])
    alone = [results([genes], front[:3])[0] for genes in points]
    _require("evaluator", together == alone, "evaluates each point as if it was alone")
    for result, full in zip(together, complete, strict=True):
        if result.state is State.PRUNED:
            dominated = any(
                all(a <= b for a, b in zip(t.objectives, full.objectives, strict=True))
                for t in front[:3]
            )
            _require("evaluator", dominated, "prunes only points that the front dominates")


def timeless(trials: Sequence[Trial]) -> list[Trial]:
    """Return ``trials`` without durations, the only part that differs between two runs."""
    return [replace(trial, seconds=0.0) for trial in trials]


def _check_variants(name: str, options: dict[str, OptionValue]) -> None:
    """Check searches of spaces of all kinds, each stopped and resumed once."""
    for kind, make in VARIANTS.items():
        problem = make(_estimates(name))

        def search(store: Store, problem: Variant = problem) -> SearchOutcome:
            store.settle("order", "algorithm")
            algorithm = create_algorithm(
                name,
                problem.space,
                n_objectives=len(problem.objective_names),
                seed=_SEED,
                population=10,
                **options,
            )
            seeds = [(0,) * len(problem.space.sizes)]
            return run_search(
                problem, algorithm, store, budget=_FEW, seeds=seeds, repair=problem.repaired
            )

        whole = search(Store.in_memory())
        ended = len(whole.trials) == _FEW or whole.stop_reason not in ("budget", "nothing new")
        _require(name, ended, f"searches a space with {kind}")
        half = len(whole.trials) // 2
        resumed = search(_store_with(whole.trials[:half]))
        same = timeless(resumed.trials) == timeless(whole.trials)
        _require(name, same, f"goes on in a space with {kind} as if never stopped")


def _check_failures(name: str, options: dict[str, OptionValue]) -> None:
    estimated = _estimates(name)
    flaky = _search(name, FlakyProblem(estimated=estimated), Store.in_memory(), options)
    _require(name, _ended(flaky), "goes on when some evaluations fail")
    _require(name, 0 < flaky.n_failed < len(flaky.trials), "meets both kinds of points")
    complete = all(trial.state is State.COMPLETE for trial in flaky.front)
    _require(name, complete, "has no failed trial in the front")
    all_fail = FlakyProblem(lambda genes: True, estimated=estimated)
    hopeless = _search(name, all_fail, Store.in_memory(), options)
    _require(name, _ended(hopeless), "goes on when all evaluations fail")
    _require(name, hopeless.n_failed == len(hopeless.trials), "asks for points of the space")


def _check_pruning(name: str, options: dict[str, OptionValue]) -> None:
    store = Store.in_memory()
    problem = StagedProblem(estimated=_estimates(name))
    staged = _search(name, problem, store, options)
    _require(name, _ended(staged), "goes on when evaluations are stopped early")
    complete = all(trial.state is State.COMPLETE for trial in staged.front)
    _require(name, complete, "has no pruned trial in the front")
    resumed = _search(name, problem, _store_with(staged.trials[:30]), options)
    same = timeless(resumed.trials) == timeless(staged.trials)
    _require(name, same, "goes on from stored pruned trials as if never stopped")


def _check_end(name: str, options: dict[str, OptionValue]) -> None:
    for sizes in ((2, 2, 2), (1, 3, 1), (1,)):
        problem = TinyProblem(sizes, estimated=_estimates(name))
        outcome = _search(name, problem, Store.in_memory(), options, budget=1000, n_seeds=1)
        ended = outcome.stop_reason != "budget"
        _require(name, ended, f"ends in a space of {problem.space.n_points} points")


def _estimates(name: str) -> bool:
    """Return whether the spaces of an algorithm should hold sensitivities."""
    return bool(getattr(ALGORITHMS[name], "uses_sensitivities", False))


def _ended(outcome: SearchOutcome) -> bool:
    """Return whether a search spent its budget, or its algorithm said why it did not."""
    return len(outcome.trials) == _BUDGET or outcome.stop_reason not in ("budget", "nothing new")


def _search(
    name: str,
    problem: TinyProblem,
    store: Store,
    options: dict[str, OptionValue],
    *,
    budget: int = _BUDGET,
    n_seeds: int = 4,
) -> SearchOutcome:
    store.settle("order", "algorithm")  # else a small space is searched exhaustively
    algorithm = create_algorithm(
        name, problem.space, n_objectives=2, seed=_SEED, population=10, **options
    )
    seeds = _seeds(n_seeds, len(problem.space.sizes))
    return run_search(problem, algorithm, store, budget=budget, seeds=seeds)


def _seeds(count: int, layers: int = 4) -> list[Genes]:
    return [(option,) * layers for option in range(count)]


def _store_with(trials: Sequence[Trial]) -> Store:
    store = Store.in_memory()
    for trial in trials:
        store.commit(trial)
    return store


def _require(name: str, kept: bool, rule: str) -> None:
    if not kept:
        what = name if name in ("store", "evaluator") else f"algorithm {name!r}"
        raise AssertionError(f"{what} breaks a rule: it {rule}.")
