"""Searches that minimise power under the layers' own data."""

import itertools
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import axopt
from axopt.circuits import generate, multiplier_of, netlist_of, save_netlists
from axopt.circuits.cost import cost_model
from axopt.cli import main
from axopt.corrections import Corrections
from axopt.data import Dataset, Split
from axopt.errors import CircuitError
from axopt.multipliers import Multiplier, add_to_library
from axopt.report import front_table
from axopt.report.page import report_html
from axopt.study import AssignmentProblem, RunFolder, options_of

NAMES = ["mul8s_1KV8", "mul8s_1L1G", "mul8s_1KR3"]
BOTH = ["rel_power", "rel_power_activity"]


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.rand(40, 6, generator=generator), torch.arange(40) % 2)
    return Dataset("noise", "noise", split, split, split, classes=("a", "b"))


@pytest.fixture(scope="module")
def emulated(data):
    torch.manual_seed(0)
    return axopt.prepare(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)), data)


def test_it_is_minimised_and_shown_beside_the_published_power(emulated, data, tmp_path):
    result = axopt.search(
        emulated, data, library=NAMES[1:], budget=4, objectives=BOTH, out=tmp_path / "x"
    )
    values = result.front["rel_power_activity"]
    assert ((values > 0) & (values <= 1.5)).all()
    seen = [trial.objectives[2] for trial in result.outcome.front]
    assert sorted(seen) == pytest.approx(sorted(values))  # it does not depend on the samples
    record = RunFolder(tmp_path / "x").record()
    assert list(front_table(record)["rel_power_activity"]) == list(values)
    assert "Relative power under data" in report_html(record, {})
    assert "rel_power_activity" in (tmp_path / "x" / "front.csv").read_text()
    for row in result.front.itertuples():
        axopt.assign_(emulated, axopt.Assignment.load(tmp_path / "x" / row.assignment))
        assert axopt.cost(emulated, power="activity").rel_power == row.rel_power_activity


def test_a_run_knows_the_gates_that_its_powers_come_from(emulated, data, monkeypatch):
    def identity(costs):
        options = options_of(NAMES, False)
        return AssignmentProblem(emulated, data.validation, options, costs=costs).identity()

    found = identity(BOTH)["activity"]
    assert identity(BOTH)["activity"] == found
    assert "activity" not in identity(["rel_power"])
    other = cost_model()
    coefficients = {**other.coefficients, "power_mw": {"products": 1.0}}
    changed = replace(other, coefficients=coefficients)
    monkeypatch.setattr("axopt.circuits.lookup.cost_model", lambda: changed)
    assert identity(BOTH)["activity"] != found


def test_other_searches_do_not_simulate(emulated, data, monkeypatch):
    monkeypatch.setattr("axopt.circuits.activity_power_mw", None)
    result = axopt.search(emulated, data, library=NAMES, budget=4, correct=False)
    assert "rel_power_activity" not in result.front
    assert "Relative power under data" not in report_html(result.record, {})


def test_multipliers_without_gates_are_refused_before_the_search(emulated, data):
    table = axopt.load_library().exact(signed=True).table
    mine = Multiplier.from_table(
        "nogates", table, signed=True, power_mw=0.1, area_um2=1, delay_ns=1
    )
    options = options_of([*NAMES, mine], False)
    with pytest.raises(CircuitError, match="multiplier user/nogates has no gate list"):
        AssignmentProblem(emulated, data.validation, options, costs=BOTH)
    AssignmentProblem(emulated, data.validation, options, costs=["rel_power"])


def test_gate_lists_of_a_library_folder_are_used(tmp_path, capsys):
    truncated = axopt.load_library()["mul8s_1L1G"]
    mine = Multiplier.from_table(
        "inafolder", truncated.table, signed=True, power_mw=0.01, area_um2=1, delay_ns=1
    )
    folder = tmp_path / "library"
    axopt.load_library().select(names=["mul8s_1KV8"]).save(folder)
    add_to_library(mine, folder)
    words = ["search", "--library", str(folder), "--out", str(tmp_path / "run"), "--quiet"]
    words += ["--objectives", "rel_power_activity", "--budget", "2", "--group", "*.*"]
    words += ["--validation-samples", "20", "--test-samples", "20", "--no-correct"]
    words += ["--calibration-samples", "40"]
    assert main(words) == 2
    assert "multiplier user/inafolder has no gate list" in capsys.readouterr().err
    save_netlists(folder / "mine.gates.json.gz", {mine.key: netlist_of(truncated)})
    assert main(words) == 0
    assert "power under data" in capsys.readouterr().out
    record = json.loads((tmp_path / "run" / "record.json").read_text("utf-8"))["record"]
    cheap = record["front"][-1]
    assert 0 < cheap["rel_power_activity"] < 0.05


@pytest.mark.parametrize(
    ("treatment", "groups"),
    [({}, None), ({"correct": Corrections(order="power")}, ["*"]), ({"correct": False}, None)],
)
def test_algorithms_know_it_before_any_evaluation(emulated, data, treatment, groups):
    narrow = multiplier_of(generate("exact", bits_a=3, bits_w=5, signed=True), "narrow3x5")
    problem = AssignmentProblem(
        emulated,
        data.validation,
        options_of([*NAMES[1:], narrow], False),
        costs=["delay_ns", "rel_power_activity"],
        groups=groups,
        **treatment,
    )
    [known] = problem.space.additive
    assert (known.objective, known.exact) == (2, True)
    for genes in itertools.product(*map(range, problem.space.sizes)):
        found = problem.evaluate(genes).objectives[2]
        assert known.estimate(genes) == pytest.approx(found, rel=1e-12)


def test_it_is_known_where_batch_norms_are_re_estimated(data):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    problem = AssignmentProblem(
        axopt.prepare(network.eval(), data),
        data.validation,
        options_of(NAMES[1:], False),
        costs=["rel_power_activity"],
        reestimate=data.train,
    )
    [known] = problem.space.additive
    found = problem.evaluate((0, 1)).objectives[1]
    assert known.estimate((0, 1)) == pytest.approx(found, rel=1e-12)
