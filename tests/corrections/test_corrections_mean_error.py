import numpy as np
import pytest
import torch
from correction_cases import calibrated, make_conv, make_multiplier, noisy_multiplier
from grid import each
from torch import nn

from axopt.corrections import Corrections, LayerCorrector
from axopt.corrections.mean_error import expected_emulated_outputs, expected_outputs
from axopt.layers import EmulatedConv2d, EmulatedLinear, Quantisation, QuantParams

NONE_OF_THEM = dict.fromkeys(Corrections().names, False)
FLOAT32_SUMS = 1e-5
"""Results are rounded to float32 before their mean is taken, relative to the largest."""


def grid_params(signed, affine):
    """Formats for which a bin of the histograms, 1/512 wide, never reaches over a border."""
    low = -1.0 if signed and not affine else -0.5
    return QuantParams.from_range(
        torch.tensor(low), torch.tensor(1.0), signed=signed and not affine
    )


CONVS = {
    "1x1": {"kernel_size": 1},
    "1x1 stride": {"kernel_size": 1, "stride": 2},
    "padding": {"kernel_size": 2, "padding": 1},
    "padding and stride": {"kernel_size": 2, "padding": 1, "stride": 2},
    "circular": {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    "groups": {"kernel_size": 2, "padding": 1, "groups": 2},
    "depthwise": {"kernel_size": 2, "padding": 1, "groups": 4},
    "linear": None,
}
"""Every tap of these kernels meets as much padding, so the mean is that of the histograms."""


@each("options", CONVS.values())
@each("signed, affine", [(True, False), (True, True), (False, False)])
@each("mapped", [False, True])
def test_expected_outputs_are_the_mean_of_all_outputs(options, signed, affine, mapped, rng):
    """Images of one value a channel: where a pixel is does not matter."""
    multiplier = noisy_multiplier(signed, rng)
    activation = grid_params(signed, affine)
    levels = torch.from_numpy(rng.integers(1, 256, (60, 4)))
    levels[:, 2:] = torch.where(levels[:, 2:] < 150, activation.zero_point, levels[:, 2:])
    x = activation.values(levels)
    torch.manual_seed(0)
    if options is None:
        layer = EmulatedLinear(nn.Linear(4, 6), multiplier)
    else:
        layer = EmulatedConv2d(nn.Conv2d(4, 8, **options), multiplier)
        x = x[:, :, None, None].expand(-1, -1, 6, 6).contiguous()
    calibrated(layer, x[:17], x[17:])
    weights = layer.quantisation(signed).weights
    if mapped:
        codes = torch.from_numpy(rng.permutation(256).astype(np.uint8))
        activation = QuantParams(activation.scale, activation.zero_point, 1, codes)
        weights = QuantParams(weights.scale, weights.zero_point, 1, codes.flip(0))
    formats = Quantisation(activation, weights)
    for swap in (False, True):
        layer.assign(multiplier, swap=swap)
        layer.correction = formats
        with torch.no_grad():
            bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
            y = layer.by_channel(layer(x)).double() - bias.double()[:, None]
        table = multiplier.table.T if swap else multiplier.table
        found = expected_emulated_outputs(layer, formats, table, signed=signed)
        tolerance = FLOAT32_SUMS * float(y.abs().max())
        torch.testing.assert_close(found, y.mean(1), rtol=0, atol=tolerance)
        exact = layer.by_channel(layer.exact_float(x)).detach().double() - bias[:, None]
        torch.testing.assert_close(
            expected_outputs(layer), exact.mean(1).double(), rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    ("options", "left"),
    [({"groups": 2}, 0.03), ({"stride": 2}, 0.1), ({"padding": 1}, 0.25)],
    ids=["", "stride", "padding"],
)
def test_correction_takes_the_mean_error_off(options, left, signed, rng):
    """A part stays: pixels are met unequally often, and padding by the outer taps only."""
    multiplier = noisy_multiplier(signed, rng)
    layer, x = make_conv(multiplier, options, n=200)
    raw = layer.quantisation(signed)
    only = Corrections(**{**NONE_OF_THEM, "mean_error": True})
    choice = LayerCorrector.of(layer).best(multiplier, swap=False, allowed=only)
    assert choice.quantisation.corrections == ("mean_error",)
    assert choice.quantisation.gain is None
    means = []
    with torch.no_grad():
        exact = layer.by_channel(layer.exact_float(x)).double().mean(1)
        for formats in (raw, choice.quantisation):
            layer.correction = formats
            means.append(layer.by_channel(layer(x)).double().mean(1) - exact)
    assert means[1].square().mean().sqrt() < left * means[0].square().mean().sqrt()


def halved(table):
    return np.asarray(table, np.int64) // 2


@pytest.mark.parametrize("signed", [True, False])
def test_gain_makes_up_for_halved_products(signed, library):
    """Of unsigned operands zero points are taken off too: a table for theirs only is halved."""
    exact = library.exact(signed)
    layer, _ = make_conv(exact, {"kernel_size": 1, "bias": False}, n=50)
    raw = layer.quantisation(signed)
    origin = 128 if signed else 0
    operands = np.arange(256) - origin
    zero_a = int(raw.activation.zero_code) - origin
    table = halved(exact.table)
    if not signed:
        # a symmetric weight format: one zero point for all channels
        limit = float(layer.weight.detach().abs().max())
        weights = QuantParams.from_range(
            torch.full((8,), -limit), torch.full((8,), limit), signed=False
        )
        zero_w = int(weights.zero_code[0])
        terms = zero_w * operands[:, None] + zero_a * operands[None] - zero_a * zero_w
        table = np.maximum((exact.table - terms) // 2 + terms, 0)
        layer.fix_quantisation(False, Quantisation(raw.activation, weights))
    half = make_multiplier(table, signed)
    only = Corrections(**{**NONE_OF_THEM, "gain": True})
    choice = LayerCorrector.of(layer).best(half, swap=False, allowed=only)
    assert choice.quantisation.corrections == ("gain",)
    assert choice.quantisation.gain == pytest.approx(2.0, rel=0.02)
    assert choice.error_pct < 3 < 40 < choice.raw_error_pct


def test_gains_stay_between_a_half_and_two(library, rng):
    layer, _ = make_conv(library.exact(True), {"kernel_size": 1})
    only = Corrections(**{**NONE_OF_THEM, "gain": True})
    for factor, gain in ((0.25, 2.0), (1.9, 1 / 1.9)):
        table = np.clip(np.round(library.exact(True).table * factor), -32768, 32767)
        choice = LayerCorrector.of(layer).best(
            make_multiplier(table.astype(np.int64), True), swap=False, allowed=only
        )
        assert choice.quantisation.gain == pytest.approx(gain, rel=0.05)
