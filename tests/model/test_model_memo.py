"""Reused results never change a bit, and are not reused where they could."""

from __future__ import annotations

import logging
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import axopt
from axopt import create_model
from axopt.errors import ArgumentError
from axopt.model.memo import Memo
from axopt.multipliers import load_library

MULTIPLIERS = ("mul8s_1KV8", "mul8s_1L1G", "mul8s_1KR3", "mul8u_2HH")


def images(size, channels=3, n=2):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def words(n=3):
    return torch.randint(1, 500, (n, 12), generator=torch.Generator().manual_seed(0))


def latents(n=2):
    generator = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(n, 32, generator=generator), torch.eye(10)[:n]], 1)


ZOO = {
    "digits_cnn": images(8, 1),
    "resnet8": images(32),
    "mobilenetv2_small": images(32),
    "vit_small": images(32),
    "lstm_sentiment": words(),
    "mnist_gan": latents(),
}


def change(emulated, rng):
    """Change the last layers at random: their multipliers, operand orders and gains."""
    library = load_library()
    layers = list(emulated.emulated_layers.values())
    for layer in layers[int(rng.integers(len(layers))) :]:
        multiplier = library[str(rng.choice(MULTIPLIERS))]
        layer.assign(multiplier, swap=bool(rng.integers(2)))
        if rng.integers(2):
            gain = torch.rand(layer.out_channels) + 0.5
            layer.correction = layer.quantisation().corrected("gain", gain, None)


def outputs(emulated, x, memo=None):
    with torch.no_grad():
        if memo is None:
            return emulated(x)
        with memo.reusing(), memo.batch(b"x", len(x)):
            return emulated(x)


@pytest.mark.parametrize("name", ZOO)
def test_reuse_changes_no_bit(name, rng):
    x = ZOO[name]
    emulated = axopt.prepare(create_model(name), x)
    large, small = Memo(emulated), Memo(emulated, 200_000)
    assert large.check(lambda: emulated(x))
    for _ in range(3):
        change(emulated, rng)
        expected = outputs(emulated, x)
        for memo in (large, large, small):
            assert torch.equal(outputs(emulated, x, memo), expected)
    assert small.n_bytes <= 200_000
    assert large.work.reused >= large.work.computed
    assert large.work.total == 2 * small.work.total


def two_layers(**options):
    net = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 4))
    x = torch.rand(5, 6)
    return axopt.prepare(net, x, **options), x


def test_what_can_differ_is_computed():
    emulated, x = two_layers()
    memo = Memo(emulated)
    library = load_library()

    def computed():
        before = memo.work.computed
        expected = outputs(emulated, x)
        assert torch.equal(outputs(emulated, x, memo), expected)
        return (memo.work.computed - before) // len(x)

    assert computed() == 2
    assert computed() == 0
    axopt.assign_(emulated, {"0": "mul8s_1KV8", "1": "mul8s_1L1G"}, correct=False)
    assert computed() == 1
    layers = emulated.emulated_layers
    layers["0"].assign(library["mul8s_1L1G"], swap=False)
    assert computed() == 2
    layers["0"].assign(library["mul8s_1L1G"], swap=True)
    assert computed() == 2
    before = layers["1"].quantisation()
    layers["1"].correction = before.corrected("gain", torch.full((4,), 1.5), None)
    assert computed() == 1
    layers["1"].correction = before.corrected("gain", torch.full((4,), 1.5), None)
    assert computed() == 0
    with torch.no_grad():
        layers["0"].weight.mul_(2)
    assert computed() == 2


def test_another_batch_is_another_result():
    emulated, x = two_layers()
    memo = Memo(emulated)
    other = torch.rand(5, 6)
    with torch.no_grad(), memo.reusing():
        for key, inputs in ((b"x", x), (b"other", other)) * 2:
            with memo.batch(key, 5):
                found = emulated(inputs)
            assert torch.equal(found, emulated(inputs))
    assert memo.work.computed == memo.work.reused == 2 * 5 * 2


class InPlace(nn.Module):
    """Changes the results of its layers in place, in ways that show if done twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.b(functional.relu_(x).sub_(0.1))
        y += x
        x[:, 0].mul_(3)  # a view
        return self.c(y).exp_()


@pytest.mark.parametrize("inference", [False, True])
def test_results_that_the_model_changes_in_place(inference):
    x = torch.rand(5, 6)
    emulated = axopt.prepare(InPlace(), x)
    memo = Memo(emulated)
    expected = outputs(emulated, x)
    for _ in range(4):
        with torch.inference_mode(inference), torch.no_grad():
            with memo.reusing(), memo.batch(b"x", len(x)):
                assert torch.equal(emulated(x), expected)
    assert memo.work.reused >= 2 * 3 * len(x)


class Drawing(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * torch.rand(1)


class Counting(InPlace):
    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(x) * self.runs


class Hidden(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y.data.mul_(2)  # which PyTorch does not count
        return y


class Threaded(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        found = []
        thread = threading.Thread(target=lambda: found.append(self.b(x)))
        with torch.no_grad():
            thread.start()
            thread.join()
        return self.c(found[0])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Drawing, "random numbers"),
        (Counting, "different outputs"),
        (Hidden, "different outputs"),
        (Threaded, "several threads"),
    ],
)
def test_a_model_that_is_no_pure_function_is_computed_and_logged(model, reason, caplog):
    x = torch.rand(5, 6)
    emulated = axopt.prepare(model(), x)
    memo = Memo(emulated)
    with caplog.at_level(logging.WARNING, "axopt"), torch.no_grad():
        assert not memo.check(lambda: emulated(x))
    (line,) = [record.getMessage() for record in caplog.records]
    assert reason in line
    outputs(emulated, x, memo)
    assert memo.work.reused == memo.n_bytes == 0


def test_gradients_are_computed():
    emulated, x = two_layers()
    memo = Memo(emulated)
    for _ in range(2):
        with memo.reusing(), memo.batch(b"x", len(x)):
            emulated(x).sum().backward()
    assert memo.work.total == memo.n_bytes == 0
    assert all(p.grad is not None for p in emulated.parameters())


def test_layers_are_as_before_afterwards():
    emulated, x = two_layers()
    layer = emulated.emulated_layers["0"]
    layer.forward = layer.forward  # as others may have set it
    before = [set(vars(one)) for one in emulated.emulated_layers.values()]
    own = vars(layer)["forward"]
    memo = Memo(emulated)
    with pytest.raises(KeyError), memo.reusing():
        raise KeyError
    assert [set(vars(one)) for one in emulated.emulated_layers.values()] == before
    assert vars(layer)["forward"] is own


def test_nothing_is_kept_without_memory():
    emulated, x = two_layers()
    memo = Memo(emulated, 0)
    assert not memo.check(lambda: emulated(x))
    assert torch.equal(outputs(emulated, x, memo), outputs(emulated, x))
    with pytest.raises(ArgumentError, match="`max_bytes` must be an integer >= 0, got -1"):
        Memo(emulated, -1)


def test_results_that_were_reused_stay_while_others_pass():
    emulated, x = two_layers()
    of_one = 5 * 6 * 4  # bytes of the first layer's result
    memo = Memo(emulated, 8 * of_one)

    def run(key):
        before = memo.work.reused
        with torch.no_grad(), memo.reusing(), memo.batch(key, 1):
            emulated(x)
        return memo.work.reused - before

    assert [run(b"often"), run(b"often")] == [0, 2]
    for number in range(40):
        assert run(b"%d" % number) == 0
    assert run(b"often") == 2
    assert memo.n_bytes <= 8 * of_one
