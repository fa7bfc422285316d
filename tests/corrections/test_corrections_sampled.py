"""The comparison of candidates on few windows: its results and what it drops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from correction_cases import calibrated, make_conv, make_linear, noisy_multiplier
from torch import nn

from axopt.corrections import ALL, NONE, LayerCorrector
from axopt.corrections.candidates import Candidates
from axopt.corrections.probe import Probe
from axopt.corrections.sampled import Sample
from axopt.layers import EmulatedConvTranspose2d, EmulatedMatMul, plan_of, strides_of
from axopt.modules import MatMul


def transposed(multiplier):
    torch.manual_seed(0)
    layer = EmulatedConvTranspose2d(nn.ConvTranspose2d(3, 6, 3, stride=2), multiplier)
    return calibrated(layer, torch.randn(30, 3, 6, 6).abs())


def product(multiplier):
    torch.manual_seed(0)
    layer = EmulatedMatMul(MatMul(), multiplier, name="product")
    layer.observing = True
    layer(torch.rand(50, 40, 9), torch.randn(50, 9, 20) + 0.5)
    layer.observing = False
    return layer


LAYERS = {
    "conv": lambda m: make_conv(m, {"padding": 1})[0],
    "groups": lambda m: make_conv(m, {"groups": 2, "stride": 2})[0],
    "depthwise": lambda m: make_conv(m, {"groups": 4, "out_channels": 4})[0],
    "skipped": lambda m: make_conv(m, {"padding": 1}, padded_taps="skip")[0],
    "per tensor": lambda m: make_linear(m, low=-1.0, per_channel=False)[0],
    "linear": lambda m: make_linear(m, low=-1.0)[0],
    "transposed": transposed,
    "product": product,
}
MULTIPLIERS = ("mul8s_1KX2", "mul8s_1KTY", "mul8u_2HH", "noisy signed", "noisy unsigned")


def named(name, library):
    if name.startswith("noisy"):
        return noisy_multiplier(name == "noisy signed", np.random.default_rng(0), 300)
    return library[name]


def candidates_of(layer, multiplier, swap):
    raw = layer.quantisation(multiplier.signed, strides_of(multiplier, swap))
    return list(Candidates(layer).formats(multiplier, swap, raw, ALL))


@pytest.mark.parametrize("name", MULTIPLIERS)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_results_are_those_of_the_layer(make, name, library):
    """On all windows and outputs, up to the rounding of float32; private names: no public ones."""
    multiplier = named(name, library)
    layer = make(multiplier)
    probe = Probe(layer)
    sample = Sample(probe, 10**6, 10**6)
    formats = candidates_of(layer, multiplier, True)
    pairs = [(plan_of(multiplier, True), f) for f in formats]
    found = sample._results(pairs, multiplier.signed)
    for y, each in zip(found, formats, strict=True):
        expected = probe.results(each, multiplier, True).y.numpy()
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_a_sample_has_the_windows_and_outputs_that_it_names(library):
    multiplier = library["mul8s_1L2D"]
    layer, _ = make_conv(multiplier, {"groups": 2, "out_channels": 12})
    probe = Probe(layer)
    sample = Sample(probe, 50, 6)
    formats = candidates_of(layer, multiplier, False)
    [y] = sample._results([(plan_of(multiplier, False), formats[0])], True)
    assert y.shape == (50, 6)
    whole = probe.results(formats[0], multiplier, False).y.numpy()
    columns = [c for c in whole.T if any(set(y[:, o]) <= set(c) for o in range(6))]
    assert len(columns) == 6


@pytest.mark.parametrize("bounds", [None, (0.0, float("inf"))], ids=["", "relu"])
@pytest.mark.parametrize("name", [*MULTIPLIERS, "mul8s_1KVL", "mul8s_1L1G", "mul8u_17C8"])
@pytest.mark.parametrize("size", ["conv", "linear"])
def test_the_choice_is_that_of_all_candidates(size, name, bounds, library):
    """The plain reference measures every candidate on all windows and takes the least error."""
    multiplier = named(name, library)
    make = make_conv if size == "conv" else make_linear
    layer, _ = make(multiplier, n=60 if size == "conv" else 1500, bounds=bounds)
    corrector = LayerCorrector(layer)
    found = corrector.best(multiplier, swap=False)
    plain = corrector.compared(multiplier, swap=False)
    assert found.error_pct == pytest.approx(plain.error_pct, rel=1e-6)
    assert found.raw_error_pct == plain.raw_error_pct
    assert () in found.rejected or found.quantisation.corrections == ()


def test_few_candidates_are_measured_on_all_windows(library, monkeypatch):
    multiplier = library["mul8s_1KVL"]
    layer, _ = make_conv(multiplier, {"padding": 1}, n=60)
    measured = []
    results = Probe.results

    def counted(self, formats, *args):
        measured.append(formats)
        return results(self, formats, *args)

    monkeypatch.setattr(Probe, "results", counted)
    corrector = LayerCorrector(layer)
    corrector.best(multiplier, swap=False)
    few = len(measured)
    corrector.compared(multiplier, swap=False)
    assert few <= (len(measured) - few) / 3


def test_a_candidate_that_errs_everywhere_is_dropped_and_an_equal_one_is_not(library):
    multiplier = library["mul8s_1L2D"]
    layer, _ = make_conv(multiplier, {"padding": 1})
    raw = layer.quantisation(True)
    worse = replace(raw, activation=replace(raw.activation, scale=raw.activation.scale * 8))
    plan = plan_of(multiplier, False)
    sample = Sample(Probe(layer), 64, 32)
    pairs = [(plan, worse), (plan, raw), (plan, replace(raw))]
    assert sample.likely(pairs, True, NONE) == [1, 2]


@pytest.mark.parametrize("order", [True, "power"])
def test_power_decides_between_the_same_orders_as_among_all_candidates(order, library):
    multiplier = library["mul8s_1KTY"]
    layer, _ = make_conv(multiplier, {"padding": 1}, n=120)
    corrector = LayerCorrector(layer)
    allowed = replace(ALL, order=order)
    found = corrector.best(multiplier, swap=False, allowed=allowed)
    plain = corrector.compared(multiplier, swap=False, allowed=allowed)
    assert (found.swap, found.error_pct) == (plain.swap, plain.error_pct)
