"""Narrow accumulators: wrapped and saturated sums equal those of loops."""

import numpy as np
import pytest
import torch
from grid import each
from torch import nn
from window_reference import CONVS, TRANSPOSED, calibrated, random_multiplier, reference

from axopt.errors import ArgumentError
from axopt.layers import (
    Accumulator,
    EmulatedConv2d,
    EmulatedConvTranspose2d,
    EmulatedLinear,
    LayerOptions,
)
from axopt.multipliers import Multiplier

CASES = {
    "conv": (EmulatedConv2d, CONVS[2], {"padding": 1}),
    "groups": (EmulatedConv2d, CONVS[2], {"padding": 1, "stride": 2, "groups": 2}),
    "transposed": (EmulatedConvTranspose2d, TRANSPOSED[2], {"stride": 2, "kernel_size": 3}),
}


def make(case, multiplier, **options):
    torch.manual_seed(0)
    layer_type, conv_type, sizes = CASES[case]
    conv = conv_type(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3, **sizes})
    x = torch.randn(2, 4, 4, 3)
    return calibrated(layer_type(conv, multiplier, **options), x), conv, x


def adder(accumulator, signed):
    """A register of so many bits, one addition after the other."""
    span = 2**accumulator.bits
    low = -span // 2 if signed else 0
    if accumulator.overflow == "wrap":
        return lambda total, product: (total + product - low) % span + low
    return lambda total, product: min(max(total + product, low), low + span - 1)


@each("skip", [False, True])
@each("overflow", ["wrap", "saturate"])
@each("signed", [True, False])
@each("case", CASES)
def test_sums_overflow_as_the_register_says(case, signed, overflow, skip, rng):
    multiplier = random_multiplier(signed, rng)
    accumulator = Accumulator(17, overflow)
    padded_taps = "skip" if skip else "multiply"
    layer, conv, x = make(case, multiplier, accumulator=accumulator, padded_taps=padded_taps)
    size = conv(x).shape[2:]
    expected = reference(layer, conv, x, size, skip=skip, add=adder(accumulator, signed))
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
        assert torch.equal(layer(x[1]), expected[1])
    assert not torch.equal(reference(layer, conv, x, size, skip=skip), expected)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (0, 7)])
def test_linear_layers_overflow_too(shape, overflow, library):
    torch.manual_seed(0)
    linear = nn.Linear(7, 3)
    multiplier = library["mul8s_1KVB"]
    accumulator = Accumulator(14, overflow)
    layer = EmulatedLinear(linear, multiplier, accumulator=accumulator)
    calibrated(layer, torch.randn(50, 7))
    formats = layer.quantisation()
    x = 3 * torch.randn(shape)
    a = formats.activation.codes(x).view(-1, 7).numpy()
    w = formats.weights.codes(linear.weight).numpy()
    add = adder(accumulator, signed=True)
    sums = torch.zeros(len(a), 3, dtype=torch.int64)
    for n, o, k in torch.cartesian_prod(*map(torch.arange, (len(a), 3, 7))).tolist():
        sums[n, o] = add(int(sums[n, o]), int(multiplier.table[a[n, k], w[o, k]]))
    expected = sums.float() * formats.output_scale + linear.bias
    with torch.no_grad():
        assert torch.equal(layer(x), expected.view(*shape[:-1], 3))


def test_the_fast_path_stays_where_no_sum_can_overflow(library):
    multiplier = library["mul8s_1KV8"]
    layer, _, x = make("conv", multiplier, accumulator=Accumulator(24))
    formats = layer.quantisation()
    codes = formats.weights.codes(layer.weight).flatten(1).long() - 128
    largest = int((codes.abs() * 128).sum(1).max())
    bits = largest.bit_length() + 1
    for width in (bits - 1, bits):
        layer.accumulator = Accumulator(width)
        assert layer.summed_by_windows(formats) == (width < bits)
    with torch.no_grad():
        narrow = layer(x)
        layer.accumulator = None
        assert torch.equal(layer(x), narrow)


def test_a_part_of_a_sum_counts_for_saturation(library):
    """All sums fit, none does on the way: +127 * 127 twice, then the same off again."""
    linear = nn.Linear(4, 1, bias=False)
    linear.weight.data = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    x = torch.ones(3, 4)
    layer = EmulatedLinear(
        linear, library["mul8s_1KV8"], accumulator=Accumulator(15, "saturate"), calibrator="minmax"
    )
    calibrated(layer, x)
    with torch.no_grad():
        saturated = layer(x)
        layer.accumulator = Accumulator(15, "wrap")
        assert not layer(x).any()
    assert (saturated < -0.5).all()


def test_low_products_count_before_high_ones_make_up_for_them():
    """Every sum fits, but the first product of weight 0 leaves the register downwards."""
    table = np.zeros((256, 256), np.int32)
    table[:, 128 - 127], table[:, 128 + 127] = -20000, 10000
    multiplier = Multiplier.from_table(
        "two", table, signed=True, power_mw=1.0, area_um2=1.0, delay_ns=1.0
    )
    linear = nn.Linear(2, 1, bias=False)
    linear.weight.data = torch.tensor([[-1.0, 1.0]])
    layer = EmulatedLinear(linear, multiplier, accumulator=Accumulator(15, "saturate"))
    calibrated(layer, torch.randn(3, 2))
    with torch.no_grad():
        sums = layer(torch.randn(3, 2)) / layer.quantisation().output_scale
    assert torch.equal(sums.round(), torch.full((3, 1), 10000.0 - 2**14))


def test_a_changed_weight_is_looked_at_again_though_formats_stay(library):
    torch.manual_seed(0)
    linear = nn.Linear(8, 3)
    layer = EmulatedLinear(linear, library["mul8s_1KV8"], accumulator=Accumulator(16))
    x = calibrated(layer, torch.randn(20, 8)).sample.windows[:, 0]
    layer.fix_quantisation(True, layer.quantisation())
    with torch.no_grad():
        layer.weight.mul_(0.01)
        assert not layer.summed_by_windows(layer.quantisation())
        layer.weight.mul_(100).abs_()
        assert layer.summed_by_windows(layer.quantisation())
        narrow = layer(x.abs() * 4)
        layer.accumulator = None
        assert not torch.equal(layer(x.abs() * 4), narrow)


def test_gradients_are_those_of_a_wide_accumulator(rng):
    multiplier = random_multiplier(True, rng)
    gradients = []
    for accumulator in (None, Accumulator(18)):
        layer, _, x = make("conv", multiplier, accumulator=accumulator)
        x.requires_grad_()
        y = layer(x)
        y.backward(torch.ones_like(y))
        gradients.append((x.grad, layer.weight.grad))
    for wide, narrow in zip(*gradients, strict=True):
        assert torch.equal(wide, narrow)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 0}, "`bits` must be in 1..32, got 0"),
        ({"bits": 33}, "`bits` must be in 1..32, got 33"),
        ({"bits": 16.0}, "`bits` must be in"),
        ({"bits": 16, "overflow": "clip"}, "`overflow` must be one of wrap, saturate"),
    ],
)
def test_wrong_registers_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Accumulator(**arguments)
    with pytest.raises(ArgumentError, match="`accumulator` must be an Accumulator or None"):
        LayerOptions(accumulator=16)


def test_the_definition_names_the_register(library):
    layer, _, _ = make("conv", library.exact(True), accumulator=Accumulator(16, "saturate"))
    assert layer.definition == layer.geometry() + ", accumulator=16 bits, saturate"
