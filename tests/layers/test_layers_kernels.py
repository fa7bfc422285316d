"""A layer keeps the native operations of the multipliers it had, and drops them when stale."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

from axopt.kernels import force_isa
from axopt.layers import EmulatedConv2d, EmulatedLinear, QuantParams, native

NAMES = ("mul8s_1KV8", "mul8s_1L2D", "mul8u_1JFF")


@pytest.fixture
def x():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def layer(library, x):
    torch.manual_seed(0)
    layer = EmulatedConv2d(nn.Conv2d(3, 8, 3), library["mul8s_1KV8"], name="conv")
    layer.observing = True
    layer(x)
    layer.observing = False
    return layer.requires_grad_(False)


def kernel(layer):
    return layer.native(layer.quantisation())


def test_an_operation_is_made_once_for_each_multiplier_and_order(layer, library, x):
    made = {}
    for _ in range(2):
        for name in NAMES:
            for swap in (False, True):
                layer.assign(library[name], swap=swap)
                y = layer(x)
                assert made.setdefault((name, swap), kernel(layer)) is kernel(layer)
                assert torch.equal(layer(x), y)
    assert len(set(map(id, made.values()))) == 2 * len(NAMES)


def test_instruction_sets_have_operations_of_their_own(layer, x):
    with force_isa("portable"):
        portable = kernel(layer)
    with force_isa("reference"):
        assert kernel(layer) is not portable
    with force_isa("portable"):
        assert kernel(layer) is portable


@pytest.mark.parametrize("parameter", ["weight", "bias"])
@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_changed_parameters_make_it_anew(layer, x, parameter, how):
    before, y = kernel(layer), layer(x)
    value = getattr(layer, parameter)
    if how == "in place":
        value.mul_(2)
    else:
        setattr(layer, parameter, nn.Parameter(value * 2, requires_grad=False))
    assert kernel(layer) is not before
    assert not torch.equal(layer(x), y)


def test_other_scales_make_it_anew(layer, x):
    before, y = kernel(layer), layer(x)
    formats = layer.quantisation()
    doubled = QuantParams(formats.activation.scale * 2, formats.activation.zero_point)
    layer.fix_quantisation(True, replace(formats, activation=doubled))
    assert kernel(layer) is not before
    assert not torch.equal(layer(x), y)
    layer.release_quantisation()
    assert torch.equal(layer(x), y)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_compute_the_same_and_are_independent(layer, x, copied):
    y = layer(x)
    twin = copied(layer)
    assert len(twin.kernels) == 0
    assert torch.equal(twin(x), y)
    twin.weight.mul_(2)
    assert not torch.equal(twin(x), y)
    assert torch.equal(layer(x), y)


def test_the_operations_used_longest_ago_are_dropped(library, monkeypatch, x):
    layer = EmulatedLinear(nn.Linear(64, 64), library["mul8s_1KV8"])
    layer.observing = True
    layer(torch.randn(2, 64))
    layer.observing = False
    layer.requires_grad_(False)
    monkeypatch.setattr("axopt.layers.native.MAX_KERNEL_BYTES", 3 * 64 * 64 * 2)
    kept = {}
    for name in ("mul8s_1KV8", "mul8s_1KR8", "mul8s_1L2H", "mul8s_1L2D", "mul8s_1L1G"):
        layer.assign(library[name], swap=False)
        layer(torch.randn(64, 64))
        kept[name] = kernel(layer)
    assert 1 <= len(layer.kernels) < 5
    assert kernel(layer) is kept["mul8s_1L1G"]
    layer.assign(library["mul8s_1KV8"], swap=False)
    assert kernel(layer) is not kept["mul8s_1KV8"]


def test_old_formats_are_forgotten(layer, x):
    """Formats that are made anew again and again, as in training, do not pile up."""
    formats = layer.quantisation()
    for _ in range(3 * native.MAX_KERNELS):
        layer.correction = replace(formats)
        layer(x)
    assert len(layer.kernels) == native.MAX_KERNELS
    assert kernel(layer) is kernel(layer)
