"""Convolutions over one and three dimensions equal loops over every product."""

import pytest
import torch
from grid import each
from window_reference import CONVS, calibrated, random_multiplier, reference

from axopt.errors import ArgumentError
from axopt.layers import EmulatedConv1d, EmulatedConv2d, EmulatedConv3d

LAYERS = {1: EmulatedConv1d, 2: EmulatedConv2d, 3: EmulatedConv3d}
SIZES = {1: (9,), 2: (5, 6), 3: (4, 5, 3)}

OPTIONS = {
    1: {
        "plain": {},
        "no bias": {"bias": False},
        "stride": {"stride": 2, "padding": 1},
        "same": {"padding": "same", "kernel_size": 4},
        "same dilated": {"padding": "same", "dilation": 2},
        "valid": {"padding": "valid", "dilation": 3},
        "reflect": {"padding": 2, "padding_mode": "reflect"},
        "circular": {"padding": 2, "padding_mode": "circular", "stride": 2},
        "groups": {"groups": 2, "padding": 1},
        "depthwise": {"groups": 4, "out_channels": 8, "padding": 2},
        "1": {"kernel_size": 1},
    },
    3: {
        "plain": {"kernel_size": 2},
        "no bias": {"kernel_size": (2, 1, 3), "bias": False},
        "stride": {"stride": (1, 2, 2), "padding": (2, 0, 1), "kernel_size": (2, 3, 2)},
        "same": {"padding": "same", "kernel_size": (4, 1, 2)},
        "dilation": {"dilation": (2, 1, 1), "padding": (1, 0, 1), "kernel_size": (2, 2, 3)},
        "replicate": {"padding": 1, "padding_mode": "replicate", "kernel_size": (2, 3, 2)},
        "groups": {"groups": 2, "kernel_size": (2, 3, 1), "padding": (1, 1, 0)},
        "depthwise": {"groups": 4, "out_channels": 4, "kernel_size": (3, 3, 2), "padding": 1},
        "planes": {"kernel_size": (1, 2, 2), "stride": (2, 1, 1)},
    },
}  # fmt: skip
CASES = [(dims, options) for dims, by_name in OPTIONS.items() for options in by_name.values()]

TORCH_COPIES_FOR_EVEN_SAME = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths"
)


def make(dims, options, multiplier, **layer_options):
    torch.manual_seed(0)
    conv = CONVS[dims](**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options})
    x = torch.randn(2, 4, *SIZES[dims])
    return calibrated(LAYERS[dims](conv, multiplier, **layer_options), x), conv, x


@TORCH_COPIES_FOR_EVEN_SAME
@each("signed", [True, False])
@each("dims, options", CASES)
def test_convolution_equals_loops_over_products(dims, options, signed, rng):
    multiplier = random_multiplier(signed, rng)
    layer, conv, x = make(dims, options, multiplier, per_channel=not options.get("groups"))
    layer.assign(multiplier, swap=signed)
    expected = reference(layer, conv, x, conv(x).shape[2:])
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
        assert torch.equal(
            layer.emulated_stepwise(layer.prepared(x), layer.quantisation()), expected
        )
        assert torch.equal(layer(x[1]), expected[1])


@TORCH_COPIES_FOR_EVEN_SAME
@each("dims, options", CASES)
def test_calibration_sees_the_float_layer_and_its_windows(dims, options, library):
    layer, conv, x = make(dims, options, library.exact(True))
    layer.observing = True
    torch.testing.assert_close(layer(x), conv(x))
    windows = layer.sample.windows.double()
    n, groups, _ = windows.shape
    filters = conv.weight.double().view(groups, len(conv.weight) // groups, -1)
    found = torch.einsum("ngk,gok->ngo", windows, filters).reshape(n, -1)
    bias = 0 if conv.bias is None else conv.bias.view(-1, *(1,) * dims)
    expected = layer.by_channel((conv(x) - bias).double()).T
    assert n == 2 * len(expected)  # calibrated twice
    torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-4, atol=1e-5)


@TORCH_COPIES_FOR_EVEN_SAME
@each("dims, options", CASES)
def test_gradients_are_those_of_the_quantised_float_layer(dims, options, rng):
    layer, conv, x = make(dims, options, random_multiplier(True, rng))
    x = (2 * x).requires_grad_()  # some elements are clipped
    y = layer(x)
    grad = torch.randn(y.shape)
    y.backward(grad)
    found = {name: p.grad.clone() for name, p in layer.named_parameters()}
    formats = layer.quantisation()
    x_float = x.detach().clone()
    quantised = formats.activation.fake_quantise(x_float).requires_grad_()
    weight = formats.weights.fake_quantise(conv.weight).requires_grad_()
    torch.func.functional_call(conv, {"weight": weight}, quantised).backward(grad)
    inside = formats.activation.inside(x_float)
    assert 0 < inside.float().mean() < 1
    torch.testing.assert_close(x.grad, quantised.grad * inside, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["weight"], weight.grad, rtol=1e-4, atol=1e-4)
    if conv.bias is not None:
        torch.testing.assert_close(found["bias"], grad.movedim(1, 0).flatten(1).sum(1))


@pytest.mark.parametrize("dims", [1, 3])
def test_wrong_inputs_are_refused(dims, library):
    layer, _, x = make(dims, {}, library.exact(True))
    with pytest.raises(ArgumentError, match="must have shape"):
        layer(x[0, 0])
    with pytest.raises(ArgumentError, match="must be at least 3"):
        layer(x[..., :2])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_an_empty_batch_gives_an_empty_result(dims, library):
    layer, conv, x = make(dims, {"padding": 1}, library.exact(False))
    with torch.no_grad():
        assert layer(x[:0]).shape == conv(x[:0]).shape
