"""The algorithms: the contract, and what each of them promises on top."""

import logging
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import axopt
from axopt.errors import ArgumentError
from axopt.exploration import (
    ALGORITHMS,
    Algorithm,
    Known,
    SearchSpace,
    Store,
    algorithm_options,
    create_algorithm,
    hypervolume,
    list_algorithms,
    register_algorithm,
    run_search,
)
from axopt.exploration.testing import TinyProblem, check_algorithm

SPACE = SearchSpace(tuple("abcdef"), (50,) * 6)
GENETIC = ["nsga2", "unsga3", "sms-emoa", "age-moea2", "optuna-nsga2"]
QUICK = {"gp": {"startup": 58, "candidates": 16}}
"""Options with which a slow algorithm learns from few points only; its full check is slow."""


@pytest.mark.parametrize("name", list_algorithms())
def test_contract(name):
    check_algorithm(name, **QUICK.get(name, {}))


@pytest.mark.slow
def test_contract_of_gaussian_processes():
    check_algorithm("gp", startup=40, limit=50)


def test_list_and_unknown_names():
    assert list_algorithms() == [
        "additive",
        "age-moea2",
        "auto",
        "exhaustive",
        "gp",
        "nsga2",
        "optuna-nsga2",
        "random",
        "sms-emoa",
        "tpe",
        "unsga3",
    ]
    with pytest.raises(ArgumentError, match="got 'ngsa2'; did you mean 'nsga2'"):
        create_algorithm("ngsa2", SPACE, n_objectives=2)
    with pytest.raises(ArgumentError, match="known are additive, age-moea2, auto, exhaustive, gp"):
        create_algorithm("annealing", SPACE, n_objectives=2)


@pytest.mark.parametrize(
    ("argument", "value"), [("n_objectives", 0), ("seed", -1), ("population", 1)]
)
def test_bad_arguments_are_refused(argument, value):
    arguments = {"n_objectives": 2, "seed": 0, "population": 8} | {argument: value}
    with pytest.raises(ArgumentError, match=f"`{argument}` must be .*, got {value}"):
        create_algorithm("nsga2", SPACE, **arguments)


@pytest.fixture
def own_algorithms():
    before = list_algorithms()
    yield
    for name in set(list_algorithms()) - set(before):
        ALGORITHMS.remove(name)


@pytest.mark.usefixtures("own_algorithms")
def test_plug_in_is_registered_and_checked():
    @register_algorithm("stuck")
    class Stuck(Algorithm):
        def ask(self):
            return [(0,) * len(self.space.sizes)]

        def tell(self, genes, objectives):
            pass

    assert "stuck" in list_algorithms()
    with pytest.raises(AssertionError, match="'stuck' breaks a rule: it spends a budget"):
        check_algorithm("stuck")
    with pytest.raises(ArgumentError, match="must be a new algorithm, got 'tpe'"):
        register_algorithm("tpe")(Stuck)


@pytest.mark.usefixtures("own_algorithms")
@pytest.mark.parametrize("kind", [None, 3, int, lambda: 3])
def test_what_is_no_algorithm_is_not_registered(kind):
    with pytest.raises(ArgumentError, match="must be a subclass of `Algorithm`"):
        axopt.register_algorithm("nonsense")(kind)
    assert "nonsense" not in list_algorithms()


def test_contract_finds_an_algorithm_that_does_not_repeat():
    @register_algorithm("unseeded")
    class Unseeded(create_algorithm("random", SPACE, n_objectives=2).__class__):
        def __init__(self, space, *, n_objectives, seed, population):
            fresh = int(np.random.default_rng().integers(1 << 30))
            super().__init__(space, n_objectives=n_objectives, seed=fresh, population=population)

    try:
        with pytest.raises(AssertionError, match="repeats with its seed"):
            check_algorithm("unseeded")
    finally:
        ALGORITHMS.remove("unseeded")  # other tests list the names


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nsga2", {"crossover": 0.5, "step": 1}),
        ("tpe", {"startup": 5, "candidates": 8}),
        ("optuna-nsga2", {"crossover": 0.2}),
    ],
)
def test_options_change_proposals_and_keep_the_contract(name, options):
    check_algorithm(name, **options)
    problem = TinyProblem()
    trials = []
    for given in ({}, options):
        made = create_algorithm(name, problem.space, n_objectives=2, population=8, **given)
        trials.append(run_search(problem, made, Store.in_memory(), budget=60).trials)
    assert [trial.genes for trial in trials[0]] != [trial.genes for trial in trials[1]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nsga2", {"crosover": 0.5}, "options of 'nsga2', got 'crosover'; did you mean 'cross"),
        ("random", {"speed": 1}, "options of 'random', got 'speed'; it has none"),
        ("nsga2", {"step": "1"}, r"\['step'\]` of 'nsga2' must be of type float, got '1'"),
        ("tpe", {"startup": 2.5}, r"must be of type int, got 2.5"),
        ("tpe", {"startup": True}, r"must be of type int, got True"),
        ("nsga2", {"step": 2.0}, "`step` of nsga2 must be in 0..1, got 2.0"),
        ("nsga2", {"crossover": float("nan")}, "`crossover` of nsga2 must be in 0..1, got nan"),
        ("tpe", {"candidates": 0}, "`candidates` of tpe must be >= 1, got 0"),
        ("optuna-nsga2", {"crossover": -1}, "`crossover` of optuna-nsga2 must be in 0..1"),
        ("sms-emoa", {"step": -1.0}, "`step` of sms-emoa must be in 0..1, got -1.0"),
        ("gp", {"limit": 5}, "`limit` of gp must be >= 10, got 5"),
    ],
)
def test_wrong_options_are_refused_by_name(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        create_algorithm(name, SPACE, n_objectives=2, **options)


@pytest.mark.usefixtures("own_algorithms")
def test_options_without_kind_or_default_are_refused():
    @register_algorithm("vague")
    class Vague(type(create_algorithm("random", SPACE, n_objectives=2))):
        def __init__(self, space, *, n_objectives, seed, population, speed=None):
            super().__init__(space, n_objectives=n_objectives, seed=seed, population=population)

    with pytest.raises(ArgumentError, match="'vague' must annotate its option 'speed' as bool"):
        algorithm_options("vague")


@pytest.mark.parametrize("name", list_algorithms())
def test_proposals_depend_on_objectives_after_the_points_that_an_algorithm_names(name):
    """Objectives are turned round; up to `learns_after` the trials are the same."""

    class Reversed(TinyProblem):
        def evaluate(self, genes):
            outcome = super().evaluate(genes)
            return replace(outcome, objectives=(-outcome.objectives[0], outcome.objectives[1]))

    seeds = [(option,) * 4 for option in range(4)]
    trials, after = [], 0
    for problem in (TinyProblem(estimated=True), Reversed(estimated=True)):
        made = create_algorithm(
            name, problem.space, n_objectives=2, population=12, **QUICK.get(name, {})
        )
        after = made.learns_after(len(seeds))
        outcome = run_search(problem, made, Store.in_memory(), budget=after + 4, seeds=seeds)
        assert outcome.learns_after == after
        trials.append([trial.genes for trial in outcome.trials])
    assert trials[0][:after] == trials[1][:after]
    assert (trials[0] != trials[1]) == (after > 0)


def test_what_is_known_of_options_is_in_the_space():
    problem = TinyProblem()
    (power,) = problem.space.additive
    for genes in [(0, 0, 0, 0), (3, 1, 2, 0)]:
        assert power.estimate(genes) == problem.evaluate(genes).objectives[power.objective]
    assert problem.space == SearchSpace(problem.space.names, problem.space.sizes)
    for values in (((1.0, 2.0),), ((1.0,), (2.0,)), ((1.0, float("nan")), (1.0, 1.0))):
        with pytest.raises(ArgumentError, match="one finite value an option of every gene"):
            SearchSpace(("a", "b"), (2, 2), (Known(objective=0, values=values, exact=False),))
    twice = (Known(objective=0, values=((1.0,),), exact=True),) * 2
    with pytest.raises(ArgumentError, match="each objective once"):
        SearchSpace(("a",), (1,), twice)


def objectives_of(points):
    return np.array([(sum(genes), -sum(genes)) for genes in points], dtype=float)


@pytest.mark.parametrize("name", GENETIC)
@pytest.mark.parametrize("n_seeds", [8, 20])
def test_told_points_are_the_parents(name, n_seeds):
    """Uniform seeds with few values: children keep to these values, random points would not."""
    algorithm = create_algorithm(name, SPACE, n_objectives=2, population=8)
    seeds = [(choice,) * 6 for choice in range(20, 20 + n_seeds)]
    algorithm.tell(seeds, objectives_of(seeds))
    children = []
    while len(children) < 8:  # the first generation, before mutations add up
        batch = algorithm.ask()
        children += batch
        algorithm.tell(batch, objectives_of(batch))
    inherited = [gene in range(20, 20 + n_seeds) for genes in children for gene in genes]
    assert np.mean(inherited) > 0.75  # by chance: n_seeds / 50
    assert not set(children) & set(seeds)


def test_told_points_are_members_of_optunas_first_generation():
    algorithm = create_algorithm("optuna-nsga2", SPACE, n_objectives=2, population=8)
    seeds = [(choice,) * 6 for choice in range(5)]
    algorithm.tell(seeds, objectives_of(seeds))
    # private: Optuna alone knows which trials are parents of its next generation
    members = algorithm._sampler.get_population(algorithm._study, 0)
    assert [tuple(member.params.values()) for member in members] == seeds


def test_told_points_steer_tpe():
    """Good seeds share one choice in every layer; without them a gene has it once in 50."""
    algorithm = create_algorithm("tpe", SPACE, n_objectives=2)
    good = [(7,) * layer + (layer,) + (7,) * (5 - layer) for layer in range(6)]
    bad = [(choice,) * 6 for choice in range(20, 40)]
    algorithm.tell(good, np.zeros((6, 2)))
    algorithm.tell(bad, np.ones((20, 2)))
    genes = []
    for _ in range(20):
        (point,) = algorithm.ask()
        genes += point
        algorithm.tell([point], np.ones((1, 2)))
    assert Counter(genes).most_common(1)[0][0] == 7


def test_gaussian_processes_find_the_better_half_and_forget_old_points():
    problem = TinyProblem((6, 6))
    algorithm = create_algorithm("gp", problem.space, n_objectives=2, startup=8, limit=10)
    outcome = run_search(problem, algorithm, Store.in_memory(), budget=16)
    # private: the study that the processes are fitted to
    assert len(algorithm._study.trials) <= 11
    front = {trial.objectives for trial in outcome.front}
    assert len(front & problem.true_front()) >= 5  # of 10 points, with 16 of 36


@pytest.mark.parametrize("name", [*GENETIC, "tpe"])
def test_no_point_is_proposed_twice_until_the_space_is_exhausted(name):
    problem = TinyProblem((3, 3, 3))
    algorithm = create_algorithm(name, problem.space, n_objectives=2, population=6)
    proposed = []
    while batch := algorithm.ask():
        proposed += batch
        values = np.array([problem.evaluate(genes).objectives for genes in batch])
        algorithm.tell(batch, values)
    assert len(proposed) == len(set(proposed)) == 27


@pytest.mark.parametrize("seed", range(3))
def test_nsga2_finds_most_of_the_front_with_few_points(seed):
    problem = TinyProblem((6, 6, 6, 6, 6))
    reference = (100.0, 16.0)
    outcomes = {}
    for name in ("nsga2", "random"):
        algorithm = create_algorithm(name, problem.space, n_objectives=2, seed=seed)
        seeds = [(choice,) * 5 for choice in range(6)]
        outcome = run_search(problem, algorithm, Store.in_memory(), budget=500, seeds=seeds)
        outcomes[name] = hypervolume([t.objectives for t in outcome.front], reference)
    best = hypervolume(list(problem.true_front()), reference)
    assert 0.95 * best <= outcomes["nsga2"] <= best  # with 500 of 7,776 points
    assert outcomes["random"] < outcomes["nsga2"]


@pytest.mark.parametrize("name", list_algorithms())
def test_search_prints_and_logs_nothing_and_leaves_settings(name, capfd, caplog):
    import optuna

    verbosity = optuna.logging.get_verbosity()
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    problem = TinyProblem(estimated=True)
    options = {"startup": 28} if name == "gp" else {}
    algorithm = create_algorithm(name, problem.space, n_objectives=2, population=4, **options)
    with caplog.at_level(logging.INFO):
        run_search(problem, algorithm, Store.in_memory(), budget=30)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert optuna.logging.get_verbosity() == verbosity
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_pymoo_and_optuna_are_imported_when_used_only():
    code = (
        "import sys, axopt.exploration as s\n"
        "s.list_algorithms()\n"
        "import axopt.exploration.lock\n"
        "assert 'numpy' not in sys.modules\n"
        "import axopt.exploration.testing\n"
        "space = s.SearchSpace(('a',), (2,))\n"
        "s.create_algorithm('random', space, n_objectives=1)\n"
        "s.list_algorithms()\n"
        "print(sorted({'pymoo', 'optuna', 'torch'} & sys.modules.keys()))"
    )
    path = str(Path(axopt.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout == "[]\n"
