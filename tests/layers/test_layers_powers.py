"""Power of multipliers under a layer's own data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import axopt
from axopt.circuits import activity_power_mw, generate, netlist_of, register_netlists
from axopt.errors import ArgumentError, CircuitError
from axopt.layers import EmulatedMatMul, QuantParams, code_shares
from axopt.layers import powers as layer_powers
from axopt.layers.powers import LayerPowers, power_under
from axopt.modules import MatMul
from axopt.multipliers import Multiplier


def shares(codes):
    return torch.bincount(codes.flatten().long(), minlength=256).double() / codes.numel()


def distance(one, other):
    """Half the sum of differences: the share of values that are elsewhere."""
    return float((one - other).abs().sum()) / 2


def relu_data(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).relu()


@pytest.fixture
def linear():
    """A linear layer behind a ReLU, and its calibration data."""
    torch.manual_seed(0)
    x = relu_data(512, 16)
    return axopt.prepare(nn.Sequential(nn.Linear(16, 8)), x), x


@pytest.mark.parametrize("name", ["mul8s_1L1G", "mul8u_2HH"])
@pytest.mark.parametrize("correct", [False, True])
def test_code_shares_are_those_of_the_codes_multiplied(linear, name, correct):
    emulated, x = linear
    axopt.assign_(emulated, name, correct=correct)
    [layer] = emulated.emulated_layers.values()
    formats = layer.quantisation()
    activations, weights = code_shares(layer, formats)
    assert float(activations.sum()) == pytest.approx(1)
    assert distance(activations, shares(formats.activation.codes(x))) < 0.02
    assert torch.equal(weights, shares(formats.weights.codes(layer.weight)))


def test_code_shares_follow_strides_and_code_maps(linear):
    emulated, x = linear
    [layer] = emulated.emulated_layers.values()
    formats = layer.quantisation()
    scale, zero = formats.activation.scale * 4, torch.tensor(32)
    reverse = torch.arange(255, -1, -1).to(torch.uint8)
    for params in (QuantParams(scale, zero, 4), QuantParams(scale, zero, 4, reverse)):
        found, _ = code_shares(layer, replace(formats, activation=params))
        assert distance(found, shares(params.codes(x))) < 0.02


def test_padded_zeros_are_multiplied():
    torch.manual_seed(0)
    x = torch.rand(64, 2, 3, 3) + 1  # no zeros but the padded ones
    emulated = axopt.prepare(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1)), x)
    [layer] = emulated.emulated_layers.values()
    activations, _ = code_shares(layer, layer.quantisation())
    taps = sum(min(i + 2, 3) - max(i - 1, 0) for i in range(3)) ** 2  # of 9 x 9 inside
    assert float(activations[128]) == pytest.approx(1 - taps / 81, abs=0.01)


def test_second_operands_of_products_come_from_their_histogram():
    layer = EmulatedMatMul(MatMul(), axopt.load_library().exact(signed=True))
    a, b = relu_data(4, 16, 8), torch.randn(4, 8, 16, generator=torch.Generator().manual_seed(1))
    layer.observing = True
    layer(a, b)
    layer.observing = False
    formats = layer.quantisation()
    first, second = code_shares(layer, formats)
    assert distance(first, shares(formats.activation.codes(a))) < 0.05
    assert distance(second, shares(formats.weights.codes(b))) < 0.05
    assert LayerPowers.of(layer).power_mw() > 0


@pytest.mark.parametrize("swap", [False, True])
def test_power_is_the_figure_times_a_ratio_of_estimates(linear, swap):
    emulated, _ = linear
    [layer] = emulated.emulated_layers.values()
    layer.assign(axopt.load_library()["mul8s_1KR3"], swap=swap)
    operands = [s.numpy() for s in code_shares(layer, layer.quantisation())]
    netlist = netlist_of(layer.multiplier)
    under_data = activity_power_mw(netlist, *(reversed(operands) if swap else operands))
    expected = layer.multiplier.power_mw * under_data / activity_power_mw(netlist)
    found = axopt.cost(emulated, power="activity")
    assert found.layer_power_mw == {"0": pytest.approx(expected, rel=1e-12)}
    assert found.power_mw_macs == pytest.approx(expected * 128)


def test_operand_order_decides_the_power_of_a_lopsided_multiplier(linear):
    emulated, _ = linear
    [layer] = emulated.emulated_layers.values()
    powers = []
    for swap in (False, True):
        layer.assign(axopt.load_library()["mul8s_1KR3"], swap=swap)
        powers.append(axopt.cost(emulated, power="activity").rel_power)
    assert powers[0] < 0.6 * powers[1]
    assert axopt.cost(emulated).rel_power == pytest.approx(0.052 / 0.425)


@pytest.mark.parametrize("signed", [True, False])
def test_the_exact_multiplier_is_1(linear, signed):
    emulated, _ = linear
    exact = axopt.load_library().exact(signed=signed)
    axopt.assign_(emulated, exact)
    found = axopt.cost(emulated, power="activity")
    assert found.rel_power == found.rel_area == 1.0
    assert 0 < found.layer_power_mw["0"] < 0.9 * exact.power_mw
    assert axopt.cost(emulated).layer_power_mw == {"0": exact.power_mw}


def counted(monkeypatch):
    calls = []

    def count(*args, **options):
        calls.append(args)
        return power_under(*args, **options)

    monkeypatch.setattr(layer_powers, "power_under", count)
    return calls


def test_a_layer_is_simulated_once_for_each_multiplier_order_and_correction(linear, monkeypatch):
    emulated, _ = linear
    calls = counted(monkeypatch)
    for _ in range(2):
        for name in ("mul8s_1L1G", "mul8s_1KR3"):
            for correct in (False, True):
                axopt.assign_(emulated, name, correct=correct)
                axopt.cost(emulated, power="activity")
    assert len(calls) == 4 + 1  # and the reference


def test_changed_weights_and_a_new_calibration_are_noticed(linear, monkeypatch):
    emulated, x = linear
    calls = counted(monkeypatch)
    [layer] = emulated.emulated_layers.values()
    layer.fix_quantisation(True, layer.quantisation())
    before = axopt.cost(emulated, power="activity").layer_power_mw["0"]
    with torch.no_grad():
        layer.weight[1:] = 0.0
    after = axopt.cost(emulated, power="activity").layer_power_mw["0"]
    assert len(calls) == 2
    assert after < 0.5 * before
    layer.observing = True
    layer(x)
    layer.observing = False
    axopt.cost(emulated, power="activity")
    assert len(calls) == 3


def test_a_narrow_multiplier_gets_narrow_codes(linear):
    emulated, x = linear
    narrow = axopt.load_library(narrow=True)["mul8x4u_2UU"]
    [layer] = emulated.emulated_layers.values()
    layer.assign(narrow, swap=False)
    formats = layer.quantisation()
    first = shares(formats.activation.codes(x))
    second = shares(formats.weights.codes(layer.weight))[::16]  # 4 bits
    assert float(second.sum()) == pytest.approx(1)
    netlist = netlist_of(narrow)
    expected = activity_power_mw(netlist, first.numpy(), second.numpy())
    expected *= narrow.power_mw / activity_power_mw(netlist)
    found = axopt.cost(emulated, reference=narrow, power="activity")
    assert found.layer_power_mw["0"] == pytest.approx(expected, rel=0.02)
    assert found.rel_power == 1.0


def test_narrow_operands_share_codes():
    netlist = generate("exact", bits_a=4, bits_w=5)
    register_netlists({"user/narrow4x5": netlist})
    narrow = Multiplier.from_table(
        "narrow4x5", netlist.table(), signed=False, power_mw=0.1, area_um2=1, delay_ns=1
    )
    a = torch.zeros(256, dtype=torch.float64)
    a[[16, 31]], a[32] = 0.25, 0.5  # operands 1, 1 and 2
    w = torch.full((256,), 1 / 256, dtype=torch.float64)
    first = np.array([0, 0.5, 0.5, *np.zeros(13)])
    expected = 0.1 * activity_power_mw(netlist, first) / activity_power_mw(netlist)
    assert power_under(narrow, a, w, swap=False) == pytest.approx(expected, rel=1e-12)


def test_a_multiplier_without_a_gate_list_is_named(linear):
    emulated, _ = linear
    exact = axopt.load_library().exact(signed=True)
    mine = Multiplier.from_table(
        "gateless", exact.table, signed=True, power_mw=0.1, area_um2=1, delay_ns=1
    )
    axopt.assign_(emulated, mine)
    with pytest.raises(CircuitError, match="multiplier user/gateless has no gate list"):
        axopt.cost(emulated, power="activity")
    register_netlists({mine.key: netlist_of(axopt.load_library()["mul8s_1L1G"])})
    with pytest.raises(CircuitError, match="user/gateless computes another table"):
        axopt.cost(emulated, power="activity")
    register_netlists({mine.key: netlist_of(exact)})
    assert axopt.cost(emulated, power="activity").rel_power == pytest.approx(0.1 / 0.425)


def test_bad_arguments(linear):
    emulated, _ = linear
    with pytest.raises(ArgumentError, match=r"`power` must be one of \['published', 'activity'\]"):
        axopt.cost(emulated, power="uniform")
    with pytest.raises(CircuitError, match="`netlists` must be Netlist by key, got int for 'a'"):
        register_netlists({"a": 3})
