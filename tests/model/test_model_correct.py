"""Corrections of whole models: chosen, applied, taken away, saved, and computed exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from layer_references import make_net, numpy_layer, stepwise

import axopt
from axopt import kernels
from axopt.corrections import ALL, NONE, Corrections, LayerCorrector
from axopt.errors import ArgumentError
from axopt.layers import Quantisation, WeightedLayer
from axopt.model import current_assignment, explain_corrections
from axopt.multipliers import Multiplier


@pytest.fixture(scope="module")
def digits():
    return axopt.create_model("digits_cnn"), axopt.load_data("digits")


@pytest.fixture(scope="module")
def emulated(digits):
    """Every test assigns first, which takes corrections away."""
    model, data = digits
    return axopt.prepare(model, [data.train.take(256).inputs])


@pytest.fixture(scope="module")
def only_small():
    return axopt.prepare(make_net(), [torch.randn(64, 2, 6, 6)])


@pytest.fixture
def small(only_small):
    """One model for all tests, which keeps the choices that it made."""
    for layer in only_small.emulated_layers.values():
        layer.release_quantisation()
    axopt.assign_(only_small, "mul8s_1KV8")
    return only_small


def outputs(emulated, x):
    with torch.no_grad():
        return emulated(x)


def chosen(emulated):
    return {
        name: (layer.multiplier.key, layer.swap, layer.correction)
        for name, layer in emulated.emulated_layers.items()
    }


def test_each_layer_gets_the_choice_of_its_corrector(small):
    axopt.assign_(small, {"0": "mul8s_1KTY", "2": "mul8s_1L1G", "4": "mul8u_2HH"})
    axopt.correct_(small)
    for layer in small.emulated_layers.values():
        choice = LayerCorrector.of(layer).best(layer.multiplier, swap=False)
        assert choice.quantisation.corrections
        assert layer.swap == choice.swap
        assert layer.correction is choice.quantisation is layer.quantisation()


def test_assigning_corrected_is_assigning_and_correcting(small):
    x = torch.randn(5, 2, 6, 6)
    axopt.assign_(small, "mul8s_1KTY")
    axopt.correct_(small)
    expected, y = chosen(small), outputs(small, x)
    axopt.assign_(small, "mul8s_1KV8")
    axopt.assign_(small, "mul8s_1KTY", correct=True)
    assert chosen(small) == expected
    assert torch.equal(outputs(small, x), y)


def test_assigning_takes_corrections_away(small):
    x = torch.randn(5, 2, 6, 6)
    axopt.assign_(small, "mul8s_1L1G")
    raw = outputs(small, x)
    axopt.correct_(small)
    corrected = outputs(small, x)
    assert not torch.equal(corrected, raw)
    axopt.assign_(small, {"0": "mul8s_1L1G"})
    has = [layer.correction is not None for layer in small.emulated_layers.values()]
    assert has == [False, True, True]
    axopt.assign_(small, "mul8s_1L1G", correct=False)
    assert torch.equal(outputs(small, x), raw)
    axopt.assign_(small, "mul8s_1L1G", correct=NONE)
    assert torch.equal(outputs(small, x), raw)


def test_order_of_a_pair_stays(small):
    """1KTY is much better with the weight first; who says otherwise gets it."""
    axopt.assign_(small, "mul8s_1KTY", correct=True)
    assert all(info.swap for info in small.layers())
    axopt.assign_(small, ("mul8s_1KTY", False), correct=True)
    assert not any(info.swap for info in small.layers())
    assert all(layer.correction is not None for layer in small.emulated_layers.values())
    fixed = replace(ALL, order=False)
    axopt.assign_(small, {"2": ("mul8s_1KTY", True)}, correct=fixed)
    axopt.correct_(small, allowed=fixed)
    assert [info.swap for info in small.layers()] == [False, True, False]


def test_only_what_is_allowed_is_used(small):
    axopt.assign_(small, "mul8s_1L1G", correct=Corrections(activation_codes=False))
    names = {n for layer in small.emulated_layers.values() for n in layer.correction.corrections}
    assert names
    assert "activation_codes" not in names
    axopt.correct_(small, allowed=NONE)
    assert all(layer.correction is None for layer in small.emulated_layers.values())


@pytest.mark.parametrize("wrong", [1, "yes", None, {"order": True}])
def test_wrong_correct_argument_changes_nothing(small, wrong):
    axopt.assign_(small, "mul8s_1L1G", correct=True)
    before = chosen(small)
    with pytest.raises(ArgumentError, match="`correct` must be True, False or Corrections"):
        axopt.assign_(small, "mul8s_1KR3", correct=wrong)
    assert chosen(small) == before


@pytest.mark.parametrize("name", ["mul8s_1L1G", "mul8s_1L2D", "mul8s_1KTY"])
def test_poor_multipliers_come_near_the_exact_one_on_digits(digits, emulated, name):
    data = digits[1]
    axopt.assign_(emulated, "mul8s_1KV8")
    exact = axopt.evaluate(emulated, data.test).value
    axopt.assign_(emulated, name)
    raw = axopt.evaluate(emulated, data.test).value
    axopt.correct_(emulated)
    corrected = axopt.evaluate(emulated, data.test).value
    assert corrected >= exact - 3
    assert corrected > raw
    if name == "mul8s_1L1G":
        assert raw < exact - 20


def random_codes(emulated, rng):
    """Any code for any level, of activations and weights, in every layer."""
    for layer in emulated.emulated_layers.values():
        raw = layer.quantisation()
        maps = [torch.from_numpy(rng.permutation(256).astype(np.uint8)) for _ in range(2)]
        n = len(layer.weight)
        layer.correction = Quantisation(
            replace(raw.activation, code_of_level=maps[0]),
            replace(raw.weights, code_of_level=maps[1]),
            torch.from_numpy(rng.uniform(0.5, 2, n)).float(),
            torch.from_numpy(rng.normal(0, 0.1, n)).float(),
            ("codes",),
        )


@pytest.mark.parametrize("how", ["corrected", "re-estimated", "any codes"])
@pytest.mark.parametrize("name", ["mul8s_1KVA", "mul8s_1KTY", "mul8u_2HH"])
def test_corrected_network_is_the_same_bit_for_bit(name, how, digits, emulated, monkeypatch, rng):
    data = digits[1]
    images = data.test.take(2).inputs
    axopt.assign_(emulated, name)
    if how == "any codes":
        random_codes(emulated, rng)
    else:
        again = [data.train.take(64).inputs] if how == "re-estimated" else None
        axopt.correct_(emulated, data=again)
    fast = []
    for isa in kernels.available():
        with kernels.force_isa(isa):
            fast.append(outputs(emulated, images))
    for reference in (stepwise, numpy_layer):
        monkeypatch.setattr(WeightedLayer, "emulated", reference)
        fast.append(outputs(emulated, images))
    assert all(torch.equal(y, fast[0]) for y in fast)


@pytest.mark.parametrize("again", [False, True], ids=["", "re-estimated"])
@pytest.mark.parametrize("name", ["mul8s_1KTY", "mul8u_2HH"])
def test_file_gives_the_same_bits_on_a_fresh_model(name, again, digits, emulated, tmp_path):
    model, data = digits
    images = data.test.take(60).inputs
    axopt.assign_(emulated, name)
    axopt.correct_(emulated, data=[data.train.take(64).inputs] if again else None)
    expected = outputs(emulated, images)
    current_assignment(emulated).save(tmp_path / "a.json")
    fresh = axopt.prepare(model, [3 * data.validation.take(20).inputs])  # another calibration
    loaded = axopt.Assignment.load(tmp_path / "a.json")
    axopt.assign_(fresh, loaded)
    assert torch.equal(outputs(fresh, images), expected)
    assert current_assignment(fresh).to_json() == loaded.to_json()
    axopt.assign_(fresh, loaded, correct=True)  # all layers bring theirs
    assert torch.equal(outputs(fresh, images), expected)


def test_layers_of_a_file_without_corrections_are_corrected_if_asked_for(small):
    axopt.assign_(small, "mul8s_1L1G", correct=True)
    axopt.assign_(small, {"2": "mul8s_1L1G"})
    saved = current_assignment(small)
    before = chosen(small)
    axopt.assign_(small, saved)
    assert small.emulated_layers["2"].correction is None
    axopt.assign_(small, saved, correct=True)
    assert small.emulated_layers["2"].correction is not None
    for name in ("0", "4"):
        found, kept = small.emulated_layers[name].correction, before[name][2]
        assert found.corrections == kept.corrections
        assert torch.equal(found.activation.scale, kept.activation.scale)


def test_explanations_say_what_is_in_use_and_what_else_there_is(small):
    axopt.assign_(small, "mul8s_1KTY", correct=True)
    before = chosen(small)
    explanations = explain_corrections(small)
    assert chosen(small) == before
    assert [e.name for e in explanations] == ["0", "2", "4"]
    for e, layer in zip(explanations, small.emulated_layers.values(), strict=True):
        choice = LayerCorrector.of(layer).best(layer.multiplier, swap=False)
        assert (e.multiplier, e.swap) == ("v1/mul8s_1KTY", choice.swap)
        assert e.corrections == choice.quantisation.corrections
        assert e.error_pct == pytest.approx(choice.error_pct, rel=1e-5)
        assert e.raw_error_pct == choice.raw_error_pct
        alternatives = dict(e.alternatives)  # all sets; the choice measures the likely ones alone
        assert all(alternatives[names] <= error for names, error in choice.rejected.items())
        errors = [error for _, error in e.alternatives]
        assert errors == sorted(errors)
    axopt.assign_(small, "mul8s_1KTY")
    for raw, e in zip(explain_corrections(small), explanations, strict=True):
        assert (raw.corrections, raw.swap) == ((), False)
        assert raw.error_pct == pytest.approx(raw.raw_error_pct, rel=1e-5)
        assert raw.alternatives[0][0] == ("order",) * e.swap + e.corrections
        assert raw.alternatives[0][1] == pytest.approx(e.error_pct, rel=1e-5)


def test_multipliers_of_the_user_are_corrected(small, library):
    table = np.array(library["mul8s_1KV8"].table) // 2
    half = Multiplier.from_table("half", table, signed=True, power_mw=0.1, area_um2=1, delay_ns=1)
    x = torch.randn(20, 2, 6, 6)
    exact = outputs(small, x)
    axopt.assign_(small, half)
    raw = outputs(small, x)
    axopt.assign_(small, half, correct=True)
    assert all("gain" in c.corrections for _, _, c in chosen(small).values())
    assert (outputs(small, x) - exact).norm() < 0.1 * (raw - exact).norm()
