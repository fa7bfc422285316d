"""Layers of every kind with multipliers of 2 to 8 bits a side, against the definition."""

from itertools import product

import pytest
import torch
from narrow_oracle import WIDTHS, expected, expected_product, narrow
from torch import nn
from torch.nn import functional

import axopt
from axopt.errors import AssignmentError
from axopt.layers import Accumulator, LayerOptions, Quantisation, QuantParams, strides_of
from axopt.model import Assignment, current_assignment, explain_corrections
from axopt.model.reestimation import reestimate_
from axopt.modules import MatMul

ALL = list(product(WIDTHS, (True, False), (False, True)))
MANY = pytest.mark.parametrize(("widths", "signed", "swap"), ALL[::3], ids=str)  # 6 of 16
SOME = pytest.mark.parametrize(("widths", "signed", "swap"), ALL[1::5], ids=str)  # 3 of 16

CONVS = {
    "conv1d": (nn.Conv1d(4, 6, 3, padding=1), (3, 4, 9), functional.conv1d),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, stride=2), (3, 4, 7, 6), functional.conv2d),
    "depthwise": (nn.Conv2d(4, 4, 3, padding=1, groups=4), (3, 4, 5, 6), functional.conv2d),
    "conv3d": (nn.Conv3d(2, 3, 2, padding=1), (2, 2, 3, 4, 3), functional.conv3d),
}


def prepared(module, x, multiplier, swap, **options):
    emulated = axopt.prepare(nn.Sequential(module), x, **options)
    axopt.assign_(emulated, (multiplier, swap))
    (layer,) = emulated.emulated_layers.values()
    return emulated, layer


def seeded(shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.3


@MANY
def test_linear(widths, signed, swap):
    x = seeded((40, 20))
    emulated, layer = prepared(nn.Linear(20, 7), x, narrow(*widths, signed=signed), swap)
    tops = [2**bits - 1 for bits in (reversed(widths) if swap else widths)]
    formats = layer.quantisation()
    assert [formats.activation.top, formats.weights.top] == tops
    torch.testing.assert_close(
        emulated(x), expected(layer, functional.linear, x, layer.weight), rtol=0, atol=0
    )


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("widths", [(4, 4), (7, 2), (5, 8)])
def test_every_pair_of_operands(widths, signed, swap):
    """A layer of depth 1 with the scale 1 gives the table itself."""
    multiplier = narrow(*widths, signed=signed)
    bits = widths[::-1] if swap else widths
    tops = [2**b - 1 for b in bits]
    zeros = [2 ** (b - 1) if signed else 0 for b in bits]
    a, w = (
        torch.arange(top + 1, dtype=torch.float32)[:, None] - zero
        for top, zero in zip(tops, zeros, strict=True)
    )
    linear = nn.Linear(1, len(w), bias=False)
    linear.weight.data.copy_(w)
    _, layer = prepared(linear, a, multiplier, swap, weight_scales="per-tensor")
    strides = strides_of(multiplier, swap)
    formats = [
        QuantParams(torch.tensor(1.0), torch.tensor(zero), stride)
        for zero, stride in zip(zeros, strides, strict=True)
    ]
    layer.fix_quantisation(signed, Quantisation(*formats), strides)
    table = torch.tensor(multiplier.table)
    with torch.no_grad():
        assert torch.equal(layer(a), (table.T if swap else table).float())


@SOME
@pytest.mark.parametrize("name", CONVS)
def test_convolutions(name, widths, signed, swap):
    conv, shape, convolve = CONVS[name]
    x = seeded(shape)
    emulated, layer = prepared(conv, x, narrow(*widths, signed=signed), swap)
    pad = [size for size in reversed(conv.padding) for _ in range(2)]

    def run(values, weight):
        return convolve(values, weight, stride=conv.stride, groups=conv.groups)

    torch.testing.assert_close(
        emulated(x), expected(layer, run, x, conv.weight, pad), rtol=0, atol=0
    )


@SOME
def test_transposed_convolution(widths, signed, swap):
    conv = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
    x = seeded((2, 4, 4, 3))
    multiplier = narrow(*widths, signed=signed)
    emulated, layer = prepared(conv, x, multiplier, swap, weight_scales="per-tensor")

    def run(values, weight):
        y = functional.conv_transpose2d(
            values, weight, stride=2, padding=5, output_padding=1, groups=2
        )
        return y

    torch.testing.assert_close(
        emulated(x), expected(layer, run, x, conv.weight, (2,) * 4), rtol=0, atol=0
    )


@SOME
def test_product_of_two_activations(widths, signed, swap):
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.product = MatMul()

        def forward(self, x):
            return self.product(x, x.mT * 0.5)

    x = seeded((2, 3, 5, 8))
    emulated, layer = prepared(Product(), x, narrow(*widths, signed=signed), swap)
    torch.testing.assert_close(emulated(x), expected_product(layer, x, x.mT * 0.5), rtol=0, atol=0)


class Composite(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.operands = 3 if kind == "attention" else 1
        if kind == "attention":
            self.part = nn.MultiheadAttention(8, 2, batch_first=True)
        else:
            self.part = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](8, 6, batch_first=True)

    def forward(self, x):
        return self.part(*[x] * self.operands)[0]


@pytest.mark.parametrize("kind", ["lstm", "gru", "attention"])
@pytest.mark.parametrize("swap", [False, True])
def test_layers_of_composite_modules(kind, swap):
    x = seeded((4, 5, 8))
    emulated = axopt.prepare(Composite(kind), x)
    axopt.assign_(emulated, (narrow(3, 6, signed=True), swap))
    calls = {}
    for name, layer in emulated.emulated_layers.items():
        layer.register_forward_hook(
            lambda layer, given, result, name=name: calls.update({name: (layer, given, result)})
        )
    with torch.no_grad():
        emulated(x)
    assert len(calls) >= (2 if kind == "attention" else 1)
    for layer, given, result in calls.values():
        if layer.kind == "matmul":
            a, b = given
            wanted = expected_product(layer, a, b.mT if layer.transpose_b else b)
        else:
            wanted = expected(layer, functional.linear, given[0], layer.weight)
        torch.testing.assert_close(result, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("signed", [True, False])
def test_accumulator_holds_products_of_the_narrow_multiplier(overflow, signed):
    x, bits = seeded((30, 9)), 8
    multiplier = narrow(4, 3, signed=signed)
    options = LayerOptions(accumulator=Accumulator(bits, overflow))
    linear = nn.Linear(9, 4, bias=False)
    emulated, layer = prepared(
        linear, x, multiplier, False, layer_options=options, weight_scales="per-tensor"
    )
    formats = layer.quantisation()
    a = formats.activation.levels(x).long()
    w = formats.weights.levels(linear.weight).long()
    low = -(2 ** (bits - 1)) if signed else 0
    high = low + 2**bits - 1
    table = torch.tensor(multiplier.table).long()
    sums = torch.zeros(30, 4, dtype=torch.int64)
    for k in range(9):
        sums = sums + table[a[:, k, None], w[:, k]]
        sums = (sums - low) % 2**bits + low if overflow == "wrap" else sums.clamp(low, high)
    za, zw = (
        int(p.zero_point) - (p.top + 1) // 2 * signed
        for p in (formats.activation, formats.weights)
    )
    values = [
        v - (p.top + 1) // 2 * signed for v, p in ((a, formats.activation), (w, formats.weights))
    ]
    sums = sums - zw * values[0].sum(1, keepdim=True) - za * values[1].sum(1) + 9 * za * zw
    wanted = sums.float() * (formats.activation.scale * formats.weights.scale)
    torch.testing.assert_close(emulated(x), wanted, rtol=0, atol=0)


# --- corrected layers


@SOME
def test_corrected_layer_uses_only_codes_that_its_operands_have(widths, signed, swap):
    """The oracle asserts that all codes lie on the operands' grid and fit their levels."""
    x = seeded((300, 16)).relu()
    emulated, layer = prepared(nn.Linear(16, 7), x, narrow(*widths, signed=signed), swap)
    multiplier = narrow(*widths, signed=signed, error=2 ** (sum(widths) // 2 - 1))
    raw = {}
    for order in (False, True):
        axopt.assign_(emulated, (multiplier, order))
        raw[order] = explain_corrections(emulated)[0].error_pct
    axopt.assign_(emulated, (multiplier, swap), correct=True)
    assert layer.swap == swap
    found = explain_corrections(emulated)[0]
    assert found.error_pct <= raw[swap]
    assert found.corrections
    torch.testing.assert_close(
        emulated(x), expected(layer, functional.linear, x, layer.weight), rtol=0, atol=0
    )
    axopt.assign_(emulated, multiplier, correct=True)
    assert explain_corrections(emulated)[0].error_pct <= found.error_pct + 1e-9
    reestimate_(emulated, [x + 0.2])
    torch.testing.assert_close(
        emulated(x), expected(layer, functional.linear, x, layer.weight), rtol=0, atol=0
    )


@pytest.mark.parametrize("signed", [True, False])
def test_every_candidate_of_a_correction_lies_on_the_grid(signed):
    from axopt import corrections
    from axopt.corrections.candidates import Candidates

    x = seeded((300, 16)).relu()
    multiplier = narrow(5, 3, signed=signed, error=3)
    _, layer = prepared(nn.Linear(16, 7), x, multiplier, False)
    for swap in (False, True):
        strides = strides_of(multiplier, swap)
        raw = layer.quantisation(signed, strides)
        names = set()
        for formats in Candidates(layer).formats(multiplier, swap, raw, corrections.ALL):
            names |= set(formats.corrections)
            assert formats.activation.fits(strides[0])
            assert formats.weights.fits(strides[1])
            mapped = formats.activation.code_of_level
            assert mapped is None or len(mapped.unique()) <= 256 // strides[0]
        assert {"activation_codes", "weight_codes"} <= names


def quality(bits_a, bits_w, signed, correct):
    """Error of a convolution's results in percent of their spread, with exact narrow products."""
    x = seeded((24, 4, 8, 8)).relu()
    torch.manual_seed(0)
    multiplier = narrow(bits_a, bits_w, signed=signed, error=0)
    emulated, _ = prepared(nn.Conv2d(4, 8, 3), x, multiplier, False)
    axopt.assign_(emulated, multiplier, correct=correct)
    return explain_corrections(emulated)[0].error_pct


@pytest.mark.parametrize("signed", [True, False])
def test_fewer_bits_cost_more_and_corrections_help(signed):
    corrected = [quality(bits, bits, signed, True) for bits in (2, 4)]
    raw = [quality(bits, bits, signed, False) for bits in (2, 4)]
    assert corrected == sorted(corrected, reverse=True)
    assert all(found < 1.001 * before for found, before in zip(corrected, raw, strict=True))
    assert corrected[1] < 12
    assert corrected[0] > 2 * corrected[1]


# --- state and files


def test_formats_of_several_widths_do_not_mix():
    x = seeded((60, 12))
    _, layer = prepared(nn.Linear(12, 5), x, narrow(4, 4, signed=True), False)
    results = {}
    for repeat in range(2):
        for widths in [(4, 4), (8, 3), (3, 8), (8, 8)]:
            for swap in (False, True):
                layer.assign(narrow(*widths, signed=True), swap=swap)
                y = layer(x).detach()
                if repeat:
                    torch.testing.assert_close(y, results[widths, swap], rtol=0, atol=0)
                results[widths, swap] = y
    assert layer.quantisation(True).activation.top == 255


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("swap", [False, True])
def test_assignment_file_reproduces_narrow_formats(tmp_path, correct, swap):
    library = axopt.load_library(narrow=True)
    x = seeded((200, 12)).relu()
    module = nn.Linear(12, 5)
    emulated, _ = prepared(module, x, library["mul8x4u_2UU"], swap)
    axopt.assign_(emulated, ("mul8x4u_2UU", swap), correct=correct)
    current_assignment(emulated).save(tmp_path / "a.json")
    fresh, layer = prepared(module, x + 1, library["mul8u_1JFF"], not swap)
    axopt.assign_(fresh, Assignment.load(tmp_path / "a.json"))
    assert layer.multiplier.name == "mul8x4u_2UU"
    torch.testing.assert_close(fresh(x), emulated(x), rtol=0, atol=0)


def test_assignment_with_formats_that_are_too_wide_is_refused():
    x = seeded((60, 12))
    emulated, layer = prepared(nn.Linear(12, 5), x, narrow(8, 8, signed=False), False)
    axopt.assign_(emulated, "mul8u_1JFF")
    wide = current_assignment(emulated)
    axopt.assign_(emulated, "mul8x4u_2UU")
    name = next(iter(emulated.emulated_layers))
    before = emulated(x)
    mixed = Assignment(current_assignment(emulated).layers, quantisation=wide.quantisation)
    with pytest.raises(
        AssignmentError, match=f"quantisation.*{name}.*weight must have codes .* 16"
    ):
        axopt.assign_(emulated, mixed)
    torch.testing.assert_close(emulated(x), before, rtol=0, atol=0)


# --- gradients


@pytest.mark.parametrize(("kind", "swap"), [("ste", False), ("slopes", True), ("table", True)])
def test_retraining_a_narrow_layer_reduces_the_loss(kind, swap):
    x = seeded((128, 16))
    torch.manual_seed(0)
    module = nn.Linear(16, 4)
    target = nn.Linear(16, 4)(x).argmax(1)
    multiplier = narrow(4, 3, signed=True, error=2)
    emulated, layer = prepared(module, x, multiplier, swap)
    axopt.assign_(emulated, (multiplier, swap), correct=kind == "table")
    result = axopt.retrain(
        emulated, [(x, target)], epochs=8, lr=0.05, batch_size=32, gradient=kind, distillation=0.0
    )
    assert result.history[-1].loss < 0.8 * result.history[1].loss
    assert layer.quantisation().activation.fits(layer.multiplier.strides[swap])
    torch.testing.assert_close(
        emulated(x), expected(layer, functional.linear, x, layer.weight), rtol=0, atol=0
    )
