"""Points are stopped early only where the front dominates them, and resuming stays exact."""

from __future__ import annotations

import numpy as np
import pytest

from axopt.exploration import (
    InProcess,
    State,
    Store,
    create_algorithm,
    non_dominated,
    run_search,
)
from axopt.exploration.staging import block_size, packed, parts_of, surely_above, unpacked
from axopt.exploration.testing import SampledTinyProblem, timeless


class InFull(SampledTinyProblem):
    """The same problem, evaluated in one part."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.parts = self.parts[-1:]


ORDERS = pytest.mark.parametrize("shuffled", [False, True])


def search(problem, algorithm="nsga2", *, budget=100, store=None, seed=0):
    store = store or Store.in_memory()
    store.settle("order", "algorithm")
    made = create_algorithm(algorithm, problem.space, n_objectives=2, seed=seed, population=10)
    seeds = [(option,) * 4 for option in range(4)]
    return run_search(problem, made, store, budget=budget, seeds=seeds)


def front_of(outcome):
    return [(trial.genes, trial.objectives) for trial in outcome.front]


@ORDERS
@pytest.mark.parametrize("algorithm", ["random", "exhaustive"])
def test_same_front_with_less_work(algorithm, shuffled):
    staged, full = SampledTinyProblem(shuffled=shuffled), InFull(shuffled=shuffled)
    budget = 256 if algorithm == "exhaustive" else 150
    outcome = search(staged, algorithm, budget=budget)
    expected = search(full, algorithm, budget=budget)
    assert front_of(outcome) == front_of(expected)
    assert [t.genes for t in outcome.trials] == [t.genes for t in expected.trials]
    assert staged.n_measured < full.n_measured / 1.4
    assert {t.state for t in outcome.trials} == {State.COMPLETE, State.PRUNED}


@ORDERS
def test_pruned_trials_are_dominated_and_estimated(shuffled):
    problem, full = SampledTinyProblem(shuffled=shuffled), InFull(shuffled=shuffled)
    outcome = search(problem)
    errors = []
    for trial in outcome.trials:
        exact = full.evaluate(trial.genes).objectives
        if trial.state is State.PRUNED:
            seen, by = trial.info["pruned"]["samples"], trial.info["pruned"]["dominated_by"]
            assert trial.fidelity == seen / 500 < 1
            rival = outcome.trials[by]
            assert rival.number < trial.number
            assert rival.state is State.COMPLETE
            assert rival.objectives[0] < exact[0]
            assert rival.objectives[0] < trial.objectives[0]
            assert rival.objectives[1] <= exact[1]
            assert trial.objectives[1] == pytest.approx(exact[1])
            errors.append(trial.objectives[0] / exact[0])
        else:
            assert trial.objectives == exact
    assert len(errors) > 20
    assert np.median(errors) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("algorithm", ["nsga2", "random"])
def test_resumed_from_any_store_as_if_never_stopped(algorithm, tmp_path):
    whole = search(SampledTinyProblem(), algorithm, budget=60)
    for already in (1, 7, 29, 59):
        with Store.open(tmp_path / f"{already}.sqlite", {}) as store:
            for trial in whole.trials[:already]:
                store.commit(trial)
            resumed = search(SampledTinyProblem(), algorithm, budget=60, store=store)
        assert timeless(resumed.trials) == timeless(whole.trials)
    shorter = search(SampledTinyProblem(), algorithm, budget=33)  # ends amid a batch
    assert timeless(shorter.trials) == timeless(whole.trials[:33])


class Strict(InProcess):
    """Notes the front that it is told with each batch."""

    def __init__(self, problem):
        super().__init__(problem)
        self.told = []

    def evaluate(self, batch, front=()):
        self.told.append((list(batch), list(front)))
        return super().evaluate(batch, front)


def test_the_front_is_that_of_the_time_of_asking():
    problem = SampledTinyProblem()
    evaluator = Strict(problem)
    made = create_algorithm("random", problem.space, n_objectives=2, seed=0, population=10)
    outcome = run_search(problem, made, Store.in_memory(), budget=34, evaluator=evaluator)
    asked = 0
    for batch, front in evaluator.told:
        before = [t for t in outcome.trials[:asked] if t.state is State.COMPLETE]
        mask = non_dominated([t.objectives for t in before]) if before else []
        assert front == [t for t, kept in zip(before, mask, strict=True) if kept]
        asked += len(batch)
    assert len(evaluator.told) == 4


class Failing(SampledTinyProblem):
    """Some points fail when they begin, some in their second part, some at the end."""

    def begin(self, genes):
        if genes[0] == 1:
            raise RuntimeError("at the beginning")
        return super().begin(genes)

    def extend(self, partials, part):
        for partial in partials:
            if partial.genes[0] == 2 and part == 1:
                partial.fault = RuntimeError("amid")
        super().extend([p for p in partials if p.goes_on], part)

    def finish(self, partial):
        if partial.genes[0] == 3:
            raise RuntimeError("at the end")
        return super().finish(partial)


def test_one_fault_fails_one_point():
    outcome = search(Failing(), "random", budget=60)
    plain = search(SampledTinyProblem(), "random", budget=60)
    reasons = {1: "at the beginning", 2: "amid", 3: "at the end"}
    failed = [t for t in outcome.trials if t.state is State.FAILED]
    assert {t.genes[0] for t in failed} == {1, 2, 3}
    assert all(reasons[t.genes[0]] in t.reason for t in failed)
    assert len(plain.trials) == len(outcome.trials)


class OldEvaluator:
    """Made before evaluators were told the front."""

    def __init__(self, problem):
        self.problem = problem

    def evaluate(self, batch):
        yield from InProcess(self.problem).evaluate(batch)


def test_an_evaluator_that_takes_no_front_evaluates_in_full():
    problem = SampledTinyProblem()
    made = create_algorithm("random", problem.space, n_objectives=2, seed=0, population=10)
    outcome = run_search(
        problem, made, Store.in_memory(), budget=40, evaluator=OldEvaluator(problem)
    )
    assert {t.state for t in outcome.trials} == {State.COMPLETE}


def test_wrong_stops_are_as_rare_as_stated():
    """Two points with equal means; a quarter of the samples of a skewed distribution is seen."""
    rng = np.random.default_rng(0)
    wrong = dict.fromkeys((0.0, 1.0, -1.0), 0)
    runs = 4000
    for _ in range(runs):
        common, ours, theirs = rng.lognormal(0, 1.0, (3, 200))
        for tilt in wrong:  # the point or its rival has the longer tail
            a, b = (
                common * ours ** (1 + max(tilt, 0) / 2),
                common * theirs ** (1 - min(tilt, 0) / 2),
            )
            b = b * a.mean() / b.mean()
            wrong[tilt] += surely_above(a[:50], b, b.mean(), 0.25, 0.01)
    assert max(wrong.values()) / runs <= 0.015


def test_parts_are_whole_blocks():
    for n in (1, 16, 31, 63, 64, 100, 359, 500, 1000, 4096, 4097, 10_000, 50_000):
        parts, size = parts_of(n), block_size(n)
        assert parts[-1] == n
        assert all(part % size == 0 for part in parts[:-1])
        steps = np.diff((0, *parts[:-1]))
        assert (steps >= 16 * size - size).all()
        assert max(steps, default=0) <= max(n / 8, 32 * size) + size
        values = np.random.default_rng(0).random(n)
        kept = unpacked(packed(values, n)).tolist()
        assert len(kept) <= 4096
        some = unpacked(packed(values[: parts[0]], n)).tolist()
        assert kept[: len(some)] == some
        assert np.mean(kept) == pytest.approx(values.mean(), rel=1e-3)
