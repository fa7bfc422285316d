"""Fixed layers and candidates per layer: what they mean, and searches that keep them."""

import itertools

import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, StoreError, UnknownLayerError, UnknownMultiplierError
from axopt.problem.distinct import fewest, limited
from axopt.study import AssignmentProblem, options_of

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L2D", "mul8s_1KR3"]  # .425, .301, .2, .052 mW


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


@pytest.fixture
def problem_of(emulated, data):
    def make(names=NAMES, *, swap=False, **given):
        options = options_of(names, swap)
        return AssignmentProblem(emulated, data.validation, options, correct=False, **given)

    return make


def names_of(problem):
    return [[o.multiplier.name[-4:] for o in of_gene] for of_gene in problem.options_of_genes]


def test_each_gene_has_its_options(problem_of):
    problem = problem_of(fixed={"0": "exact"}, candidates={"[12]": ["mul8s_1L2*", "mul8s_1KR3"]})
    few = ["1L2H", "1L2D", "1KR3"]
    assert names_of(problem) == [["1KV8"], few, few]
    assert problem.space.sizes == (1, 3, 3)
    used = {name: s.multiplier.name for name, s in problem.candidate((0, 1, 2)).layers.items()}
    assert used == {"0": "mul8s_1KV8", "1": "mul8s_1L2D", "2": "mul8s_1KR3"}


def test_a_fixed_multiplier_need_not_be_searched(problem_of):
    problem = problem_of(NAMES[:2], fixed={"1": "mul8s_1KR3"}, candidates={"2": ["mul8s_1L12"]})
    assert names_of(problem) == [["1KV8", "1L2H"], ["1KR3"], ["1L12"]]
    assert [o.multiplier.name[-4:] for o in problem.options] == ["1KV8", "1L2H", "1KR3", "1L12"]


def test_operand_orders_of_fixed_multipliers_are_searched_if_any_is(problem_of):
    problem = problem_of(NAMES, swap=True, fixed={"0": "mul8s_1KVL", "1": "exact"})
    assert [o.swap for o in problem.options_of_genes[0]] == [False, True]
    assert len(problem.options_of_genes[1]) == 1  # it commutes


def test_what_is_known_fits_the_options_of_each_gene(problem_of):
    costs = ["rel_power", "rel_area", "delay_ns", "distinct"]
    given = {"fixed": {"0": "mul8s_1L12"}, "candidates": {"2": NAMES[1:3]}}
    problem = problem_of(costs=costs, **given)
    for genes in itertools.product(*map(range, problem.space.sizes)):
        objectives = problem.evaluate(genes).objectives
        for known in problem.space.known:
            assert known.estimate(genes) == pytest.approx(objectives[known.objective])


def test_power_under_data_is_known_for_the_options_of_each_gene(problem_of):
    given = {"fixed": {"0": "mul8s_1L12"}, "candidates": {"2": NAMES[1:3]}}
    problem = problem_of(NAMES[:3], costs=["rel_power_activity"], **given)
    (known,) = problem.space.known
    for genes in itertools.product(*map(range, problem.space.sizes)):
        assert known.estimate(genes) == pytest.approx(problem.evaluate(genes).objectives[1])


def test_uniform_points_have_the_nearest_options_and_are_distinct(problem_of):
    few = ["mul8s_1KV8", "mul8s_1KR3"]
    problem = problem_of(candidates={"0": few})
    points = {option.multiplier.name[-4:]: genes for genes, option in problem.uniform().items()}
    assert points == {"1KV8": (0, 0, 0), "1L2H": (0, 1, 1), "1L2D": (1, 2, 2), "1KR3": (1, 3, 3)}
    only = problem_of(candidates={"0": few, "1": few, "2": few}).uniform()
    assert [o.multiplier.name[-4:] for o in only.values()] == ["1KV8", "1KR3"]


def test_uniform_points_keep_the_cap_on_distinct_multipliers(problem_of):
    problem = problem_of(fixed={"0": "mul8s_1KTY"}, max_multipliers=2)
    for genes in problem.uniform():
        assert len(genes) == 3
        assert problem.space.n_kinds(genes) == 2


@pytest.mark.parametrize("most", [2, 3])
def test_repaired_points_keep_cap_and_options(most):
    a, b, c, d = options_of(NAMES, False)
    options = [(a, b, c, d), (b,), (a, b, c, d), (c, d)]
    for genes in itertools.product(*(range(len(of_gene)) for of_gene in options)):
        repaired = limited(genes, options, [10, 5, 40, 20], most)
        used = {of_gene[gene] for gene, of_gene in zip(repaired, options, strict=True)}
        before = {of_gene[gene] for gene, of_gene in zip(genes, options, strict=True)}
        assert len(used) <= most
        assert b in used
        if len(before) <= most:
            assert repaired == genes


def test_a_point_is_repaired_with_multipliers_that_it_does_not_use():
    a, b, c, d = options_of(NAMES, False)
    options = [(a, d), (b, d), (c, d)]
    assert limited((0, 0, 0), options, [1, 1, 1], 1) == (1, 1, 1)


def test_fewest_is_the_least_number_that_serves_all():
    options = options_of(NAMES, False)
    a, b, c, d = options
    assert fewest([(a, b), (b, c), (c, d), (d, a)], 4) == 2
    assert fewest([(a,), (b,), (c,), options], 4) == 3
    assert fewest([(a,), (b,), (c,), options], 2) is None


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"fixed": {"conv": "exact"}}, UnknownLayerError, "`fixed`: no layer matches 'conv'"),
        ({"candidates": {"9": ["exact"]}}, UnknownLayerError, "`candidates`: no layer matches"),
        ({"fixed": {"0": "mul8s_X"}}, UnknownMultiplierError, "`fixed` of '0': .*mul8s_X"),
        (
            {"candidates": {"0": ["mul8s_9*"]}},
            ArgumentError,
            "`candidates` of '0': 'mul8s_9\\*' matches none of the 4 multipliers",
        ),
        ({"candidates": {"0": []}}, ArgumentError, "`candidates` of '0' must be a list of at"),
        ({"candidates": {"0": "mul8s_1KV8"}}, ArgumentError, "must be a list of at least one"),
        ({"fixed": {"0": 3}}, ArgumentError, "`fixed` of '0' must name a multiplier, got 3"),
        (
            {"fixed": {"0": "exact", "*": "mul8s_1KR3"}},
            ArgumentError,
            "`fixed` of '\\*' contradicts `fixed` of '0' for the layer '0': .*1KR3 and .*1KV8",
        ),
        (
            {"fixed": {"1": "exact"}, "candidates": {"*": ["mul8s_1KR3", "mul8s_1L2H"]}},
            ArgumentError,
            "`candidates` of '\\*' contradicts `fixed` of '1' for the layer '1'",
        ),
        (
            {"groups": [["0", "1"]], "fixed": {"0": "exact"}},
            ArgumentError,
            "`fixed` of '0' must hold for all layers of the group '0,1'.*'1' has no constraint",
        ),
        (
            {"groups": [["0", "1"]], "candidates": {"0": NAMES[:2], "1": NAMES[1:]}},
            ArgumentError,
            "must hold for all layers of the group '0,1'",
        ),
        (
            {"fixed": {"0": "exact", "1": "mul8s_1KR3"}, "max_multipliers": 1},
            ArgumentError,
            "`max_multipliers` must be at least 2, got 1",
        ),
    ],
)
def test_contradictions_are_told_before_the_search(problem_of, given, error, message):
    with pytest.raises(error, match=message):
        problem_of(**given)


def test_agreeing_patterns_are_no_contradiction(problem_of):
    given = {"fixed": {"0": "exact"}, "candidates": {"*": NAMES[:3], "1": ["exact", NAMES[3]]}}
    assert names_of(problem_of(**given)) == [["1KV8"], ["1KV8"], ["1KV8", "1L2H", "1L2D"]]


def test_stores_of_searches_without_constraints_have_no_field_of_them(problem_of):
    assert "options of genes" not in problem_of().identity()
    assert problem_of(fixed={"0": "exact"}).identity()["options of genes"] == {"0": [0]}


@pytest.mark.parametrize("algorithm", ["nsga2", "tpe"])
def test_searches_keep_constraints_and_resume(emulated, data, tmp_path, algorithm):
    settings = {
        "library": NAMES,
        "fixed": {"1": "mul8s_1L12"},
        "candidates": {"2": NAMES[:3]},
        "correct": False,
        "algorithm": algorithm,
        "population": 4,
    }
    out = tmp_path / "run"
    axopt.search(emulated, data, budget=7, out=out, **settings)
    resumed = axopt.search(emulated, data, budget=10, out=out, resume=True, **settings)
    assert resumed.outcome.n_evaluated == 3
    for point in [*resumed.record.front, *resumed.record.uniform]:
        assert point.layers[1].multiplier == "v2022/mul8s_1L12"
        assert point.layers[2].multiplier != "v1/mul8s_1KR3"
    assert resumed.record.baseline.rel_power == 1
    assert [point.label[-4:] for point in resumed.record.uniform] == [
        "1KV8",
        "1L2H",
        "1L2D",
        "1KR3",
    ]
    with pytest.raises(StoreError, match="options of genes"):
        axopt.search(
            emulated, data, out=out, resume=True, **{**settings, "candidates": {"2": NAMES[:2]}}
        )
