import pytest
import torch
from correction_cases import calibrated, make_conv, make_linear
from grid import each
from torch import nn

from axopt.corrections.formats import activation_format, input_values, weight_format
from axopt.layers import EmulatedLinear, QuantParams

SHRINKAGES = torch.linspace(1.0, 0.3, 36).tolist()


def importance_of_weights(layer, x):
    """Mean square of what meets each weight, unfolded window by window."""
    if layer.kind == "linear":
        met = x.square().mean(0).expand_as(layer.weight)
        return met
    outputs, channels, rows, columns = layer.weight.shape
    share = layer.channels.padded_share
    squares = x.square().mean((0, 2, 3)) * (1 - share)
    importance = torch.empty(layer.weight.shape)
    for o in range(outputs):
        group = o // (outputs // layer.groups)
        for c in range(channels):
            importance[o, c] = squares[group * channels + c]
    return importance


LAYERS = {
    "linear": lambda m, **options: make_linear(m, **options),
    "conv": lambda m, **options: make_conv(m, {"padding": 1, "stride": 2}, **options),
    "groups": lambda m, **options: make_conv(m, {"groups": 2}, **options),
    "depthwise": lambda m, **options: make_conv(m, {"groups": 4}, **options),
}


@pytest.mark.parametrize("signed", [True, False])
def test_rows_of_large_layers_get_the_formats_of_small_ones(signed, library):
    """All shrunk ranges of a small layer are tried at once, those of a large one in turn."""
    exact = library.exact(signed)
    large, x = make_linear(exact, inputs=130, outputs=256, n=40)
    middle, small = (calibrated(EmulatedLinear(nn.Linear(130, n), exact), x) for n in (60, 3))
    of_large = weight_format(large, signed=signed, stride=4)
    for layer in (middle, small):
        layer.weight.data.copy_(large.weight.data[: len(layer.weight)])
        found = weight_format(layer, signed=signed, stride=4)
        assert torch.equal(found.scale, of_large.scale[: len(layer.weight)])
        assert torch.equal(found.zero_point, of_large.zero_point[: len(layer.weight)])


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@each("per_channel", [True, False])
@each("signed, stride", [(True, 1), (True, 16), (False, 1), (False, 32)])
def test_weight_format_is_the_best_shrinkage(make, per_channel, signed, stride, library):
    layer, x = make(library.exact(signed), per_channel=per_channel)
    found = weight_format(layer, signed=signed, stride=stride)
    assert found.stride == stride
    assert found.per_channel == per_channel
    weight = layer.weight.detach()
    importance = importance_of_weights(layer, x)
    rows = zip(weight, importance, strict=True) if per_channel else [(weight, importance)]
    raw = layer.quantisation(signed).weights

    def loss(params, w, met):
        return float(((params.fake_quantise(w) - w).square().double() * met.double()).sum())

    for i, (w, met) in enumerate(rows):
        chosen = QuantParams(*one_row(found, i), stride)
        losses = [
            loss(
                QuantParams.from_range(s * w.min(), s * w.max(), signed=signed, stride=stride),
                w,
                met,
            )
            for s in SHRINKAGES
        ]
        assert loss(chosen, w, met) == pytest.approx(min(losses), rel=1e-4)
        if stride == 1:
            assert loss(chosen, w, met) <= loss(QuantParams(*one_row(raw, i)), w, met) * 1.0001


def one_row(params, i):
    if params.per_channel:
        return params.scale[i], params.zero_point[i]
    return params.scale, params.zero_point


def test_some_weight_ranges_are_shrunk(library):
    """Else the test above could not fail."""
    layer, _ = make_conv(library.exact(True))
    full = QuantParams.from_range(
        *torch.aminmax(layer.weight.detach().flatten(1), dim=1), signed=True, stride=16
    )
    assert (weight_format(layer, signed=True, stride=16).scale < full.scale).any()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_input_values_stand_beside_the_weights_that_meet_them(groups, library):
    layer, _ = make_conv(library.exact(True), {"groups": groups})
    of_channels = torch.tensor([10.0, 20, 30, 40])
    found = input_values(layer, of_channels)
    image = of_channels.view(1, 4, 1, 1).expand(1, 4, 3, 3)
    weight = layer.weight.detach()
    expected = torch.nn.functional.conv2d(image, weight, None, 1, 0, 1, groups)[0, :, 0, 0]
    torch.testing.assert_close((weight.flatten(1) * found).sum(1), expected)


@pytest.mark.parametrize("stride", [1, 4, 16])
def test_activation_format_errs_no_more_than_the_full_range(stride, library):
    layer, x = make_linear(library.exact(True), n=4000)

    def error(params):
        return float((params.fake_quantise(x) - x).square().mean())

    low, high = x.min(), x.max()
    for symmetric in (True, False):
        found = activation_format(layer, symmetric=symmetric, stride=stride)
        full = QuantParams.from_range(low, high, signed=symmetric, stride=stride)
        assert found.stride == stride
        assert (int(found.zero_code) == 128) == symmetric
        assert error(found) <= 1.001 * error(full)
    assert error(activation_format(layer, symmetric=False, stride=stride)) < error(
        activation_format(layer, symmetric=True, stride=stride)
    )
