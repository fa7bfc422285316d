"""Transposed convolutions: no inserted zero is multiplied, all else as torch has it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from grid import each
from window_reference import TRANSPOSED, calibrated, filters_of, random_multiplier, reference

from axopt.errors import ArgumentError
from axopt.layers import (
    EmulatedConvTranspose1d,
    EmulatedConvTranspose2d,
    EmulatedConvTranspose3d,
    Gradient,
    Steps,
    transposed_products,
)
from axopt.multipliers import Multiplier

LAYERS = {1: EmulatedConvTranspose1d, 2: EmulatedConvTranspose2d, 3: EmulatedConvTranspose3d}
SIZES = {1: (5,), 2: (3, 4), 3: (3, 2, 3)}

OPTIONS = {
    1: {
        "plain": {},
        "stride": {"stride": 2, "padding": 1, "kernel_size": 4},
        "kernel below stride": {"stride": 3, "kernel_size": 2},
        "dilation": {"stride": 2, "dilation": 2, "output_padding": 1},
        "dilation 3": {"stride": 2, "dilation": 3, "padding": 4},
        "common divisor": {"stride": 4, "dilation": 6, "padding": 3, "kernel_size": 4},
        "output padding": {"stride": 3, "output_padding": 2, "bias": False},
        "much padding": {"stride": 2, "padding": 4, "kernel_size": 3},
        "groups": {"stride": 2, "groups": 2, "out_channels": 4},
        "depthwise": {"stride": 2, "groups": 4, "out_channels": 4},
    },
    2: {
        "plain": {},
        "upsampling": {"stride": 2, "padding": 1, "kernel_size": 4},
        "blocks": {"stride": 2, "kernel_size": 2},
        "mixed": {"stride": (1, 3), "dilation": (2, 1), "padding": (0, 2), "kernel_size": (2, 4)},
        "gaps": {"stride": (3, 2), "kernel_size": (2, 1), "output_padding": (2, 1)},
        "groups": {"stride": 2, "groups": 2, "out_channels": 6, "output_padding": 1},
    },
    3: {
        "stride": {"stride": 2, "kernel_size": (3, 2, 2), "padding": (1, 0, 1)},
        "mixed": {"stride": (2, 1, 3), "dilation": (1, 2, 1), "kernel_size": 2, "groups": 2},
    },
}
CASES = [(dims, options) for dims, by_name in OPTIONS.items() for options in by_name.values()]


def torch_order(filters, groups):
    """Filters as the weight of torch's layer."""
    by_group = filters.contiguous().view(groups, -1, *filters.shape[1:])
    return by_group.transpose(1, 2).flatten(0, 1)


def make(dims, options, multiplier, **layer_options):
    torch.manual_seed(0)
    options = {"in_channels": 4, "out_channels": 2, "kernel_size": 3, **options}
    conv = TRANSPOSED[dims](**options)
    x = torch.randn(2, 4, *SIZES[dims])
    return calibrated(LAYERS[dims](conv, multiplier, **layer_options), x), conv, x


@each("signed", [True, False])
@each("dims, options", CASES)
def test_transposed_convolution_equals_loops_over_products(dims, options, signed, rng):
    multiplier = random_multiplier(signed, rng)
    layer, conv, x = make(dims, options, multiplier, per_channel=not options.get("groups"))
    layer.assign(multiplier, swap=not signed)
    expected = reference(layer, conv, x, conv(x).shape[2:])
    prepared, formats = layer.prepared(x), layer.quantisation()
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
        assert torch.equal(layer.emulated_stepwise(prepared, formats), expected)
        assert torch.equal(layer(x[1]), expected[1])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_scales_and_zero_points_are_those_of_output_channels(dims, rng):
    layer, conv, x = make(dims, {"groups": 2, "out_channels": 6}, random_multiplier(False, rng))
    weights = layer.quantisation().weights
    filters = filters_of(conv).flatten(1)
    span = filters.max(1).values.clamp(min=0) - filters.min(1).values.clamp(max=0)
    torch.testing.assert_close(weights.scale, span / 255)
    with torch.no_grad():
        assert torch.equal(layer(x), reference(layer, conv, x, conv(x).shape[2:]))


@each("dims, options", CASES)
def test_gradients_are_those_of_the_quantised_float_layer(dims, options, rng):
    layer, conv, x = make(dims, options, random_multiplier(True, rng))
    x = (2 * x).requires_grad_()  # some elements are clipped
    y = layer(x)
    grad = torch.randn(y.shape)
    y.backward(grad)
    weight_grad = layer.weight.grad.clone()
    formats = layer.quantisation()
    quantised = formats.activation.fake_quantise(x).requires_grad_()
    filters = formats.weights.fake_quantise(layer.filters).contiguous()
    weight = torch_order(filters, conv.groups).detach().requires_grad_()
    torch.func.functional_call(conv, {"weight": weight}, quantised).backward(grad)
    inside = formats.activation.inside(x)
    assert 0 < inside.float().mean() < 1
    torch.testing.assert_close(x.grad, quantised.grad * inside, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weight_grad, weight.grad, rtol=1e-4, atol=1e-4)


@each("skip", [False, True])
@each("dims, options", CASES[::3])
def test_slopes_count_the_padded_taps_of_each_phase(dims, options, skip):
    """The only error of the multiplier is bilinear, so its gradients are those of its results."""
    values = np.arange(256)
    table = values[:, None] * values + 20 * values[None, :] + 7 * values[:, None]
    multiplier = Multiplier.from_table(
        "tilted", table.clip(max=65535), signed=False, power_mw=1.0, area_um2=1.0, delay_ns=1.0
    )
    padded_taps = "skip" if skip else "multiply"
    layer, conv, x = make(dims, options, multiplier, padded_taps=padded_taps)
    layer.gradient = Gradient("slopes")
    formats = layer.quantisation()
    x = (x * 0.5).requires_grad_()
    y = layer(x)
    grad = torch.randn(y.shape)
    y.backward(grad)
    assert layer.summed_by_windows(formats) == (skip and layer.pads)
    # y is affine in every weight code: one step of one weight against the derivative
    codes = formats.weights.levels(layer.filters).flatten()
    filters = formats.weights.fake_quantise(layer.filters).detach().contiguous()
    step = formats.weights.scale.view(-1, *(1,) * (dims + 1)).expand_as(filters)
    derivative = layer.weight.grad.flatten()

    def result(changed):
        with torch.no_grad():
            layer.weight.copy_(torch_order(changed, conv.groups))
            fixed = replace(formats)
            return (layer.emulated(x.detach(), fixed).double() * grad).sum()

    base = result(filters)
    order = torch_order(torch.arange(filters.numel()).view(filters.shape), conv.groups)
    place = {int(o): i for i, o in enumerate(order.flatten())}
    checked = 0
    for index in range(0, filters.numel(), 1 + filters.numel() // 20):
        if not 0 < int(codes[index]) < 255:
            continue
        changed = filters.clone()
        changed.view(-1)[index] += step.flatten()[index]
        expected = (result(changed) - base) / step.flatten()[index]
        assert float(derivative[place[index]]) == pytest.approx(float(expected), rel=0.02, abs=0.5)
        checked += 1
    assert checked > 2


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_learned_scales_get_the_derivative_of_the_results(dims, library):
    layer, conv, x = make(dims, {"stride": 2}, library.exact(True))
    formats = layer.quantisation()
    activation = formats.activation.scale.clone().requires_grad_()
    weights = formats.weights.scale.clone().requires_grad_()
    layer.steps = Steps(activation, weights)
    y = layer(x)
    grad = torch.randn(y.shape)
    y.backward(grad)
    assert weights.grad.shape == (2,)
    layer.steps = None
    bias = conv.bias.view(-1, *(1,) * dims)
    by_channel = ((y.detach() - bias) * grad).movedim(1, 0).flatten(1).sum(1)
    inner = (layer.weight.grad * layer.weight).movedim(1, 0).flatten(1).sum(1)
    factor = (layer.filters[0].numel() * 127.0) ** -0.5
    expected = (by_channel - inner) * factor / weights.detach()
    torch.testing.assert_close(weights.grad, expected.detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_output_size_chooses_the_output_padding(dims, rng):
    options = {"stride": 3, "padding": 1, "kernel_size": 2}
    layer, conv, x = make(dims, options, random_multiplier(False, rng))
    least = conv(x).shape[2:]
    size = tuple(n + i for i, n in enumerate(least))
    expected = reference(layer, conv, x, size)
    with torch.no_grad():
        assert torch.equal(layer(x, output_size=size), expected)
        assert torch.equal(layer(x, [2, 2, *size]), expected)
        assert torch.equal(layer(x[0], size), expected[0])
        assert torch.equal(layer(x), expected[(..., *(slice(n) for n in least))])
    assert layer.output_padding == (0,) * dims
    x = x.requires_grad_()
    layer(x, size).sum().backward()
    with pytest.raises(ArgumentError, match="`output_size` must be within"):
        layer(x, [n + 3 for n in least])
    with pytest.raises(ArgumentError, match="`output_size` must be within"):
        layer(x, [*least[:-1], least[-1] - 1])


@each("dims, options", CASES)
def test_windows_hold_the_taps_of_their_phase(dims, options, library):
    layer, conv, x = make(dims, options, library.exact(True))
    windows = layer.sample.windows.double()
    n, groups, _ = windows.shape
    filters = layer.filters.double().reshape(groups, len(layer.filters) // groups, -1)
    found = torch.einsum("ngk,gok->ngo", windows.nan_to_num(), filters).reshape(n, -1)
    bias = 0 if conv.bias is None else conv.bias.view(-1, *(1,) * dims)
    expected = layer.by_channel((conv(x) - bias).double()).T
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    share = float((~windows.isnan()).double().mean())
    assert layer.channels.tap_share == pytest.approx(share)


@each("dims, options", CASES)
def test_products_are_counted_for_every_phase(dims, options, library):
    layer, conv, x = make(dims, options, library.exact(True))
    y = conv(x)
    met = int((~layer.sample.windows.isnan()).sum())  # by windows, groups and depth
    outputs_of_group = y.shape[1] // conv.groups
    assert transposed_products(conv, y.shape[2:]) == met * outputs_of_group // len(x)


def test_weights_load_under_the_names_of_torch(library):
    layer, conv, _ = make(2, {"groups": 2}, library.exact(True))
    assert {n: v.shape for n, v in layer.state_dict().items()} == {
        n: v.shape for n, v in conv.state_dict().items()
    }


def test_wrong_inputs_are_refused(library):
    layer, _, x = make(1, {"stride": 2, "padding": 2}, library.exact(True))
    with pytest.raises(ArgumentError, match="large enough for a result"):
        layer(x[..., :1])
    with pytest.raises(ArgumentError, match="must have shape"):
        layer(x[0, 0])
