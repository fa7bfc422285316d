"""Limits of objectives: what algorithms are told of points beyond them."""

import numpy as np
import pytest

from axopt.exploration import Algorithm, Outcome, SearchSpace, Store, create_algorithm, run_search
from axopt.exploration.limits import Penalty


class Line:
    """Two objectives that exclude each other: the sum of the genes, and what it lacks."""

    space = SearchSpace(tuple("abcdef"), (6,) * 6)
    objective_names = ("sum", "lack")

    def evaluate(self, genes):
        return Outcome((float(sum(genes)), float(30 - sum(genes)) + genes[0] % 2))


SEEDS = [(gene,) * 6 for gene in range(6)]


def outcome_of(store, budget, limits, algorithm="nsga2"):
    made = create_algorithm(algorithm, Line.space, n_objectives=2, seed=1, population=8)
    return run_search(
        Line(), made, store, budget=budget, seeds=SEEDS, limits=limits and (lambda trials: limits)
    )


@pytest.mark.parametrize("limits", [(0.5, None), (None, 0.5), (0.5, 0.5)])
def test_points_beyond_limits_are_worse_than_those_within(limits, rng):
    seen = rng.random((200, 2))
    told = Penalty(limits, [(0.0, 0.0), (1.0, 1.0)])(seen)
    bound = np.array([np.inf if limit is None else limit for limit in limits])
    within = (seen <= bound).all(1)
    np.testing.assert_array_equal(told[within], seen[within])
    assert (told[~within].min(0) >= told[within].max(0)).all()
    excess = np.maximum(seen - bound, 0).sum(1)[~within]
    near, far = excess < 0.1, excess > 0.4
    assert told[~within][near].mean() < told[~within][far].mean()


def test_a_penalty_needs_no_points():
    np.testing.assert_array_equal(Penalty((1.0,), [])(np.array([[0.5], [3.0]])), [[0.5], [6.0]])


@pytest.mark.parametrize("algorithm", ["nsga2", "optuna-nsga2"])
def test_algorithms_look_within_the_limits(algorithm):
    def share(limits):
        trials = outcome_of(Store.in_memory(), 80, limits, algorithm).trials[len(SEEDS) :]
        return np.mean([trial.objectives[0] <= 8 for trial in trials])

    assert share((8.0, None)) > 2 * share(None)


def test_a_search_with_limits_resumes_exactly():
    whole = outcome_of(Store.in_memory(), 60, (8.0, None))
    for killed in (3, 6, 25):
        store = Store.in_memory()
        outcome_of(store, killed, (8.0, None))
        resumed = outcome_of(store, 60, (8.0, None))
        assert [t.genes for t in resumed.trials] == [t.genes for t in whole.trials]
        assert resumed.n_evaluated == 60 - killed


def test_limits_come_from_the_trials_of_the_seeds_and_are_asked_for_once():
    asked = []
    made = create_algorithm("random", Line.space, n_objectives=2, seed=1, population=8)

    def limits(trials):
        asked.append([trial.genes for trial in trials])
        return (None, 3.0)

    run_search(Line(), made, Store.in_memory(), budget=30, seeds=SEEDS, limits=limits)
    assert asked == [SEEDS]
    assert made.space.limits == (None, 3.0)


@pytest.mark.parametrize("given", ["space", "function"])
def test_an_algorithm_that_uses_limits_is_told_what_was_measured(given):
    told = []

    class Knowing(Algorithm):
        uses_limits = True

        def ask(self):
            assert self.space.limits == (8.0, None)
            return [(5, 5, 5, 5, 5, 4)]

        def tell(self, genes, objectives):
            told.extend(objectives.tolist())

    space = SearchSpace(Line.space.names, Line.space.sizes, limits=(8.0, None))
    problem = Line()
    if given == "space":
        problem.space = space
    limits = {"limits": lambda trials: (8.0, None)} if given == "function" else {}
    made = Knowing(problem.space, n_objectives=2, seed=0, population=4)
    run_search(problem, made, Store.in_memory(), budget=7, seeds=SEEDS, **limits)
    assert told == [list(problem.evaluate(genes).objectives) for genes in SEEDS]
