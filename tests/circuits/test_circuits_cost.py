"""Switching activity and the hardware-cost model."""

import csv
from pathlib import Path

import numpy as np
import pytest

from axopt.circuits import (
    Gate,
    Netlist,
    activity_power_mw,
    estimate,
    generate,
    load_netlists,
)
from axopt.circuits.activity import activity, count_toggles
from axopt.circuits.cost import cost_model
from axopt.circuits.netlist import pack
from axopt.circuits.simplify import simplify
from axopt.errors import CircuitError
from axopt.multipliers.multiplier import FIGURES


def naive_toggles(simple, before, after):
    """Count the toggles of one transition, gate by gate and one unit of time after the other."""

    def step(values):
        bit = lambda literal: values[literal >> 1] ^ (literal & 1)  # noqa: E731
        results = [bit(g.x) ^ bit(g.y) if g.xor else bit(g.x) & bit(g.y) for g in simple.gates]
        flipped = [r ^ g.inverted for r, g in zip(results, simple.gates, strict=True)]
        return [0, *values[1 : simple.first_gate], *flipped]

    values = [0, *before] + [0] * len(simple.gates)
    for _ in simple.gates:
        values = step(values)
    old, values = values, [0, *after, *values[simple.first_gate :]]
    toggles = np.not_equal(old, values).astype(int)
    for _ in simple.gates:
        new = step(values)
        toggles += np.not_equal(new, values)
        values = new
    return np.not_equal(old, values).astype(int), toggles


@pytest.mark.parametrize("name", ["v1/mul8x2u_106", "v1/mul8x3u_0TM", "v1/mul8x3u_0Q5"])
def test_toggles_equal_those_of_a_naive_simulation(name, rng):
    simple = simplify(load_netlists()[name])
    before, after = rng.integers(0, 2, (2, simple.n_inputs, 40))
    settled, toggles = count_toggles(
        simple, np.stack([pack(row) for row in before]), np.stack([pack(row) for row in after])
    )
    expected = np.sum(
        [naive_toggles(simple, before[:, i], after[:, i]) for i in range(40)], axis=0
    )
    np.testing.assert_array_equal([settled, toggles], expected)
    assert (toggles > settled).any() == (name != "v1/mul8x3u_0Q5")


def test_operand_bits_toggle_as_often_as_their_distribution_says():
    netlist = load_netlists()["v1/mul8s_1L1G"]
    share = np.zeros(256)
    share[128 - 1], share[128 + 1] = 0.25, 0.75  # -1 and 1: bit 0 is constant, the others are not
    found = activity(netlist, share)
    np.testing.assert_allclose(found.settled[1:9], [0] + 7 * [2 * 0.25 * 0.75], atol=0.03)
    np.testing.assert_allclose(found.settled[9:17], 0.5, atol=0.03)
    assert not found.glitches[:17].any()


def test_a_constant_operand_costs_only_what_the_other_toggles():
    netlist = generate("exact", bits_a=8, bits_w=8)
    zero, one = np.eye(256)[:2]
    assert activity_power_mw(netlist, zero) == 0.0
    assert activity_power_mw(netlist, one, one) == 0.0
    assert 0 < activity_power_mw(netlist, one) < 0.25 * activity_power_mw(netlist)


def test_estimates_depend_on_the_netlist_only():
    key = "v1/mul8s_1KV8"
    first = load_netlists()[key]
    again = Netlist(first.bits_a, first.bits_w, first.signed, first.gates, first.outputs)
    assert estimate(first) == estimate(first) == estimate(again)


@pytest.mark.parametrize("key", ["v1/mul8s_1L1G", "v1/mul8x5u_4E8", "v1/mul7u_069"])
def test_uniform_operands_give_the_estimate(key):
    netlist = load_netlists()[key]
    uniform = [np.full(2**bits, 2.0**-bits) for bits in (netlist.bits_a, netlist.bits_w)]
    assert activity_power_mw(netlist, *uniform) == estimate(netlist).power_mw
    assert activity_power_mw(netlist) == estimate(netlist).power_mw


def test_relu_like_data_saves_power_and_the_operand_order_matters():
    values = np.arange(-128, 128)
    weights = np.exp(-((values / 40) ** 2) / 2)
    weights /= weights.sum()
    inputs = np.where(values > 0, weights, 0.0)
    inputs *= 0.55 / inputs.sum()
    inputs[128] = 0.45  # zeros
    netlists = load_netlists()

    def share(name, a, w):
        return activity_power_mw(netlists[name], a, w) / estimate(netlists[name]).power_mw

    exact = share("v1/mul8s_1KV8", inputs, weights)
    assert exact == pytest.approx(0.64, abs=0.05)
    relative = 0.126 / 0.425 * share("v1/mul8s_1L1G", inputs, weights) / exact
    assert relative == pytest.approx(0.237, abs=0.02)
    one, other = (share("v1/mul8s_1KR3", *o) for o in ((inputs, weights), (weights, inputs)))
    assert one < 0.3 * other  # it reads two bits of its first operand


def test_a_multiplier_without_gates_costs_nothing():
    constant = Netlist(3, 3, False, (), (0, 2, 5))
    found = estimate(constant)
    assert (found.power_mw, found.area_um2, found.delay_ns) == (0, 0, 0)
    assert set(found.intervals.values()) == {(0.0, 0.0)}
    assert activity_power_mw(constant, np.full(8, 1 / 8)) == 0


def test_one_gate_costs_what_the_published_one_does():
    found = estimate(Netlist(8, 8, False, (Gate("and", (9, 17)),), (18,)))
    assert found.power_mw == pytest.approx(0.0003, rel=0.1)  # v2022/mul8u_1SX
    assert found.area_um2 == pytest.approx(2.3, rel=0.05)
    assert found.delay_ns == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize(
    ("share", "says"),
    [
        (np.full(8, 1 / 8), r"`share_a` must have shape \(256,\), got \(8,\)"),
        (np.full(256, 1 / 250), "sum 1, got sum 1.024"),
        (np.r_[-0.5, 1.5, np.zeros(254)], "minimum -0.5"),
        (np.r_[np.nan, np.zeros(255)], "`share_a` must be non-negative numbers with sum 1"),
    ],
)
def test_shares_that_are_none_are_refused(share, says):
    with pytest.raises(CircuitError, match=says):
        activity_power_mw(load_netlists()["v1/mul8s_1L1G"], share)


EXACT_MW = {(8, 3): 0.082, (8, 4): 0.137, (8, 5): 0.198, (8, 6): 0.267, (8, 8): 0.391}


def test_generated_exact_multipliers_cost_about_what_published_ones_do():
    for (bits_a, bits_w), published in EXACT_MW.items():
        netlist = generate("exact", bits_a=bits_a, bits_w=bits_w, reduction="carry_save")
        assert estimate(netlist).power_mw == pytest.approx(published, rel=0.17)


@pytest.fixture(scope="module")
def study():
    """The modules of studies/costmodel."""
    with pytest.MonkeyPatch.context() as patch:
        root = Path(__file__).resolve().parents[2]
        patch.syspath_prepend(str(root))
        patch.chdir(root)
        from studies.costmodel import errors, fit, published

        yield fit, published, errors.errors_pct


def test_errors_of_every_eighth_published_multiplier(study):
    """A small version of the slow test below; figures and names are those of the study."""
    fit, published, errors_pct = study
    lines = Path("studies/costmodel/results/errors.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines))[::8]
    netlists = load_netlists()
    circuits = [
        published.Published(
            row["multiplier"], netlists[row["multiplier"]], {f: float(row[f]) for f in FIGURES}
        )
        for row in rows
    ]
    widths = [circuit.width for circuit in circuits]
    assert len(set(widths)) == 9
    power = np.array([circuit.figures["power_mw"] for circuit in circuits])
    found = errors_pct(fit.left_out("power_mw", circuits, widths), power)
    assert found["median"] <= 6
    assert abs(found["bias"]) <= 3
    assert found["spearman"] >= 0.99
    for figure, median in (("power_mw", 4.5), ("area_um2", 5), ("delay_ns", 6)):
        published_figures = np.array([circuit.figures[figure] for circuit in circuits])
        estimates = [estimate(circuit.netlist) for circuit in circuits]
        values = np.array([getattr(e, figure) for e in estimates])
        assert errors_pct(values, published_figures)["median"] <= median, figure
        inside = [
            e.intervals[figure][0] <= value <= e.intervals[figure][1]
            for e, value in zip(estimates, published_figures, strict=True)
        ]
        assert np.mean(inside) >= 0.8, figure  # 90 % of all of them


@pytest.mark.slow
def test_errors_without_a_width_and_the_stored_model(study):
    fit, published, errors_pct = study
    circuits = published.load_published(fit.FILES)
    assert len(circuits) == 256
    widths = [circuit.width for circuit in circuits]
    found = {}
    for figure in FIGURES:
        stored = np.array(list(cost_model().coefficients[figure].values()))
        np.testing.assert_allclose(fit.FIT[figure](circuits), stored, rtol=1e-3)
        figures = np.array([circuit.figures[figure] for circuit in circuits])
        found[figure] = errors_pct(fit.left_out(figure, circuits, widths), figures)
    assert found["power_mw"]["median"] <= 4.5
    assert found["power_mw"]["p90"] <= 12
    assert abs(found["power_mw"]["bias"]) <= 2
    assert found["power_mw"]["spearman"] >= 0.99
    assert found["area_um2"]["median"] <= 5
    assert found["delay_ns"]["median"] <= 6
