import pytest
import torch
from layer_references import make_net
from torch import nn

import axopt
from axopt.errors import CalibrationError
from axopt.model.reestimation import Reestimator, reestimate_
from axopt.modules import MatMul


@pytest.fixture
def x():
    return torch.randn(64, 2, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def emulated(x):
    return axopt.prepare(make_net(), [x])


def moments(emulated, x):
    """Mean and spread of every channel of each layer's results, before its rectifier."""
    found = []

    def note(layer, inputs, output):
        y = layer.by_channel(layer.unbounded(inputs[0])).double()
        found.append((y.mean(1), y.std(1, correction=0)))

    handles = [m.register_forward_hook(note) for m in emulated.emulated_layers.values()]
    with torch.no_grad():
        emulated(x)
    for handle in handles:
        handle.remove()
    return found


def float_moments(net, x):
    found = []
    with torch.no_grad():
        for module in net:
            x = module(x)
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                y = x.double().movedim(1, 0).flatten(1)
                found.append((y.mean(1), y.std(1, correction=0)))
    return found


@pytest.mark.parametrize(
    ("name", "corrected"),
    [("mul8s_1L2D", False), ("mul8s_1KVL", False), ("mul8u_2HH", False), ("mul8s_1L2D", True)],
)
def test_means_and_spreads_become_those_of_the_float_model(name, corrected, emulated, x):
    axopt.assign_(emulated, name, correct=corrected)
    before = moments(emulated, x)
    assert reestimate_(emulated, [(x[:40], 1), x[40:]])
    wanted = float_moments(make_net(), x)
    changed = False
    for found, old, expected in zip(moments(emulated, x), before, wanted, strict=True):
        # gain and shift are rounded to float32
        torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=0)
        changed |= not torch.allclose(old[0], expected[0], rtol=0, atol=1e-3)
    assert changed
    for layer in emulated.emulated_layers.values():
        assert layer.correction.corrections[-1] == "batch_norm"
        assert layer.correction.corrections.count("batch_norm") == 1


def test_done_again_the_name_stays_once(emulated, x):
    axopt.assign_(emulated, "mul8s_1L1G")
    reestimate_(emulated, [x])
    first = moments(emulated, x)
    reestimate_(emulated, [x])
    for layer in emulated.emulated_layers.values():
        assert layer.correction.corrections == ("batch_norm",)
    for a, b in zip(first, moments(emulated, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("corrected", [False, True], ids=["raw", "corrected"])
def test_not_kept_where_it_does_not_help(emulated, x, monkeypatch, corrected):
    axopt.assign_(emulated, "mul8s_1L2D", correct=corrected)
    with torch.no_grad():
        y = emulated(x)
    before = [layer.correction for layer in emulated.emulated_layers.values()]
    record = Reestimator._record  # private: nothing public makes statistics that do not help

    def wrong(self, layer, inputs):
        output = record(self, layer, inputs)
        mean, spread = self._moments[layer]
        self._moments[layer] = (mean + 5, spread)
        return output

    monkeypatch.setattr(Reestimator, "_record", wrong)
    assert not reestimate_(emulated, [x])
    after = [layer.correction for layer in emulated.emulated_layers.values()]
    assert all(a is b for a, b in zip(after, before, strict=True))
    with torch.no_grad():
        assert torch.equal(emulated(x), y)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(6, 2)

    def forward(self, x):
        return {"a": [self.a(x)], "rest": (self.b(x), x.argmax(1), None)}


def test_nested_outputs(x):
    rows = x.flatten(0, 2)
    emulated = axopt.prepare(Nested(), [rows])
    axopt.assign_(emulated, "mul8s_1L1G")
    assert reestimate_(emulated, [rows])
    assert all(layer.correction is not None for layer in emulated.emulated_layers.values())


class ByName(nn.Module):
    """Calls its parts with options and names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.relu = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1), nn.ReLU()
        self.product = MatMul(transpose_b=True)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        up = self.relu(input=self.up(x, output_size=[12, 12]))
        return self.fc(input=self.product(a=up, b=up))


def test_layers_get_all_arguments_of_their_calls(x):
    emulated = axopt.prepare(ByName(), [x])
    assert [info.kind for info in emulated.layers()] == ["conv_transpose2d", "matmul", "linear"]
    assert emulated.layers()[1].macs == 3 * 12**3
    assert emulated.fused == {"up": "relu"}
    axopt.assign_(emulated, "mul8s_1L2D")
    axopt.correct_(emulated, data=[x])
    up, product, fc = emulated.emulated_layers.values()
    assert up.correction.corrections[-1] == fc.correction.corrections[-1] == "batch_norm"
    assert product.correction is None or "batch_norm" not in product.correction.corrections
    with torch.no_grad():
        found = up.by_channel(up.unbounded(x, output_size=[12, 12])).double()
        float_layer = ByName().up
        expected = float_layer(x, output_size=[12, 12]).transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(found.mean(1), expected.mean(1), rtol=0, atol=1e-5)


class Looped(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.fc = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.fc(self.lstm(x)[0][:, -1])


def test_layers_called_more_than_once_keep_what_they_have(x):
    steps = x[:, 0]
    emulated = axopt.prepare(Looped(), [steps])
    axopt.assign_(emulated, "mul8s_1L1G")
    assert reestimate_(emulated, [steps])
    once = {name for name, layer in emulated.emulated_layers.items() if layer.correction}
    assert once == {"lstm.ih_l0", "fc"}


def test_only_the_first_samples_are_used(emulated, x):
    def batches():
        yield x
        for _ in range(7):
            yield x
        raise AssertionError("more than 512 samples asked for")

    axopt.assign_(emulated, "mul8s_1L2D")
    axopt.correct_(emulated, data=batches())


def test_no_data_is_an_error(emulated):
    with pytest.raises(CalibrationError, match="`data` must hold at least one batch"):
        axopt.correct_(emulated, data=[])


def test_channels_without_spread(x):
    """A dead channel keeps its gain; its mean is matched."""
    net = make_net()
    with torch.no_grad():
        net[0].weight[1] = 0
        net[0].bias[1] = -3
    emulated = axopt.prepare(net, [x])
    axopt.assign_(emulated, "mul8u_2HH")
    reestimate_(emulated, [x])
    with torch.no_grad():
        assert torch.isfinite(emulated(x)).all()
    for (mean, _), (expected, _) in zip(moments(emulated, x), float_moments(net, x), strict=True):
        torch.testing.assert_close(mean, expected, rtol=0, atol=1e-4)
