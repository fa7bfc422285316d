"""Expected errors of layers, against their definition and against measured corrections."""

import numpy as np
import pytest
import torch

import axopt
from axopt.circuits import generate, multiplier_of
from axopt.corrections import LayerCorrector
from axopt.design.judge import expected_errors
from axopt.design.statistics import Activations, LayerStatistics, Weights, weighted_bits
from axopt.design.structures import layer_errors, truncation


def operands(signed):
    return np.arange(256) - (128 if signed else 0)


@pytest.fixture(scope="module")
def layer():
    torch.manual_seed(0)
    x = torch.randn(200, 12).relu() * torch.linspace(0.5, 2, 12)
    emulated = axopt.prepare(torch.nn.Linear(12, 9), x)
    return emulated.emulated_layers["0"]


@pytest.mark.parametrize("signed", [True, False])
def test_bits_sum_to_the_operand(signed):
    np.testing.assert_array_equal(weighted_bits(signed).sum(1), operands(signed))


@pytest.mark.parametrize("signed", [True, False])
def test_loss_is_the_variance_left_by_the_best_code(signed):
    rng = np.random.default_rng(0)
    shares = rng.random((1, 256))
    shares /= shares.sum()
    table = np.multiply.outer(operands(signed), operands(signed)) + rng.integers(
        -900, 900, (256,) * 2
    )
    activations = Activations(shares, 1.0, 0.0, signed)
    weights = Weights(np.array([-3.0, 17.0]), np.array([1.0, 2.0]))
    expected = 0.0
    for value, importance in ((-3.0, 1.0), (17.0, 2.0)):
        error = value * operands(signed)[:, None] - table
        mean = shares[0] @ error
        expected += importance * (shares[0] @ np.square(error - mean)).min()
    q, r = activations.lines(table)
    np.testing.assert_allclose(weights.loss(activations.variance, q[None], r[None]), expected)


def test_means_of_channels_are_free():
    shares = np.zeros((2, 256))
    shares[0, 130] = shares[1, 190] = 1.0  # each channel is constant
    assert Activations(shares, 1.0, 0.0, signed=True).variance == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("strides", [(1, 1), (8, 4)])
def test_kept_sets_cost_what_their_tables_cost(layer, signed, strides):
    kept = np.random.default_rng(1).random((8, 8)) < 0.6
    kept[:3] = kept[:, :2] = False
    table = generate("broken", kept=kept, signed=signed).table()
    statistics = LayerStatistics(layer, signed=signed)
    of_kept = statistics.error_of_kept(kept[None], strides)[0]
    assert of_kept == pytest.approx(statistics.error_of_table(table, [strides]), rel=1e-9)
    assert of_kept > 1e-4


def test_exact_products_leave_quantisation_only(layer):
    exact = layer_errors(LayerStatistics(layer, signed=True), np.ones((1, 8, 8), np.bool_))[0]
    measured = LayerCorrector.of(layer).best(axopt.load_library()["mul8s_1KV8"], swap=False)
    assert 0 < 100 * exact**0.5 < 1
    assert 100 * exact**0.5 == pytest.approx(measured.error_pct, rel=0.5)


def test_fewer_bits_never_lower_the_error(layer):
    sets = np.stack([truncation(top, top) for top in range(8, 1, -1)])
    errors = layer_errors(LayerStatistics(layer, signed=True), sets)
    assert (np.diff(errors) > 0).all()


def test_expected_errors_rank_measured_corrections(layer):
    names = ["1KV8", "1KX2", "1KRC", "1L2H", "1L2D", "1L1G", "1KTY", "1KR3"]
    multipliers = [axopt.load_library()[f"mul8s_{name}"] for name in names]
    expected = expected_errors({"0": LayerStatistics(layer, signed=True)}, multipliers)[0]
    corrector = LayerCorrector.of(layer)
    measured = [corrector.best(m, swap=False).error_pct for m in multipliers]
    ranks = [np.argsort(np.argsort(values)) for values in (expected, measured)]
    assert np.corrcoef(ranks)[0, 1] > 0.95
    ratio = np.array(measured) / (100 * np.sqrt(expected))
    assert ((0.5 < ratio) & (ratio < 2)).all()


@pytest.mark.parametrize("signed", [True, False])
def test_narrow_multipliers_are_judged_in_the_formats_of_their_operands(layer, signed):
    netlist = generate("exact", bits_a=4, bits_w=6, signed=signed)
    narrow = multiplier_of(netlist, "narrow")
    statistics = LayerStatistics(layer, signed=signed)
    [found] = expected_errors({"0": statistics}, [narrow])[0]
    orders = (narrow.code_table, (16, 4)), (narrow.code_table.T, (4, 16))
    assert found == min(statistics.error_of_table(table, [strides]) for table, strides in orders)
    if signed:
        corrector = LayerCorrector.of(layer)
        measured = min(corrector.best(narrow, swap=swap).error_pct for swap in (False, True))
        assert 100 * found**0.5 == pytest.approx(measured, rel=0.5)
