"""Measured sensitivities: equal to plain evaluations, for genes of all kinds."""

import json

import pytest
import torch
from torch import nn

import axopt
from axopt.corrections import Corrections
from axopt.data import Split
from axopt.errors import ArgumentError, SensitivityError, UnknownLayerError
from axopt.problem import AssignmentProblem, options_of
from axopt.sensitivities import Sensitivity

NAMES = ["mul8s_1KV8", "mul8s_1L1G", "mul8s_1L2D", "mul8s_1KR3"]
EXACT = "v1/mul8s_1KV8"


def split_of(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return Split(torch.rand(n, 1, 6, 6, generator=generator), torch.arange(n) % 3)


@pytest.fixture(scope="module")
def emulated():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    return axopt.prepare(net, split_of(60, 1).batches(30))


@pytest.fixture(scope="module")
def samples():
    return split_of(40, 2)


@pytest.fixture(scope="module")
def found(emulated, samples):
    return axopt.sensitivity(emulated, samples, library=NAMES, batch_size=16)


def test_values_equal_those_of_plain_evaluations(emulated, samples, found):
    options = options_of(NAMES, False)
    problem = AssignmentProblem(emulated, samples, options, batch_size=40)
    assert [option.multiplier.key for option in options] == list(found.options[0])
    for gene in range(3):
        for number in range(4):
            genes = tuple(number if g == gene else 0 for g in range(3))
            point, _ = problem.measured(problem.candidate(genes), samples)
            assert found.values[gene][number] == point.divergence
            assert found.qualities[gene][number] == point.quality.value
    assert found.names == ("0", "2", "5")
    assert found.base == (EXACT,) * 3
    assert found.base_value == 0
    assert found.drops[1][0] == 0


def test_results_of_layers_are_shared(found):
    # 9 changes, of 1, 2 or 3 layers each, after the base; the outputs of the reference
    assert found.sample_layers == 40 * (3 * (1 + 2 + 3) + 3 + 3)
    assert found.evaluations == found.sample_layers / (3 * 40)


def test_the_assignment_of_the_model_stays(emulated, samples):
    axopt.assign_(emulated, {"0": "mul8s_1L1G", "2": "mul8s_1L2D"}, correct=False)
    before = axopt.model.current_assignment(emulated)
    axopt.sensitivity(emulated, samples, library=NAMES[:2], samples=8)
    assert axopt.model.current_assignment(emulated) == before


@pytest.mark.parametrize("reestimated", [False, True])
def test_groups_and_another_base(emulated, samples, reestimated):
    options = options_of(NAMES[1:], False)
    problem = AssignmentProblem(
        emulated,
        samples,
        options,
        groups={"convs": ["0", "2"]},
        objective="error",
        reestimate=samples if reestimated else None,
    )
    around = axopt.sensitivities.sensitivity_of(problem, around="mul8s_1L2D")
    assert around.names == ("convs", "5")
    assert around.layers == (("0", "2"), ("5",))
    place = around.options[0].index("v1/mul8s_1L2D")
    assert (
        around.values[0][place]
        == around.base_value
        == problem.evaluate((place, place)).objectives[0]
    )
    for number in range(3):
        assert around.values[0][number] == problem.evaluate((number, place)).objectives[0]
        assert around.values[1][number] == problem.evaluate((place, number)).objectives[0]
    assert around.objective == "error_pct"


def test_a_good_uniform_base_is_chosen(emulated, samples):
    around = axopt.sensitivity(emulated, samples, library=NAMES, around="uniform")
    problem = AssignmentProblem(emulated, samples, options_of(NAMES, False))
    losses = [problem.evaluate((number,) * 3).objectives[0] for number in range(4)]
    within = [loss for loss in losses if 0 < loss <= 0.1]
    assert around.base_value == max(within)
    assert around.around == around.options[0][losses.index(max(within))]
    assert len(set(around.base)) == 1


def test_an_assignment_is_a_base(emulated, samples):
    given = {"2": "mul8s_1L2D"}
    around = axopt.sensitivity(emulated, samples, library=NAMES, around=given, correct=False)
    assert around.base == (EXACT, "v1/mul8s_1L2D", EXACT)
    assert around.around == "assignment"
    axopt.assign_(emulated, {"0": EXACT, "2": "mul8s_1L2D", "5": EXACT}, correct=False)
    as_file = axopt.model.current_assignment(emulated)
    again = axopt.sensitivity(emulated, samples, library=NAMES, around=as_file, correct=False)
    assert again == around


def test_operand_orders_are_options(emulated, samples):
    found = axopt.sensitivity(emulated, samples, library=["mul8s_1KTY"], operand_order=True)
    assert found.options[0] == ("v1/mul8s_1KTY", "v1/mul8s_1KTY swapped")
    assert found.values[0][0] != found.values[0][1]


def test_no_labels_are_needed(emulated, samples):
    unlabelled = Split(samples.stored)
    options = options_of(NAMES[:2], False)
    problem = AssignmentProblem(emulated, unlabelled, options, metric="agreement")
    found = axopt.sensitivity(emulated, unlabelled, library=NAMES[:2], metric="agreement")
    assert found.values[1][1] == problem.evaluate((0, 1, 0)).objectives[0] > 0
    assert found.exact_quality == 100


def test_contributions_are_relative_to_the_exact_multiplier(emulated, samples):
    around = axopt.sensitivity(emulated, samples, library=NAMES, around="mul8s_1L2D")
    place = around.options[0].index("v1/mul8s_1L2D")
    known = around.known()
    assert known.estimate((0, 0, 0)) == 0
    expected = max(around.values[1][place] - around.values[1][0], 0)
    assert known.values[1][place] == expected
    assert not known.exact
    assert all(value >= 0 for values in known.values for value in values)


def test_ranking_and_texts(found):
    means = {n: sum(v) for n, v in zip(found.names, found.contributions(), strict=True)}
    assert list(found.most_sensitive()) == sorted(means, key=means.get, reverse=True)
    assert found.most_sensitive(1)[0] in found.summary()
    assert "40 samples" in found.summary()
    table = found.table()
    assert len(table) == 12
    assert table["divergence"].tolist() == [v for values in found.values for v in values]


def test_a_file_holds_all_of_it(found, tmp_path):
    folder = found.save(tmp_path / "new")
    assert Sensitivity.load(folder) == found
    assert Sensitivity.load(folder / "sensitivity.json") == found
    assert len((folder / "sensitivity.csv").read_text().splitlines()) == 13


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("values", [[1.0]]),
        ("values", None),
        ("values", [[float("inf")] * 4] * 3),
        ("qualities", [["a"] * 4] * 3),
        ("names", ["0", "0", "5"]),
        ("names", "025"),
        ("layers", [["0"], ["2"]]),
        ("options", [[EXACT], ["x"], ["y"]]),
        ("samples", 0),
        ("samples", 2.5),
        ("method", "guessed"),
        ("evaluations", True),
        ("agreement", "high"),
        ("higher_is_better", 1),
        ("base_value", None),
        ("schema", 2),
    ],
)
def test_a_damaged_file_is_refused(found, tmp_path, field, value):
    file = found.save(tmp_path) / "sensitivity.json"
    file.write_text(json.dumps({**found.as_json(), field: value}))
    with pytest.raises(SensitivityError, match=f"sensitivity.json: .*`({field}|values)`"):
        Sensitivity.load(file)


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "{}", "[" * 100_000, '{"schema": 1, "x": 2}', "\0"]
)
def test_what_is_no_sensitivity_is_refused(tmp_path, text):
    (tmp_path / "sensitivity.json").write_text(text)
    with pytest.raises(SensitivityError, match="sensitivity.json"):
        Sensitivity.load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"around": "mul8s_1KVL"}, "`around` must be 'exact', 'uniform' or a multiplier"),
        ({"around": 3}, "`around` must be a text"),
        ({"around": {"0": 3}}, "`around` must be a text"),
        ({"around": {"0": "mul8s_1L2D"}, "groups": [["0", "2"]]}, "`around` must give the layers"),
        ({"method": "guess"}, "`method` must be one of"),
        ({"samples": 0}, "`samples` must be an integer >= 1"),
    ],
)
def test_wrong_arguments_are_refused(emulated, samples, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        axopt.sensitivity(emulated, samples, library=NAMES, **arguments)


def test_wrong_kinds_are_refused(emulated, samples):
    with pytest.raises(ArgumentError, match="`emulated` must be a model made by"):
        axopt.sensitivity(nn.Linear(2, 2), samples)
    with pytest.raises(ArgumentError, match="`data` must be a Dataset or a Split"):
        axopt.sensitivity(emulated, [samples])
    with pytest.raises(UnknownLayerError, match="'7' is no emulated layer"):
        axopt.sensitivity(emulated, samples, library=NAMES, around={"7": "mul8s_1L2D"})


def test_a_model_that_draws_random_numbers_is_measured_without_reuse(samples):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), Rounding(), nn.Linear(4, 3))
    emulated = axopt.prepare(net, samples.batches(40))
    found = axopt.sensitivity(emulated, samples, library=NAMES[:2])
    assert found.evaluations == 1 + 4
    assert found.base_value == 0


class Rounding(nn.Module):
    """Draws a random number, and does not use it."""

    def forward(self, x):
        torch.rand(1)
        return x


def test_corrections_can_be_chosen(emulated, samples):
    with_all = axopt.sensitivity(emulated, samples, library=NAMES)
    without = axopt.sensitivity(emulated, samples, library=NAMES, correct=False)
    some = axopt.sensitivity(
        emulated, samples, library=NAMES, correct=Corrections(mean_error=False)
    )
    assert len({with_all.values, without.values, some.values}) == 3
