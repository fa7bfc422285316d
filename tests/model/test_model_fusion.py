"""What prepare takes over from neighbouring modules: rectifiers, and the memory format."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import axopt
from axopt.layers import EmulatedConv2d


class Block(nn.Module):
    """Rectifiers of every fate; ``uses`` names what happens to the first convolution's output."""

    def __init__(self, uses="once", in_place=False, rectifier=nn.ReLU):
        super().__init__()
        torch.manual_seed(0)
        self.uses = uses
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu1 = rectifier(inplace=in_place)
        self.conv2 = nn.Conv2d(4, 4, 1)
        self.relu2 = nn.ReLU()

    def forward(self, x):
        y = self.conv1(x)
        before = y.sum((1, 2, 3)) if self.uses == "before" else 0
        z = self.relu1(y)
        if self.uses == "after":
            z = z + y
        if self.uses == "returned":
            return y, z
        if self.uses == "twice":
            z = self.relu1(self.conv2(z))
        return self.relu2(self.conv2(z) + z).sum((1, 2, 3)) + before


@pytest.fixture
def x():
    return 6 * torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("rectifier", [nn.ReLU, nn.ReLU6])
def test_a_rectifier_of_its_own_is_done_by_the_layer(in_place, rectifier, x):
    emulated = axopt.prepare(Block(in_place=in_place, rectifier=rectifier), [x])
    assert emulated.fused == {"conv1": "relu1"}
    assert type(emulated.module.relu1) is nn.Identity
    assert type(emulated.module.relu2) is nn.ReLU
    layer = emulated.emulated_layers["conv1"]
    plain = EmulatedConv2d(nn.Conv2d(3, 4, 3, padding=1), layer.multiplier, name="plain")
    plain.weight, plain.bias, plain.histogram = layer.weight, layer.bias, layer.histogram
    with torch.no_grad():
        y = layer(x)
        assert torch.equal(y, rectifier()(plain(x)))
    assert y.min() == 0
    assert (y.max() == 6) == (rectifier is nn.ReLU6)


@pytest.mark.parametrize("uses", ["before", "after", "returned", "twice"])
def test_a_rectifier_is_left_alone_where_the_output_has_other_uses(uses, x):
    block = Block(uses)
    emulated = axopt.prepare(block, [x])
    assert "conv1" not in emulated.fused
    assert type(emulated.module.relu1) is nn.ReLU
    with torch.no_grad():
        torch.testing.assert_close(emulated(x), block(x), atol=2, rtol=0.1)


def test_in_place_rectifier_whose_input_is_used_afterwards_is_taken_over(x):
    """After an in-place rectifier nobody can see the values before it."""
    block = Block("after", in_place=True)
    emulated = axopt.prepare(block, [x])
    assert emulated.fused == {"conv1": "relu1"}
    with torch.no_grad():
        torch.testing.assert_close(emulated(x), block(x), atol=2, rtol=0.1)


def test_rectifier_behind_a_folded_batch_norm(x):
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(True), nn.Flatten())
    emulated = axopt.prepare(net, [x])
    assert emulated.folded == {"0": "1"}
    assert emulated.fused == {"0": "2"}
    with torch.no_grad():
        assert emulated(x).min() == 0


def test_rectifier_behind_a_batch_norm_that_stays(x):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.relu = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()

        def forward(self, x):
            y = self.conv(x)
            return self.relu(self.norm(y)) + y

    emulated = axopt.prepare(Twice(), [x])
    assert emulated.folded == emulated.fused == {}


def test_gradients_stop_where_the_layer_clamps(x):
    emulated = axopt.prepare(Block(rectifier=nn.ReLU6), [x])
    layer = emulated.emulated_layers["conv1"]
    unclamped = copy.deepcopy(layer)
    unclamped.bounds = None
    grad = torch.randn(4, 4, 6, 6)
    layer(x).backward(grad)
    y = unclamped(x)
    functional.hardtanh(y, 0, 6).backward(grad)
    assert torch.equal(layer.weight.grad, unclamped.weight.grad)
    assert torch.equal(layer.bias.grad, unclamped.bias.grad)
    assert not torch.equal(layer.bias.grad, grad.sum((0, 2, 3)))


class Flattens(nn.Module):
    def __init__(self, by):
        super().__init__()
        torch.manual_seed(0)
        self.by = by
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(64, 5)

    def forward(self, x):
        y = self.conv(x)
        return self.fc(y.view(len(y), -1) if self.by == "view" else y.flatten(1))


@pytest.mark.parametrize(("by", "channels_last"), [("view", False), ("flatten", True)])
def test_channels_last_wherever_the_model_can_have_it(by, channels_last, x):
    model = Flattens(by)
    emulated = axopt.prepare(model, [x])
    with torch.no_grad():
        y = emulated.emulated_layers["conv"](x)
        torch.testing.assert_close(emulated(x), model(x), atol=0.1, rtol=0.1)
    assert y.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert y.is_contiguous() != channels_last


def test_an_error_of_the_model_itself_is_shown(x):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(x) @ torch.ones(3)

    with pytest.raises(RuntimeError, match="size"):
        axopt.prepare(Broken(), [x])
