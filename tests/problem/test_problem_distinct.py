"""The number of distinct multipliers: as a cap with repair, and as an objective."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, StoreError
from axopt.exploration import Store, create_algorithm, list_algorithms, run_search
from axopt.exploration.testing import TinyProblem
from axopt.problem.distinct import limited
from axopt.study import SearchConfig, options_of

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L2D", "mul8s_1KR3"]  # .425, .301, .2, .052 mW
MACS = [10, 5, 40, 20]


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    samples = Split(torch.rand(40, 4, generator=generator), torch.arange(40) % 3)
    return Dataset("noise", "noise", samples, samples, samples, classes=("a", "b", "c"))


@pytest.fixture(scope="module")
def emulated(data):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 3)]
    return axopt.prepare(nn.Sequential(*layers), data.train.batches(40))


def distinct(point):
    return len({layer.multiplier for layer in point.layers})


@pytest.mark.parametrize("most", [1, 2, 3])
def test_repair_limits_keeps_the_most_used_and_is_stable(most):
    options = options_of(NAMES, True)
    for genes in itertools.product(range(len(options)), repeat=4):
        repaired = limited(genes, [options] * 4, MACS, most)
        tables = {options[gene].multiplier.key for gene in repaired}
        before = {options[gene].multiplier.key for gene in genes}
        assert len(tables) == min(most, len(before))
        assert tables <= before
        assert limited(repaired, [options] * 4, MACS, most) == repaired
        assert repaired[2] == genes[2]  # the layer with most of the multiplications
        if len(before) <= most:
            assert repaired == genes


def test_replaced_by_the_nearest_in_power_in_its_order():
    options = options_of(["mul8s_1KV8", "mul8s_1KVL", "mul8s_1KTY", "mul8s_1KR3"], True)
    numbers = {(o.multiplier.name[-4:], o.swap): n for n, o in enumerate(options)}
    steps = [
        [("1KVL", True), ("1KTY", False), ("1KR3", False), ("1KV8", False)],
        [("1KVL", True), ("1KVL", False), ("1KR3", False), ("1KV8", False)],
        [("1KV8", False), ("1KV8", False), ("1KR3", False), ("1KV8", False)],
    ]
    for most, (before, after) in zip((3, 2), itertools.pairwise(steps), strict=True):
        repaired = limited(tuple(numbers[one] for one in before), [options] * 4, MACS, most)
        assert repaired == tuple(numbers[one] for one in after)


def test_equal_tables_are_one_multiplier():
    options = options_of(["v1/mul8s_1L2H", "v2022/mul8s_1L2J"], False)
    assert len(options) == 2
    assert limited((0, 1), [options] * 2, [1, 2], 1) == (0, 1)


@pytest.mark.parametrize("algorithm", sorted({*list_algorithms()} - {"additive"}))
def test_repaired_points_are_evaluated_once_and_resume_exactly(algorithm):
    def repair(genes):
        return tuple(min(gene, 2) for gene in genes)

    def outcome(store, budget):
        problem = TinyProblem((4, 4, 4))
        made = create_algorithm(algorithm, problem.space, n_objectives=2, seed=1, population=8)
        return run_search(problem, made, store, budget=budget, repair=repair)

    whole = outcome(Store.in_memory(), 20)
    genes = [trial.genes for trial in whole.trials]
    assert len(set(genes)) == len(genes) == whole.n_evaluated
    assert all(repair(point) == point for point in genes)
    store = Store.in_memory()
    outcome(store, 9)
    resumed = outcome(store, 20)
    assert [trial.genes for trial in resumed.trials] == genes
    assert resumed.n_evaluated == len(genes) - 9


def test_algorithm_learns_the_objectives_of_the_repaired_point():
    told = []
    problem = TinyProblem((4, 4))
    algorithm = create_algorithm("random", problem.space, n_objectives=2, seed=0, population=4)
    learn = algorithm.tell
    algorithm.tell = lambda *given: (told.append(given), learn(*given))
    run_search(problem, algorithm, Store.in_memory(), budget=8, repair=lambda g: (g[0], 0))
    pairs = [pair for points, values in told for pair in zip(points, values, strict=True)]
    assert any(genes[1] for genes, _ in pairs)
    for genes, values in pairs:
        np.testing.assert_array_equal(values, problem.evaluate((genes[0], 0)).objectives)


def test_search_keeps_the_cap_and_resumes_with_it(emulated, data, tmp_path):
    settings = {"library": NAMES, "max_multipliers": 2, "population": 8, "correct": False}
    settings["algorithm"] = "nsga2"
    whole = axopt.search(emulated, data, budget=20, **settings)
    assert len(whole.outcome.trials) == 20
    assert {distinct(point) for point in whole.record.front} <= {1, 2}
    out = tmp_path / "run"
    axopt.search(emulated, data, budget=12, out=out, **settings)
    assert "max_multipliers = 2" in (out / "run.toml").read_text()
    resumed = axopt.search(emulated, data, budget=20, out=out, resume=True, **settings)
    assert [t.genes for t in resumed.outcome.trials] == [t.genes for t in whole.outcome.trials]
    for other in (3, None):
        with pytest.raises(StoreError, match="max multipliers"):
            axopt.search(
                emulated, data, out=out, resume=True, **{**settings, "max_multipliers": other}
            )


def test_number_of_distinct_multipliers_is_an_objective(emulated, data):
    result = axopt.search(
        emulated,
        data,
        library=NAMES[:3],
        budget=27,
        objectives=["rel_power", "distinct"],
        correct=False,
    )
    for trial in result.outcome.trials:
        assert trial.objectives[2] == len(set(trial.genes))


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "4"])
def test_a_cap_is_a_whole_number(value):
    with pytest.raises(ArgumentError, match="`max_multipliers` must be an integer >= 1, got"):
        SearchConfig(max_multipliers=value)
