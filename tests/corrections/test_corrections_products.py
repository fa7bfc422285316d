"""Corrections of a product of two activations: one gain, and nothing else added to results."""

import pytest
import torch

from axopt.corrections import LayerCorrector
from axopt.corrections.probe import Probe
from axopt.layers import EmulatedMatMul
from axopt.modules import MatMul


@pytest.fixture
def layer(library):
    torch.manual_seed(0)
    layer = EmulatedMatMul(MatMul(), library["mul8s_1L1G"], name="product")
    layer.observing = True
    layer(torch.rand(50, 40, 9), torch.randn(50, 9, 20) + 0.5)
    layer.observing = False
    return layer


def test_the_gain_is_that_of_least_squares(layer):
    probe = Probe(layer)
    results = probe.results(layer.quantisation(), layer.multiplier, False)
    found = [formats for formats, _ in results.corrected(mean_error=True, gain=True)]
    assert [formats.corrections for formats in found] == [(), ("gain",)]
    y, exact = results.y[::2].double().flatten(), probe.exact[::2].flatten()
    expected = torch.linalg.lstsq(y[:, None], exact[:, None]).solution[0]
    assert found[1].gain.shape == (1,)
    assert found[1].shift is None
    torch.testing.assert_close(found[1].gain.double(), expected, rtol=1e-5, atol=0)
    assert abs(float(expected) - 1) > 0.01


def test_results_of_the_trial_are_those_of_the_layer(layer):
    """In both orders, the rows and columns of each kept pair multiplied by the layer itself."""
    probe = Probe(layer)
    windows = layer.sample.windows.transpose(0, 1)
    columns = layer.weight.view(len(windows), -1, windows.shape[2]).mT
    for swap in (False, True):
        layer.assign(layer.multiplier, swap=swap)
        results = probe.results(layer.quantisation(), layer.multiplier, swap)
        expected = layer(windows, columns).transpose(0, 1).flatten(1)
        assert torch.equal(results.y, expected)


def test_affine_first_operands_are_found_for_what_is_never_negative(layer):
    choice = LayerCorrector.of(layer).best(layer.multiplier, swap=False)
    assert "affine" in choice.quantisation.corrections
    assert choice.error_pct < 0.6 * choice.raw_error_pct
