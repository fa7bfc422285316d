"""Padded taps that are skipped add exactly nothing, whatever the multiplier makes of a zero."""

from dataclasses import replace

import pytest
import torch
from grid import each
from torch import nn
from window_reference import CONVS, TRANSPOSED, calibrated, random_multiplier, reference

from axopt.errors import ArgumentError
from axopt.layers import (
    EmulatedConv1d,
    EmulatedConv2d,
    EmulatedConv3d,
    EmulatedConvTranspose1d,
    EmulatedConvTranspose2d,
    EmulatedLinear,
    LayerOptions,
)

ERRS_ON_ZERO = ("mul8u_2AC", "v2022/mul8u_0AB")

CASES = {
    "conv1d": (EmulatedConv1d, CONVS[1], {"padding": 2, "stride": 2}),
    "conv2d": (EmulatedConv2d, CONVS[2], {"padding": (1, 2)}),
    "conv2d same": (EmulatedConv2d, CONVS[2], {"padding": "same", "kernel_size": (2, 4)}),
    "conv2d groups": (EmulatedConv2d, CONVS[2], {"padding": 1, "groups": 2, "dilation": 2}),
    "conv3d": (EmulatedConv3d, CONVS[3], {"padding": (1, 0, 1), "kernel_size": 2}),
    "transposed 1d": (EmulatedConvTranspose1d, TRANSPOSED[1], {"stride": 2}),
    "transposed 2d": (EmulatedConvTranspose2d, TRANSPOSED[2], {"stride": (2, 1), "groups": 2}),
}
SIZES = {1: (7,), 2: (4, 5), 3: (3, 4, 3)}

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


def make(case, multiplier, **options):
    torch.manual_seed(0)
    layer_type, conv_type, sizes = CASES[case]
    conv = conv_type(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **sizes})
    x = torch.randn(2, 4, *SIZES[conv.weight.ndim - 2])
    layer = layer_type(conv, multiplier, padded_taps="skip", **options)
    return calibrated(layer, x), conv, x


@each("swap", [False, True])
@each("name", ERRS_ON_ZERO)
@each("case", CASES)
def test_skipped_taps_add_nothing(case, name, swap, library):
    multiplier = library[name]
    assert multiplier.table[0].any()
    layer, conv, x = make(case, multiplier)
    layer.assign(multiplier, swap=swap)
    expected = reference(layer, conv, x, conv(x).shape[2:], skip=True)
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
        assert torch.equal(layer(x[0]), expected[0])
        layer.padded_taps = "multiply"
        multiplied = layer(x)
    assert not torch.equal(multiplied, expected)
    inner = (..., *(slice(2, -2),) * (x.ndim - 2))
    if case == "conv2d":
        assert torch.equal(multiplied[inner], expected[inner])


@pytest.mark.parametrize("case", CASES)
def test_taps_of_signed_multipliers_with_shifted_zero(case, rng):
    """Zero points and remapped codes: a padded zero is multiplied as a code of its own."""
    multiplier = random_multiplier(True, rng)
    layer, conv, x = make(case, multiplier)
    formats = layer.quantisation()
    codes = torch.arange(256, dtype=torch.uint8).flip(0)
    zero = torch.tensor(77)
    layer.adjust(
        replace(
            formats, activation=replace(formats.activation, zero_point=zero, code_of_level=codes)
        )
    )
    size = conv(x).shape[2:]
    with torch.no_grad():
        assert torch.equal(layer(x), reference(layer, conv, x, size, skip=True))
        layer.padded_taps = "multiply"
        expected = reference(layer, conv, x, size)
        assert torch.equal(layer(x), expected)
        prepared = layer.prepared(x)
        assert torch.equal(layer.emulated_stepwise(prepared, layer.quantisation()), expected)


def test_the_fast_path_stays_where_skipping_changes_nothing(library, monkeypatch):
    layer, _, x = make("conv2d", library["mul8s_1KVB"])
    assert not layer.summed_by_windows(layer.quantisation())
    slow, _, _ = make("conv2d", library["mul8u_2AC"])
    assert slow.summed_by_windows(slow.quantisation())
    monkeypatch.setattr(EmulatedConv2d, "emulated_stepwise", None)
    with torch.no_grad():
        skipped = layer(x)
        layer.padded_taps = "multiply"
        assert torch.equal(layer(x), skipped)


def test_values_of_other_padding_modes_are_multiplied(library):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")
    x = torch.randn(2, 4, 5, 5)
    layer = calibrated(EmulatedConv2d(conv, library["mul8u_2AC"], padded_taps="skip"), x)
    with torch.no_grad():
        assert torch.equal(layer(x), reference(layer, conv, x, (5, 5)))
    assert not layer.summed_by_windows(layer.quantisation())


def test_windows_in_parts_are_those_at_once(library, monkeypatch):
    layer, _, x = make("conv2d", library["mul8u_2AC"])
    with torch.no_grad():
        expected = layer(x)
        monkeypatch.setattr("axopt.layers.weighted._WINDOW_VALUES", 250)
        assert torch.equal(layer(x), expected)


def test_a_changed_multiplier_or_weight_is_looked_at_again(library):
    layer, conv, x = make("conv2d", library["mul8u_1JFF"])
    with torch.no_grad():
        layer(x)
        layer.assign(library["mul8u_2AC"], swap=False)
        expected = reference(layer, conv, x, conv(x).shape[2:], skip=True)
        assert torch.equal(layer(x), expected)
        layer.weight.mul_(1.5)
        expected = reference(layer, conv, x, conv(x).shape[2:], skip=True)
        assert torch.equal(layer(x), expected)


def test_gradients_take_skipped_taps_for_zeros(library):
    layer, conv, x = make("conv2d", library["mul8u_2AC"])
    x = (0.9 * x).requires_grad_()
    y = layer(x)
    grad = torch.randn(y.shape)
    y.backward(grad)
    weight_grad = layer.weight.grad.clone()
    formats = layer.quantisation()
    quantised = formats.activation.fake_quantise(x).requires_grad_()
    weight = formats.weights.fake_quantise(conv.weight).requires_grad_()
    torch.func.functional_call(conv, {"weight": weight}, quantised).backward(grad)
    torch.testing.assert_close(weight_grad, weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(x.grad, quantised.grad, rtol=1e-4, atol=1e-4)


def test_a_linear_layer_has_no_padding(library):
    x = torch.randn(5, 7)
    layer = EmulatedLinear(nn.Linear(7, 3), library["mul8u_2AC"], padded_taps="skip")
    calibrated(layer, x)
    assert not layer.summed_by_windows(layer.quantisation())


def test_options_are_checked_and_part_of_the_definition(library):
    with pytest.raises(ArgumentError, match="`padded_taps` must be one of multiply, skip"):
        LayerOptions(padded_taps="omit")
    layer, conv, _ = make("conv2d", library["mul8u_2AC"])
    assert layer.definition == layer.geometry() + ", padded_taps=skip"
    plain = EmulatedConv2d(conv, library["mul8u_2AC"])
    assert plain.definition == plain.geometry()
