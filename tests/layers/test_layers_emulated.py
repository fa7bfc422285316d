import itertools

import numpy as np
import pytest
import torch
from grid import each
from torch import nn
from torch.nn import functional
from window_reference import calibrated, padded_input, random_multiplier

from axopt.errors import CalibrationError
from axopt.layers import EmulatedConv2d, EmulatedLinear
from axopt.multipliers import Multiplier

TORCH_COPIES_FOR_EVEN_SAME = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths"
)

FLOAT_SUM_ORDER = {"rtol": 1e-4, "atol": 1e-3}
"""Gradients are float sums of values up to some hundreds, in another order."""

CONV_OPTIONS = {
    "plain": {},
    "no bias": {"bias": False},
    "stride": {"stride": (2, 1), "padding": 1},
    "padding pair": {"padding": (2, 0)},
    "same": {"padding": "same", "kernel_size": (3, 4)},
    "same dilated": {"padding": "same", "dilation": (2, 1)},
    "valid": {"padding": "valid"},
    "dilation": {"dilation": (2, 3), "padding": 2},
    "reflect": {"padding": 2, "padding_mode": "reflect"},
    "replicate": {"padding": (1, 2), "padding_mode": "replicate"},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "groups": {"groups": 2},
    "depthwise": {"groups": 4, "out_channels": 8, "padding": 1},
    "1x1": {"kernel_size": 1},
}


def make_conv(options, multiplier, **layer_options):
    torch.manual_seed(0)
    conv = nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options})
    x = torch.randn(2, 4, 9, 8)
    return calibrated(EmulatedConv2d(conv, multiplier, **layer_options), x), conv, x


def reference_sums(table, signed, x, weight, groups, stride, dilation, zero_x, zero_w):
    """Table products of every window, by explicit loops over outputs, zero points removed."""
    channels = weight.shape[1]
    per_group = weight.shape[0] // groups
    _, _, rows, columns = weight.shape
    height = (x.shape[2] - dilation[0] * (rows - 1) - 1) // stride[0] + 1
    width = (x.shape[3] - dilation[1] * (columns - 1) - 1) // stride[1] + 1
    out = np.zeros((x.shape[0], weight.shape[0], height, width), np.int64)
    for o, i, j in itertools.product(range(weight.shape[0]), range(height), range(width)):
        first = o // per_group * channels
        window = x[
            :,
            first : first + channels,
            i * stride[0] : i * stride[0] + dilation[0] * (rows - 1) + 1 : dilation[0],
            j * stride[1] : j * stride[1] + dilation[1] * (columns - 1) + 1 : dilation[1],
        ].astype(np.int64)
        w = weight[o].astype(np.int64)
        products = table[window, w[None]].astype(np.int64)
        if not signed:
            products += zero_x * zero_w[o] - zero_w[o] * window - zero_x * w
        out[:, o, i, j] = products.sum((1, 2, 3))
    return out


@each("signed", [True, False])
@each("per_channel", [True, False])
@each("swap", [True, False])
@TORCH_COPIES_FOR_EVEN_SAME
@pytest.mark.parametrize("options", CONV_OPTIONS.values(), ids=CONV_OPTIONS.keys())
def test_conv_equals_reference_for_any_table(options, signed, per_channel, swap, rng):
    multiplier = random_multiplier(signed, rng)
    layer, conv, x = make_conv(options, multiplier, per_channel=per_channel)
    layer.assign(multiplier, swap=swap)
    formats = layer.quantisation()
    activation, weights = formats.activation, formats.weights
    padded = padded_input(conv, x)
    zero_w = np.broadcast_to(weights.zero_point.numpy(), len(conv.weight))
    table = multiplier.table.T if swap else multiplier.table
    sums = reference_sums(
        table,
        signed,
        activation.codes(padded).numpy(),
        weights.codes(conv.weight).numpy(),
        conv.groups,
        conv.stride,
        conv.dilation,
        int(activation.zero_point),
        zero_w,
    )
    scale = (activation.scale * weights.scale).view(-1, 1, 1)
    expected = torch.from_numpy(sums).float() * scale
    if conv.bias is not None:
        expected = expected + conv.bias.view(-1, 1, 1)
    with torch.no_grad():
        actual = layer(x)
    assert actual.shape == conv(x).shape
    assert torch.equal(actual, expected)


@each("signed", [True, False])
@TORCH_COPIES_FOR_EVEN_SAME
@pytest.mark.parametrize("options", CONV_OPTIONS.values(), ids=CONV_OPTIONS.keys())
def test_exact_multiplier_equals_integer_convolution(options, signed, library):
    layer, conv, x = make_conv(options, library.exact(signed))
    formats = layer.quantisation()
    activation, weights = formats.activation, formats.weights

    def centred(params, values):
        zero = params.zero_point.double()
        zero = zero.view(-1, 1, 1, 1) if zero.ndim else zero
        return params.codes(values).double() - zero

    sums = functional.conv2d(
        centred(activation, padded_input(conv, x)),
        centred(weights, conv.weight),
        None,
        conv.stride,
        0,
        conv.dilation,
        conv.groups,
    )
    expected = sums.float() * (activation.scale * weights.scale).view(-1, 1, 1)
    if conv.bias is not None:
        expected = expected + conv.bias.view(-1, 1, 1)
    with torch.no_grad():
        assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (2, 3, 4, 7), (0, 7)])
def test_linear_takes_any_leading_dimensions(shape, signed, rng):
    multiplier = random_multiplier(signed, rng)
    torch.manual_seed(0)
    linear = nn.Linear(7, 3)
    layer = calibrated(EmulatedLinear(linear, multiplier), torch.randn(50, 7))
    x = torch.randn(*shape)
    formats = layer.quantisation()
    activation, weights = formats.activation, formats.weights
    a = activation.codes(x).numpy().reshape(-1, 7).astype(np.int64)
    w = weights.codes(linear.weight).numpy().astype(np.int64)
    sums = multiplier.table[a[:, None], w[None]].astype(np.int64).sum(-1)
    if not signed:
        zx, zw = int(activation.zero_point), weights.zero_point.numpy()
        sums += 7 * zx * zw - zw * a.sum(1, keepdims=True) - zx * w.sum(1)
    expected = torch.from_numpy(sums).float() * (activation.scale * weights.scale) + linear.bias
    with torch.no_grad():
        assert torch.equal(layer(x), expected.view(*shape[:-1], 3))


def test_swap_exchanges_the_operands(rng):
    """Row and column of a table that shows which operand came first."""
    table = np.arange(256)[:, None] * np.ones(256, np.int64)
    multiplier = Multiplier.from_table(
        "first", table, signed=False, power_mw=1.0, area_um2=1.0, delay_ns=1.0
    )
    torch.manual_seed(0)
    layer = calibrated(EmulatedLinear(nn.Linear(1, 1, bias=False), multiplier), torch.ones(2, 1))
    formats = layer.quantisation()
    activation, weights = formats.activation, formats.weights
    x_code = activation.codes(torch.ones(1, 1))
    w_code = weights.codes(layer.weight)
    assert int(x_code) != int(w_code)
    za, zw = int(activation.zero_code), int(weights.zero_code)
    zero_points = za * zw - zw * int(x_code) - za * int(w_code)
    for swap, expected in ((False, x_code), (True, w_code)):
        layer.assign(multiplier, swap=swap)
        (sums,) = layer.products(formats).window_sums(x_code[:, None], None, None)
        assert int(sums) == int(expected) + zero_points


def test_unbatched_and_half_inputs(library):
    layer, conv, x = make_conv({"padding": 1}, library.exact(True))
    with torch.no_grad():
        assert torch.equal(layer(x[0]), layer(x)[0])
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            y = layer(x.to(dtype))
            assert y.dtype == dtype
            assert torch.allclose(y.float(), conv(x), atol=0.2)


def test_uncalibrated_layer_is_an_error(library):
    layer = EmulatedConv2d(nn.Conv2d(1, 1, 1), library.exact(True), name="stem")
    with pytest.raises(CalibrationError, match="'stem'"):
        layer(torch.ones(1, 1, 2, 2))


def test_changed_weight_is_quantised_again(library):
    layer, _, x = make_conv({}, library.exact(True))
    with torch.no_grad():
        before = layer(x)
        layer.weight.mul_(2)
        doubled = layer(x)
    assert not torch.equal(before, doubled)
    assert torch.allclose(
        doubled - layer.bias.view(-1, 1, 1), 2 * (before - layer.bias.view(-1, 1, 1))
    )


@TORCH_COPIES_FOR_EVEN_SAME
@pytest.mark.parametrize("options", CONV_OPTIONS.values(), ids=CONV_OPTIONS.keys())
def test_conv_gradients_are_those_of_the_quantised_float_layer(options, rng):
    layer, conv, x = make_conv(options, random_multiplier(True, rng))
    x = (3 * x).requires_grad_()  # some elements are clipped
    layer(x).square().sum().backward()
    y = layer(x).detach()

    formats = layer.quantisation()
    activation, weights = formats.activation, formats.weights
    x_reference = x.detach().clone().requires_grad_()
    w_reference = conv.weight.detach().clone().requires_grad_()

    def straight_through(p, v):
        clipped = torch.where(p.inside(v), v, v.detach())
        return clipped + (p.fake_quantise(v) - v).detach()

    padded = padded_input(conv, x_reference)
    surrogate = functional.conv2d(
        straight_through(activation, padded),
        straight_through(weights, w_reference),
        None,
        conv.stride,
        0,
        conv.dilation,
        conv.groups,
    )
    surrogate.backward(2 * y)
    assert 0 < activation.inside(padded).float().mean() < 1
    torch.testing.assert_close(x.grad, x_reference.grad, **FLOAT_SUM_ORDER)
    torch.testing.assert_close(layer.weight.grad, w_reference.grad, **FLOAT_SUM_ORDER)
    if conv.bias is not None:
        torch.testing.assert_close(layer.bias.grad, (2 * y).sum((0, 2, 3)), **FLOAT_SUM_ORDER)


def test_linear_gradients_and_clip_mask(library):
    torch.manual_seed(0)
    linear = nn.Linear(5, 4)
    layer = calibrated(EmulatedLinear(linear, library.exact(True)), torch.randn(20, 5))
    x = (4 * torch.randn(2, 3, 5)).requires_grad_()
    grad = torch.randn(2, 3, 4)
    layer(x).backward(grad)
    formats = layer.quantisation()
    activation, weights = formats.activation, formats.weights
    inside = activation.inside(x)
    assert 0 < inside.float().mean() < 1
    expected = grad @ weights.fake_quantise(linear.weight) * inside
    torch.testing.assert_close(x.grad, expected.detach())
    flat = activation.fake_quantise(x).flatten(0, 1)
    torch.testing.assert_close(layer.weight.grad, grad.flatten(0, 1).T @ flat)
    torch.testing.assert_close(layer.bias.grad, grad.sum((0, 1)))
