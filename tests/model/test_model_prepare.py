import pytest
import torch
from torch import nn
from torch.nn import functional

import axopt
from axopt.errors import (
    ArgumentError,
    CalibrationError,
    UnknownLayerError,
    UnsupportedLayerError,
)
from axopt.layers import EmulatedConv2d, EmulatedLinear


class Net(nn.Module):
    """A layer of every fate: folded, followed by something else, shared, unreached, float."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 1)
        self.unused = nn.Linear(2, 2)
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        y = self.conv2(x)
        x = self.bn2(y) + y  # not foldable: y has a second consumer
        x = self.shared(self.shared(x))
        return self.fc(self.norm(x.mean((2, 3))))


def make_net():
    torch.manual_seed(0)
    net = Net()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return net


@pytest.fixture
def net():
    return make_net()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 6, 6, generator=generator) for _ in range(2)]


def test_layers_are_listed_in_order_with_their_macs(net, batches):
    emulated = axopt.prepare(net, batches)
    layers = [(info.name, info.kind, info.macs) for info in emulated.layers()]
    assert layers == [
        ("conv1", "conv2d", 36 * 4 * 27),
        ("conv2", "conv2d", 36 * 4 * 36),
        ("shared", "conv2d", 2 * 36 * 4 * 4),
        ("fc", "linear", 20),
    ]
    assert all(info.multiplier == "v1/mul8s_1KV8" and not info.swap for info in emulated.layers())


def test_every_module_with_weights_is_accounted_for(net, batches):
    emulated = axopt.prepare(net, batches)
    assert emulated.folded == {"conv1": "bn1"}
    assert set(emulated.skipped) == {"bn2", "unused", "norm"}
    assert "not reached" in emulated.skipped["unused"]
    assert "LayerNorm" in emulated.skipped["norm"]
    listed = {info.name for info in emulated.layers()} | set(emulated.skipped)
    weighted = {n for n, m in net.named_modules() if list(m.parameters(recurse=False))}
    assert listed | set(emulated.folded.values()) == weighted


def test_names_stay_and_the_original_is_untouched(net, batches):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    was_training = net.training
    emulated = axopt.prepare(net, batches)
    names = [name for name, _ in emulated.module.named_modules()]
    assert names == [name for name, _ in net.named_modules()]
    assert isinstance(emulated.module.bn1, nn.Identity)
    assert isinstance(emulated.module.conv1, EmulatedConv2d)
    assert isinstance(emulated.module.fc, EmulatedLinear)
    assert net.training == was_training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_folding_leaves_the_float_function_unchanged(net, batches):
    net.eval()
    emulated = axopt.prepare(net, batches)
    for layer in emulated.emulated_layers.values():
        layer.observing = True  # the float path
    with torch.no_grad():
        torch.testing.assert_close(emulated(batches[0]), net(batches[0]), rtol=1e-4, atol=1e-5)


def test_exact_8_bit_stays_close_to_float_and_is_not_float(net, batches):
    net.eval()
    with torch.no_grad():
        exact, expected = axopt.prepare(net, batches)(batches[0]), net(batches[0])
    error = (exact - expected).abs().max() / expected.abs().max()
    assert 0 < error < 0.05


def test_batch_norm_in_front_of_a_layer_is_not_folded(batches):
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.ReLU(), nn.BatchNorm2d(2))
    emulated = axopt.prepare(net, batches)
    assert emulated.folded == {}
    assert set(emulated.skipped) == {"0", "3"}


def test_batch_norm_after_a_layer_used_twice_is_not_folded(batches):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.bn = nn.BatchNorm2d(3)

        def forward(self, x):
            return self.bn(self.conv(self.conv(x)))

    assert axopt.prepare(Twice(), batches).folded == {}


def test_batch_norm_whose_input_is_also_returned_is_not_folded(batches):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.bn = nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.conv(x)
            return self.bn(y), y

    assert axopt.prepare(Both(), batches).folded == {}


def test_one_module_under_two_names_stays_shared(batches):
    conv = nn.Conv2d(3, 3, 1)
    net = nn.Sequential(conv, nn.ReLU(), conv)
    emulated = axopt.prepare(net, batches)
    assert [info.name for info in emulated.layers()] == ["0"]
    assert emulated.module[0] is emulated.module[2]
    assert emulated.layers()[0].macs == 2 * 36 * 9


def test_bare_layer_and_calibration_pairs_and_generators():
    linear = nn.Linear(3, 2)
    emulated = axopt.prepare(linear, ((torch.randn(4, 3), torch.zeros(4)) for _ in range(2)))
    assert [info.name for info in emulated.layers()] == ["0"]
    assert emulated(torch.randn(5, 3)).shape == (5, 2)


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_include_and_exclude(net, batches):
    emulated = axopt.prepare(net, batches, include=["conv*", "fc"], exclude=["conv2"])
    assert [info.name for info in emulated.layers()] == ["conv1", "fc"]
    assert emulated.skipped["conv2"] == "excluded by the user"
    with pytest.raises(UnknownLayerError, match=r"'cov1'.*'conv1'"):
        axopt.prepare(net, batches, include=["cov1"])
    with pytest.raises(UnsupportedLayerError, match="'norm'.*LayerNorm"):
        axopt.prepare(net, batches, include=["norm"])


def test_subclasses_are_never_silently_treated_as_their_base(batches):
    class Custom(nn.Conv2d):
        def forward(self, x):
            return super().forward(x).abs()

    net = nn.Sequential(Custom(3, 3, 1), nn.Flatten()).eval()
    emulated = axopt.prepare(net, batches)
    assert [info.name for info in emulated.layers()] == ["0"]
    assert type(emulated.module[0]) is Custom  # whose own code still runs
    with torch.no_grad():
        assert float(emulated(batches[0]).min()) >= 0


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ([], "at least one batch"),
        ([torch.empty(0, 3, 6, 6)], "non-empty"),
        ([42], "int"),
        ([torch.full((1, 3, 6, 6), float("nan"))], "'conv1'.*NaN"),
        ([torch.randn(1, 3, 6, 6), torch.full((1, 3, 6, 6), float("inf"))], "'conv1'.*NaN"),
    ],
)
def test_bad_calibration_is_an_error(net, calibration, message):
    with pytest.raises(CalibrationError, match=message):
        axopt.prepare(net, calibration)


def test_bad_options_are_errors(net, batches):
    with pytest.raises(ArgumentError, match="`calibrator`.*'magic'"):
        axopt.prepare(net, batches, calibrator="magic")
    with pytest.raises(ArgumentError, match="`weight_scales`.*'each'"):
        axopt.prepare(net, batches, weight_scales="each")
    with pytest.raises(UnsupportedLayerError, match="no layer"):
        axopt.prepare(nn.Sequential(nn.ReLU()), batches)


def test_results_do_not_depend_on_batch_split_or_threads(net, batches):
    emulated = axopt.prepare(net, batches, exclude=["fc"])
    axopt.assign_(emulated, "mul8s_1L2D")
    x = torch.cat(batches)
    threads = torch.get_num_threads()
    with torch.no_grad():
        whole = emulated.module.conv2(emulated.module.conv1(x))
        single = torch.cat([emulated.module.conv2(emulated.module.conv1(y)) for y in x.split(1)])
        try:
            torch.set_num_threads(1)
            one_thread = emulated.module.conv2(emulated.module.conv1(x))
        finally:
            torch.set_num_threads(threads)
    assert torch.equal(whole, single)
    assert torch.equal(whole, one_thread)
