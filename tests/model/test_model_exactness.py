"""Whole networks: the same bits on every instruction set, thread count and batch split."""

import numpy as np
import pytest
import torch
from layer_references import numpy_layer, stepwise

import axopt
from axopt import kernels
from axopt.kernels.device import conv2d_codes_on_device
from axopt.layers import WeightedLayer


@pytest.fixture(scope="module")
def digits():
    data = axopt.load_data("digits")
    return axopt.create_model("digits_cnn"), data


@pytest.fixture(scope="module")
def emulated(digits):
    model, data = digits
    return axopt.prepare(model, [data.train.take(128).inputs])


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1KX2", "mul8s_1L1G", "mul8u_2HH"])
def test_same_bits_everywhere(name, digits, emulated):
    images = digits[1].test.take(37).inputs
    axopt.assign_(emulated, name)
    threads = torch.get_num_threads()
    outputs = []
    try:
        for isa in kernels.available():
            for n in (1, 3):
                torch.set_num_threads(n)
                with torch.no_grad(), kernels.force_isa(isa):
                    outputs.append(emulated(images))
                    outputs.append(torch.cat([emulated(part) for part in images.split(5)]))
    finally:
        torch.set_num_threads(threads)
    assert len(outputs) >= 8
    assert all(torch.equal(output, outputs[0]) for output in outputs)


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1KVB", "mul8u_JQQ", "mul8u_2HH"])
@pytest.mark.parametrize("swap", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("n", [3, pytest.param(11, marks=pytest.mark.slow)])
def test_whole_network_equals_numpy(name, swap, n, digits, emulated, monkeypatch):
    images = digits[1].test.take(n).inputs
    multiplier = axopt.load_library()[name]
    axopt.assign_(emulated, dict.fromkeys(emulated.emulated_layers, (multiplier, swap)))
    with torch.no_grad():
        fast = emulated(images)
        monkeypatch.setattr(WeightedLayer, "emulated", numpy_layer)
        slow = emulated(images)
    assert torch.equal(fast, slow)


@pytest.mark.parametrize("name", ["mul8s_1KVB", "mul8u_JQQ", "mul8u_2HH"])
def test_whole_network_by_the_operators_of_other_devices(name, digits, emulated, monkeypatch):
    """The path that a GPU takes, on the CPU: quantise, sum and scale one after the other."""
    images = digits[1].test.take(5).inputs
    axopt.assign_(emulated, name)
    plan = kernels.plan(axopt.load_library()[name].table)

    def convolved(x, w, packed, **steps):
        terms = plan.terms if packed is plan.packed else None
        table = plan.table if packed is plan.packed else packed.columns.T.astype(np.int32)
        return conv2d_codes_on_device(x, w, table, terms, **steps)

    with torch.no_grad():
        fast = emulated(images)
        monkeypatch.setattr("axopt.kernels.sums.conv2d_codes", convolved)
        monkeypatch.setattr(WeightedLayer, "emulated", stepwise)
        slow = emulated(images)
    assert torch.equal(fast, slow)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1KX2", "mul8u_JQQ", "mul8u_2HH"])
def test_whole_network_on_a_gpu(name, digits):
    model, data = digits
    emulated = axopt.prepare(model, [data.train.take(128).inputs])
    axopt.assign_(emulated, name)
    images = data.test.take(37).inputs
    with torch.no_grad():
        expected = emulated(images)
        on_gpu = emulated.to("cuda")(images.to("cuda"))
    assert torch.equal(on_gpu.cpu(), expected)


def test_exact_multiplier_keeps_the_accuracy_and_poor_ones_lose_it(digits, emulated):
    """Guards against an emulation that ignores its multiplier: qualities must differ."""
    model, data = digits
    quality = {}
    for name in ("mul8s_1KV8", "mul8u_1JFF", "mul8s_1L2D", "mul8s_1L1G", "mul8s_1KR3"):
        axopt.assign_(emulated, name)
        quality[name] = axopt.evaluate(emulated, data.test).value
    float_quality = axopt.evaluate(model, data.test).value
    assert abs(quality["mul8s_1KV8"] - float_quality) <= 0.6
    assert abs(quality["mul8u_1JFF"] - float_quality) <= 0.6
    assert quality["mul8s_1KV8"] > quality["mul8s_1L2D"] > quality["mul8s_1L1G"] + 10
    assert quality["mul8s_1KR3"] < 30


def test_approximate_digits_improve_when_trained_through_the_emulation(digits):
    """The straight-through gradient points downhill on a multiplier that costs accuracy."""
    model, data = digits
    emulated = axopt.prepare(model, [data.train.take(128).inputs])
    axopt.assign_(emulated, "mul8s_1L1G")
    optimizer = torch.optim.SGD(emulated.parameters(), 0.01, momentum=0.9)
    train = data.train.take(256)
    losses = []
    for _ in range(6):
        for images, targets in train.batches(64):
            loss = torch.nn.functional.cross_entropy(emulated(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
