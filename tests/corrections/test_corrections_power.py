"""Operand orders that are chosen by power under a layer's data."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import axopt
from axopt.corrections import ALL, SIMILAR_ERROR, Corrections, LayerCorrector
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, CircuitError
from axopt.layers.powers import LayerPowers
from axopt.multipliers import Multiplier
from axopt.study import AssignmentProblem, options_of

BY_POWER = replace(ALL, order="power")


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(80, 8, generator=generator).relu(), torch.arange(80) % 2)
    return Dataset("noise", "noise", split, split, split, classes=("a", "b"))


@pytest.fixture(scope="module")
def emulated(data):
    torch.manual_seed(0)
    return axopt.prepare(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), data)


def powers_of(layer, multiplier):
    """Error and power of each operand order, corrected in that order."""
    found = {}
    for swap in (False, True):
        best = LayerCorrector.of(layer).best(
            multiplier, swap=swap, allowed=replace(ALL, order=False)
        )
        power = LayerPowers.of(layer).of_formats(multiplier, swap, best.quantisation)
        found[swap] = (best.error_pct, power)
    return found


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1L1G", "mul8s_1KR3"])
def test_the_order_of_less_power_is_used_where_errors_are_similar(emulated, name):
    multiplier = axopt.load_library()[name]
    for layer in emulated.emulated_layers.values():
        found = powers_of(layer, multiplier)
        least = min(error for error, _ in found.values())
        similar = {s: p for s, (e, p) in found.items() if e <= SIMILAR_ERROR * least}
        best = LayerCorrector.of(layer).best(multiplier, swap=False, allowed=BY_POWER)
        assert best.swap == min(similar, key=similar.get)
        assert best.error_pct == found[best.swap][0]


def test_orders_of_an_exact_multiplier_differ_in_power_alone(emulated):
    exact = axopt.load_library().exact(signed=True)
    [layer, _] = emulated.emulated_layers.values()
    found = powers_of(layer, exact)
    assert found[False][0] == found[True][0]
    assert found[False][1] != found[True][1]


def test_names_hold_the_choice():
    assert BY_POWER.names[0] == "order_by_power"
    assert Corrections.of_names(BY_POWER.names) == BY_POWER
    assert Corrections.of_names(ALL.names) == ALL
    assert Corrections.of_names([]) == Corrections.of_names(()) != ALL
    with pytest.raises(ArgumentError, match="`order` must be a truth value or 'power', got 'p'"):
        Corrections(order="p")


def test_groups_share_the_order_of_less_power(emulated, data):
    options = options_of(["mul8s_1KV8", "mul8s_1KR3"], False)
    problem = AssignmentProblem(
        emulated, data.validation, options, correct=BY_POWER, groups={"all": "*"}
    )
    assert problem.identity()["corrections"][0] == "order_by_power"
    for genes, option in problem.uniform().items():
        settings = problem.candidate(genes).layers
        assert len({setting.swap for setting in settings.values()}) == 1
        totals, errors = {False: 0.0, True: 0.0}, {False: 0.0, True: 0.0}
        for name, layer in emulated.emulated_layers.items():
            for swap, (error, power) in powers_of(layer, option.multiplier).items():
                totals[swap] += emulated.macs[name] * power
                errors[swap] += error**2
        limit = SIMILAR_ERROR**2 * min(errors.values())
        expected = min((s for s in totals if errors[s] <= limit), key=totals.get)
        assert settings["0"].swap == expected


def test_a_multiplier_without_gates_is_refused_before_the_search(emulated, data):
    table = axopt.load_library().exact(signed=True).table
    mine = Multiplier.from_table(
        "ungated", table, signed=True, power_mw=0.1, area_um2=1, delay_ns=1
    )
    with pytest.raises(CircuitError, match="user/ungated has no gate list"):
        AssignmentProblem(emulated, data.validation, options_of([mine], False), correct=BY_POWER)
