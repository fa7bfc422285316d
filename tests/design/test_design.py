"""`design_multipliers` on a small network."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

import axopt
from axopt.circuits import load_netlists
from axopt.data import Dataset, Split
from axopt.design.selection import Outlook, choose
from axopt.design.sensitivity import kept_assignment
from axopt.errors import ArgumentError, RunExistsError
from axopt.evaluation import against


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    samples = Split(torch.rand(80, 6, generator=generator), torch.arange(80) % 3)
    return Dataset("noise", "noise", samples, samples, samples, classes=("a", "b", "c"))


@pytest.fixture(scope="module")
def emulated(data):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    found = axopt.prepare(network, data.train.batches(40))
    axopt.assign_(found, "mul8s_1L2H")
    return found


@pytest.fixture(scope="module")
def design(emulated, data):
    return axopt.design_multipliers(emulated, data, count=3, samples=40)


def test_designs_at_most_count_multipliers_by_falling_power(design):
    powers = [multiplier.power_mw for multiplier in design.multipliers.values()]
    assert 1 <= len(powers) <= 3
    assert powers == sorted(powers, reverse=True)
    assert list(design.netlists) == list(design.multipliers)
    for key, netlist in design.netlists.items():
        np.testing.assert_array_equal(netlist.table(), design.multipliers[key].table)


def test_table_states_figures_and_errors_of_layers(design):
    table = design.table
    assert list(table.multiplier) == [m.name for m in design.multipliers.values()]
    assert (table.power_mw_low <= table.power_mw).all()
    assert (table.power_mw <= table.power_mw_high).all()
    assert table.distance_pct.is_monotonic_increasing  # powers fall
    assert {"error_pct 0", "error_pct 2", "structure", "rel_power"} <= set(table.columns)


def test_comparison_pairs_each_with_one_of_no_more_power(design):
    rows = design.comparison
    assert set(rows.origin) <= {"designed", "EvoApprox8b"}
    ours = None
    for row in rows.itertuples():
        if row.origin == "designed":
            ours = row
        else:
            assert row.power_mw <= ours.power_mw
            assert row.multiplier.startswith("mul8s_")


def test_front_is_better_than_that_of_as_many_published_ones(design):
    quality = design.quality((0.1, 0.15, 0.2, 0.25))
    published = quality.filter(like="of them").iloc[:, 0]
    reached = published.notna()
    assert quality.designed.notna().all()
    assert reached.any()
    assert (quality.designed[reached] < published[reached]).all()


def test_model_keeps_its_assignment(design, emulated):
    assert {layer.multiplier.name for layer in emulated.emulated_layers.values()} == {"mul8s_1L2H"}
    assert all(layer.correction is None for layer in emulated.emulated_layers.values())


def test_same_inputs_same_design(design, emulated, data):
    again = axopt.design_multipliers(emulated, data, count=3, samples=40)
    pd.testing.assert_frame_equal(again.table, design.table)
    pd.testing.assert_frame_equal(again.comparison, design.comparison)


def test_a_wanted_power_is_served_best(design, emulated, data):
    aimed = axopt.design_multipliers(emulated, data, count=3, samples=40, power=0.1)
    assert aimed.quality([0.1]).designed.item() <= design.quality([0.1]).designed.item()


def check_distances(design, emulated, data):
    with kept_assignment(emulated):
        axopt.assign_(emulated, design.exact, correct=True)
        exact = against(emulated, data.test)
        rows = design.table.itertuples()
        for multiplier, row in zip(design.multipliers.values(), rows, strict=True):
            axopt.assign_(emulated, multiplier, correct=True)
            measured = axopt.evaluate(emulated, exact, "distance").value
            assert measured == pytest.approx(row.distance_pct, rel=0.4)


def test_distances_are_those_measured(design, emulated, data):
    check_distances(design, emulated, data)


@pytest.mark.slow
@pytest.mark.parametrize("signed", [True, False])
def test_distances_of_a_network_with_attention(data, signed):
    torch.manual_seed(1)
    attention = torch.nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
    network = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 6)), attention, torch.nn.Flatten())
    emulated = axopt.prepare(network, data.train.batches(40))
    design = axopt.design_multipliers(emulated, data, count=2, samples=40, signed=signed)
    assert all(multiplier.signed == signed for multiplier in design.multipliers.values())
    check_distances(design, emulated, data)


def test_saved_design_is_a_library(design, tmp_path):
    design.save(tmp_path / "mine")
    library = axopt.load_library(tmp_path / "mine")
    assert list(library) == ["v1/mul8s_1KV8", *design.multipliers]
    assert library.exact(signed=True).key == "v1/mul8s_1KV8"
    assert all(library[k].intervals == m.intervals for k, m in design.multipliers.items())
    netlists = load_netlists(tmp_path / "mine")
    assert list(netlists) == list(library)
    assert all(netlists[key].gates == n.gates for key, n in design.netlists.items())
    written = pd.read_csv(tmp_path / "mine" / "design" / "comparison.csv")
    assert list(written.multiplier) == list(design.comparison.multiplier)
    (name, *_) = written.multiplier
    assert f"module {name}" in (tmp_path / "mine" / "design" / f"{name}.v").read_text()
    with pytest.raises(RunExistsError, match="holds a library already"):
        design.save(tmp_path / "mine")


def test_plot_has_a_line_for_each_set(design):
    mpl.use("agg")
    axes = design.plot()
    assert len(axes.lines) == len(design.fronts) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, r"`count` must be an integer in 1\.\.16, got 0"),
        ({"count": 17}, r"`count` must be an integer in 1\.\.16, got 17"),
        ({"count": True}, r"`count` must be an integer"),
        ({"power": 0.0}, r"`power` must be above 0 and at most 1, got 0\.0"),
        ({"power": float("nan")}, r"`power` must be above 0 and at most 1, got nan"),
        ({"power": "low"}, r"`power` must be above 0 and at most 1, got 'low'"),
        ({"samples": 81}, r"`samples` must be an integer in 1\.\.80, got 81"),
        ({"samples": 0}, r"`samples` must be an integer in 1\.\.80, got 0"),
    ],
)
def test_bad_arguments_are_named(emulated, data, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        axopt.design_multipliers(emulated, data, **arguments)


def test_wrong_kinds_are_named(emulated, data):
    with pytest.raises(ArgumentError, match="`emulated` must be a model made by"):
        axopt.design_multipliers(torch.nn.Linear(2, 2), data)
    with pytest.raises(ArgumentError, match="`data` must be a Dataset, got Split"):
        axopt.design_multipliers(emulated, data.train)


def test_choice_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    cost = np.sort(rng.random(7))[::-1]
    errors = np.stack(
        [rng.random() * (1.1 - cost) ** 2 * rng.uniform(0.5, 2, 7) for _ in range(3)]
    )
    errors = np.column_stack([errors / 10, np.zeros(3)])
    costs = np.multiply.outer(np.full(3, 1 / 3), np.append(cost, 1.0))
    outlook = Outlook(errors, costs)
    pairs = [(a, b) for a in range(7) for b in range(a)]
    best = min(pairs, key=lambda pair: outlook.value([7, *pair], None))
    assert set(choose(outlook, range(7), 7, 2, None)) == set(best)
