"""Networks of every kind of convolution: folding, counting, options, corrections."""

import pytest
import torch
from torch import nn

import axopt
from axopt.corrections import LayerCorrector
from axopt.corrections.mean_error import expected_emulated_outputs, expected_outputs
from axopt.corrections.probe import Probe
from axopt.errors import ArgumentError, UnknownLayerError
from axopt.layers import Accumulator, EmulatedConv2d, LayerOptions, plan_of
from axopt.model import current_assignment

KINDS = {
    "1d": (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, (12,)),
    "2d": (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, (6, 7)),
    "3d": (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, (4, 5, 4)),
}


def make(kind):
    """An hourglass: down, and up again by a transposed convolution with groups."""
    conv, transposed, norm, size = KINDS[kind]
    torch.manual_seed(0)
    net = nn.Sequential(
        conv(2, 8, 3, padding=1, bias=False),
        norm(8),
        nn.ReLU(),
        conv(8, 8, 2, stride=2),
        norm(8),
        transposed(8, 6, 3, stride=2, groups=2, bias=False),
        norm(6),
        nn.ReLU6(),
        transposed(6, 2, 2, padding=1),
    )
    for module in net:
        if isinstance(module, norm):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    x = torch.randn(4, 2, *size)
    return net.eval(), x


@pytest.fixture(params=KINDS)
def net(request):
    return make(request.param)


def test_batch_norms_fold_and_rectifiers_fuse(net):
    model, x = net
    emulated = axopt.prepare(model, [x])
    assert emulated.folded == {"0": "1", "3": "4", "5": "6"}
    assert emulated.fused == {"0": "2", "5": "7"}
    assert not emulated.skipped
    kind = f"{x.ndim - 2}d"
    assert [info.kind for info in emulated.layers()] == [f"conv{kind}"] * 2 + [
        f"conv_transpose{kind}"
    ] * 2
    float_layers = [layer.exact_float for layer in emulated.emulated_layers.values()]
    with torch.no_grad():
        y = float_layers[1](float_layers[0](x).clamp(min=0))
        y = float_layers[3](float_layers[2](y).clamp(0, 6))
        torch.testing.assert_close(y, model(x), rtol=1e-4, atol=1e-4)
        exact = emulated(x)
    assert exact.shape == y.shape
    assert (exact - y).std() < 0.05 * y.std()


def test_products_are_counted(net):
    model, x = net
    macs = [info.macs for info in axopt.prepare(model, [x]).layers()]
    sizes = [layer(x).shape for layer in (model[:1], model[:4], model[:6], model)]
    taps, dims = 3 ** (x.ndim - 2), x.ndim - 2
    assert macs[0] == 2 * 8 * taps * sizes[0][2:].numel()
    assert macs[1] == 8 * 8 * 2**dims * sizes[1][2:].numel()
    # an odd result (2 n + 1) has n + 1 even positions, which two taps meet, and n that one does
    assert macs[2] == 8 * 3 * torch.tensor([3 * ((s - 1) // 2) + 2 for s in sizes[2][2:]]).prod()
    assert macs[3] == 6 * 2 * 2**dims * sizes[3][2:].numel()


PLAIN, NARROW = LayerOptions(), LayerOptions("skip", Accumulator(14))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mul8s_1L2D", PLAIN),
        ("mul8u_2AC", NARROW),
        pytest.param("mul8s_1L2D", NARROW, marks=pytest.mark.slow),
        pytest.param("mul8u_2AC", PLAIN, marks=pytest.mark.slow),
    ],
)
def test_trials_give_what_the_layer_gives(net, name, options):
    model, x = net
    emulated = axopt.prepare(model, [x], layer_options=options)
    multiplier = axopt.load_library()[name]
    inputs = {}
    for layer in emulated.emulated_layers.values():
        layer.register_forward_pre_hook(
            lambda module, args: inputs.__setitem__(module.name, args[0])
        )
    for layer in emulated.emulated_layers.values():
        layer.observing = True  # the float network again, with the inputs of calibration
    with torch.no_grad():
        emulated(x)
    for name, layer in emulated.emulated_layers.items():
        layer.observing = False
        layer.assign(multiplier, swap=True)
        formats = LayerCorrector.of(layer).best(multiplier, swap=True).quantisation
        for found in (layer.quantisation(), formats):
            y = Probe(layer).results(found, multiplier, True).y
            layer.bounds, bias = None, layer.bias
            layer.bias = None
            layer.correction = found.corrected("none", found.gain, torch.zeros(y.shape[1]))
            with torch.no_grad():
                expected = layer.by_channel(layer(inputs[name])).T
            layer.bias = bias
            assert len(y) == 2 * len(expected)  # all windows were kept, twice
            assert torch.equal(y[: len(expected)], expected)


def test_corrections_help_every_kind(net):
    model, x = net
    emulated = axopt.prepare(model, [x])
    axopt.assign_(emulated, "mul8s_1L2D")
    with torch.no_grad():
        target = model(x)
        raw = (emulated(x) - target).square().mean()
        axopt.correct_(emulated, data=[x])
        corrected = (emulated(x) - target).square().mean()
    assert corrected < 0.5 * raw
    saved = current_assignment(emulated).to_json()
    again = axopt.prepare(model, [x])
    axopt.assign_(again, axopt.Assignment.from_json(saved))
    with torch.no_grad():
        assert torch.equal(again(x), emulated(x))


def test_means_of_results_follow_from_the_shares_of_taps():
    """Each input meets each tap once where kernel and stride are alike: means are exact."""
    torch.manual_seed(0)
    conv = nn.ConvTranspose2d(4, 6, (2, 3), stride=(2, 3), groups=2, bias=False)
    x = torch.randn(8, 4, 5, 6) + 1
    (layer,) = axopt.prepare(conv, [x]).emulated_layers.values()
    formats = layer.quantisation()
    table = layer.multiplier.table
    with torch.no_grad():
        torch.testing.assert_close(expected_outputs(layer), conv(x).double().mean((0, 2, 3)))
        found = expected_emulated_outputs(layer, formats, table, signed=True)
        torch.testing.assert_close(found, layer(x).double().mean((0, 2, 3)), atol=2e-4, rtol=0)


def test_options_by_pattern_change_the_layers_and_the_digest():
    model, x = make("2d")
    plain = axopt.prepare(model, [x])
    narrow = LayerOptions("skip", Accumulator(16), calibrator="minmax", weight_scales="per-tensor")
    emulated = axopt.prepare(
        model, [x], layer_options={"3": LayerOptions(), "[35]": narrow}, calibrator="entropy"
    )
    layers = emulated.emulated_layers
    assert [layer.padded_taps for layer in layers.values()] == [
        "multiply", "multiply", "skip", "multiply",
    ]  # fmt: skip
    assert [layer.calibrator for layer in layers.values()] == ["entropy"] * 2 + [
        "minmax",
        "entropy",
    ]
    assert [layer.per_channel for layer in layers.values()] == [True, True, False, True]
    assert layers["5"].accumulator == Accumulator(16)
    assert emulated.digest != plain.digest
    assert axopt.prepare(model, [x], layer_options=LayerOptions()).digest == plain.digest
    everywhere = axopt.prepare(model, [x], layer_options=LayerOptions("skip"))
    assert all(layer.padded_taps == "skip" for layer in everywhere.emulated_layers.values())


def test_wrong_options_are_refused():
    model, x = make("1d")
    with pytest.raises(UnknownLayerError, match="`layer_options`: no layer matches '9'"):
        axopt.prepare(model, [x], layer_options={"9": LayerOptions()})
    with pytest.raises(ArgumentError, match=r"`layer_options\['0'\]` must be LayerOptions"):
        axopt.prepare(model, [x], layer_options={"0": "skip"})
    with pytest.raises(ArgumentError, match="`calibrator` must be one of"):
        axopt.prepare(model, [x], layer_options=LayerOptions(calibrator="best"))


def test_a_model_may_ask_for_an_output_size():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
            self.up = nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1)

        def forward(self, x):
            return self.up(self.down(x), output_size=x.shape[2:])

    torch.manual_seed(0)
    model, x = Net(), torch.randn(4, 1, 8, 7)
    emulated = axopt.prepare(model, [x])
    with torch.no_grad():
        assert emulated(x).shape == x.shape
        torch.testing.assert_close(emulated(x), model(x), atol=0.1, rtol=0.1)
        axopt.assign_(emulated, "mul8s_1L2D", correct=True)
        assert emulated(x).shape == x.shape


def test_channels_last_is_kept_where_the_model_has_it():
    model, x = make("2d")
    x = x.contiguous(memory_format=torch.channels_last)
    emulated = axopt.prepare(model, [x])
    assert isinstance(emulated.emulated_layers["0"], EmulatedConv2d)
    with torch.no_grad():
        assert emulated(x).is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(emulated(x), emulated(x.contiguous()))
    assert plan_of(emulated.emulated_layers["0"].multiplier, False).term_count == 1
