"""A native convolution equals its element-wise definition, bit for bit."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from grid import each
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS, examples, expected_sums
from torch.nn import functional

from axopt.errors import AccumulatorError, ArgumentError
from axopt.kernels import Convolution, Output, Quantiser, Window, available, force_isa, plan
from axopt.multipliers import load_library

LIBRARY = load_library()
SIGNED = sorted(LIBRARY.select(signed=True, release="v1"))
SEPARABLE_UNSIGNED = ("mul8u_1JFF", "mul8u_Y48", "mul8u_JQQ", "mul8u_13QR", "v2022/mul8u_27Y")
WITH_RESIDUAL = ("mul8s_1KVA", "mul8s_1KX2", "mul8s_1KVL", "mul8u_LM7", "mul8u_KEM")
LOOKED_UP = ("mul8u_L40", "mul8u_2HH", "mul8u_E9R")


@functools.cache
def plan_of(name, swap=False):
    table = LIBRARY[name].table
    return plan(table.T if swap else table)


class Formats(NamedTuple):
    """What a convolution needs to know beside its operands."""

    signed: bool
    quantiser: Quantiser
    output: Output

    def convolution(self, plan_, weight, window, method=None):
        return Convolution(
            plan_, weight, window, self.quantiser, self.output, signed=self.signed, method=method
        )


def make_formats(signed, channels, rng, per_channel=True, bias=True, codes=None, affine=False):
    """``codes``: None, "any" or the stride of the codes; ``affine``: any code represents zero."""
    shape = (channels,) if per_channel else ()
    level = int(rng.integers(0, 256)) if affine or not signed else 128
    if codes is None:
        zero, mapped = level, None
    elif codes == "any":
        zero = int(rng.integers(0, 256)) if affine or not signed else 128
        mapped = torch.from_numpy(rng.integers(0, 256, 256, dtype=np.uint8))
    else:
        top = 256 // codes - 1
        level = min(level, top)
        zero = level * codes if affine or not signed else 128
        mapped = (torch.arange(256).clamp(max=top) * codes).to(torch.uint8)
    weight_zero = np.full(shape, 128) if signed else np.asarray(rng.integers(0, 256, shape))
    output = Output(
        zero,
        torch.from_numpy(weight_zero),
        torch.from_numpy(scales(rng, shape)) * 0.0123,
        torch.from_numpy(scales(rng, (channels,))) if bias else None,
    )
    return Formats(signed, Quantiser(torch.tensor(0.0123), level, mapped), output)


def scales(rng, shape):
    return np.asarray(rng.uniform(1e-3, 1e-1, shape), np.float32)


def definition(plan_, x, weight, window, formats, bounds=None):
    """Every step by itself: quantise, pad, sum table entries in int64, zero points, scale."""
    signed, quantiser, output = formats
    steps = (x * quantiser.scale.reciprocal()).round().nan_to_num(nan=0.0)
    levels = (steps + quantiser.zero_point).clamp(0, 255).to(torch.uint8)
    (py, px), channels = window.padding, len(weight)
    levels = functional.pad(levels, (px, px, py, py), value=quantiser.zero_point)
    mapped = quantiser.code_of_level
    codes = (levels if mapped is None else mapped[levels.long()]).numpy()
    steps = {"stride": window.stride, "dilation": window.dilation, "groups": window.groups}
    sums = expected_sums(codes, weight.numpy(), plan_.table, **steps)
    origin = 128 if signed else 0
    values = np.arange(256) - origin
    w = values[weight.numpy().reshape(channels, -1)]
    zw = (output.weight_zero.expand(channels).numpy() - origin)[:, None, None]
    za = output.activation_zero - origin
    activations = expected_sums(
        codes,
        np.zeros_like(weight.numpy()),
        values[:, None] * np.ones(256, np.int64),
        **steps,
    )
    sums = sums - zw * activations - za * w.sum(1)[:, None, None] + w.shape[1] * za * zw
    y = torch.from_numpy(sums).float() * output.scale.expand(channels).view(-1, 1, 1)
    if output.bias is not None:
        y = y + output.bias.view(-1, 1, 1)
    return y if bounds is None else y.clamp(*bounds)


def check(name, x, weight, window, rng, bounds=None, swap=False, method=None, **options):
    formats = make_formats(LIBRARY[name].signed, len(weight), rng, **options)
    plan_ = plan_of(name, swap)
    actual = formats.convolution(plan_, weight, window, method)(x, bounds)
    assert torch.equal(actual, definition(plan_, x, weight, window, formats, bounds))
    assert actual.is_contiguous(memory_format=torch.channels_last)


def operands(rng, x_shape, w_shape):
    x = torch.from_numpy(rng.normal(0, 0.8, x_shape).astype(np.float32))
    return x, torch.from_numpy(rng.integers(0, 256, w_shape, dtype=np.uint8))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("groups", [1, 2, 6], ids=["dense", "grouped", "depthwise"])
@each("name", [*SIGNED, *SEPARABLE_UNSIGNED, *LOOKED_UP])
@each("swap", [False, True])
def test_every_multiplier_in_every_kind_of_layer(isa, name, groups, swap, rng):
    x, weight = operands(rng, (2, 6, 7, 9), (6, 6 // groups, 3, 3))
    with force_isa(isa):
        check(name, x, weight, Window(padding=(1, 1), groups=groups), rng, swap=swap)


@pytest.mark.parametrize("isa", ISAS)
@each("name", WITH_RESIDUAL)
@each("groups", [1, 2])
@each("swap", [False, True])
def test_every_residual(isa, name, groups, swap, rng):
    x, weight = operands(rng, (2, 6, 7, 9), (34, 6 // groups, 3, 3))
    with force_isa(isa):
        window = Window(padding=(1, 1), groups=groups)
        check(name, x, weight, window, rng, swap=swap, method="residual")


def methods_of(plan_):
    found = ["rows", "pixel_lanes", "channel_lanes"]
    if plan_.terms is not None:
        found.append("terms")
    return [*found, "residual"] if plan_.residual is not None else found


@pytest.mark.parametrize("name", sorted({m.digest: key for key, m in LIBRARY.items()}.values()))
def test_every_table_by_every_method_on_every_instruction_set(name, rng):
    """The methods are forced: the choice by cost would try few of them."""
    plan_ = plan_of(name)
    x, weight = operands(rng, (2, 5, 6, 7), (17, 5, 3, 2))
    window = Window(stride=(1, 2), padding=(1, 1))
    for codes in (None, "any"):
        formats = make_formats(LIBRARY[name].signed, 17, rng, codes=codes, affine=codes == "any")
        expected = definition(plan_, x, weight, window, formats)
        for isa in available():
            with force_isa(isa):
                for method in methods_of(plan_):
                    convolution = formats.convolution(plan_, weight, window, method)
                    assert torch.equal(convolution(x), expected), (isa, method, codes)


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 5]))
    size = st.integers(1, 3)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation, stride = draw(st.tuples(size, size)), draw(st.tuples(size, size))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    image = [
        max(1, e - 2 * p) + draw(st.integers(0, 20)) for e, p in zip(extent, padding, strict=True)
    ]
    x_shape = (draw(st.integers(1, 3)), groups * draw(st.integers(1, 9)), *image)
    w_shape = (groups * draw(st.integers(1, 40)), x_shape[1] // groups, *kernel)
    return x_shape, w_shape, Window(stride, padding, dilation, groups)


@pytest.mark.parametrize("isa", ISAS)
@given(
    case=convolutions(),
    name=st.sampled_from(["mul8s_1KX2", "mul8s_1L2D", "mul8u_JQQ", "mul8u_L40"]),
    layout=st.sampled_from(["first", "last", "strided"]),
    threads=st.integers(1, 3),
    codes=st.sampled_from([None, "any", 2, 8, 64]),
    affine=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=examples(20), deadline=None)
def test_any_convolution(isa, case, name, layout, threads, codes, affine, seed):
    x_shape, w_shape, window = case
    rng = np.random.default_rng(seed)
    x, weight = operands(rng, x_shape, w_shape)
    if layout == "last":
        x = x.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        x = torch.stack([x, -x], -1).transpose(2, 3)[..., 0].transpose(2, 3)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with force_isa(isa):
            options = {"per_channel": bool(seed % 2), "bias": bool(seed % 3)}
            check(name, x, weight, window, rng, codes=codes, affine=affine, **options)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ISAS)
@each("bounds", [(0.0, float("inf")), (0.0, 0.05), (-0.05, 0.05)])
@each("name", ["mul8s_1KVB", "mul8u_1JFF", "mul8u_L40"])
def test_results_are_clamped(isa, bounds, name, rng):
    x, weight = operands(rng, (2, 8, 6, 6), (17, 8, 3, 3))
    with force_isa(isa):
        check(name, x, weight, Window(), rng, bounds)


@pytest.mark.parametrize("isa", ISAS)
@each("name", ["mul8s_1KV8", "mul8u_1JFF"])
def test_values_that_are_no_numbers(isa, name, rng):
    x, weight = operands(rng, (1, 3, 8, 8), (4, 3, 3, 3))
    extremes = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0]
    x.view(-1)[: len(extremes)] = torch.tensor(extremes)
    with force_isa(isa):
        check(name, x, weight, Window(padding=(1, 1)), rng)


@pytest.mark.parametrize("isa", ISAS)
@each("activation", [-99.0, 99.0])
@each("code", [0, 255])
def test_extreme_codes_do_not_saturate(isa, activation, code, rng):
    """The largest products of one sign, where 16-bit sums of pairs would saturate."""
    x = torch.full((1, 64, 5, 5), activation)
    weight = torch.full((3, 64, 3, 3), code, dtype=torch.uint8)
    with force_isa(isa):
        for name in ("mul8s_1KV8", "mul8s_1KX2", "mul8u_1JFF"):
            check(name, x, weight, Window(), rng)


@pytest.mark.parametrize("name", ["mul8s_1KX2", "mul8u_L40"])
def test_images_do_not_see_each_other(name, rng):
    """One batch, its halves and its single images give the same bits, on 1 to 3 threads."""
    x, weight = operands(rng, (7, 16, 9, 9), (20, 16, 3, 3))
    formats = make_formats(LIBRARY[name].signed, 20, rng, codes="any")
    convolution = formats.convolution(plan_of(name), weight, Window())
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for size in (7, 4, 1):
                results.append(torch.cat([convolution(part) for part in x.split(size)]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


def test_empty_batch_and_wrong_shapes(rng):
    x, weight = operands(rng, (0, 4, 6, 6), (3, 4, 3, 3))
    convolution = make_formats(True, 3, rng).convolution(plan_of("mul8s_1KV8"), weight, Window())
    assert convolution(x).shape == (0, 3, 4, 4)
    with pytest.raises(ArgumentError, match="4 channels, got 5"):
        convolution(torch.zeros(1, 5, 6, 6))
    with pytest.raises(ArgumentError, match="at least 3 x 3 .*got 6 x 2"):
        convolution(torch.zeros(1, 4, 6, 2))


@pytest.mark.parametrize("bounds", [None, (0.0, 0.5)])
@pytest.mark.parametrize("name", ["mul8s_1KX2", "mul8u_L40"])
def test_rows_are_the_pixels_of_one_line(name, bounds, rng):
    x, weight = operands(rng, (9, 12), (5, 12, 1, 1))
    convolution = make_formats(LIBRARY[name].signed, 5, rng).convolution(
        plan_of(name), weight, Window()
    )
    assert convolution.rows(x[:0], bounds).shape == (0, 5)
    for rows in (x, x[::2], x.T.contiguous().T):
        expected = convolution(rows.T[None, :, None], bounds)
        assert torch.equal(convolution.rows(rows, bounds), expected[0, :, 0].T)
    with pytest.raises(ArgumentError, match="12 channels, got 11"):
        convolution.rows(x[:, 1:])


def test_a_row_without_channels_is_the_bias(rng):
    formats = make_formats(True, 3, rng)
    convolution = formats.convolution(
        plan_of("mul8s_1KV8"), torch.zeros(3, 0, 1, 1, dtype=torch.uint8), Window()
    )
    rows = convolution.rows(torch.zeros(2, 0), (-0.05, 0.05))
    assert torch.equal(rows, formats.output.bias.clamp(-0.05, 0.05).expand(2, 3))


def test_every_number_of_pixels_has_its_method(rng, monkeypatch):
    x, weight = operands(rng, (1, 8, 6, 6), (4, 8, 1, 1))
    convolution = make_formats(True, 4, rng).convolution(plan_of("mul8s_1KX2"), weight, Window())
    used = []
    monkeypatch.setattr(convolution, "method", lambda n: used.append(n) or "rows")
    for part in (x, x, x[:, :, :2], x[:, :, :2], x):
        convolution(part)
    assert used == [36, 12, 36]


@pytest.mark.parametrize("isa", ISAS)
@each("codes", ["any", 1, 4, 128])
@each("name", ["mul8s_1KV8", "mul8s_1KX2", "mul8u_JQQ", "mul8u_L40"])
def test_levels_become_codes(isa, codes, name, rng):
    """In every layout, of more values than a vector, padding included."""
    for channels, padding in ((3, 1), (16, 2), (70, 0)):
        x, weight = operands(rng, (2, channels, 4, 6), (18, channels, 3, 3))
        window = Window(padding=(padding, padding))
        with force_isa(isa):
            for layout in (torch.contiguous_format, torch.channels_last):
                x = x.contiguous(memory_format=layout)
                same = np.random.default_rng(channels)  # formats in both layouts
                check(name, x, weight, window, same, codes=codes, affine=True)


def test_weights_of_signed_multipliers_are_symmetric(rng):
    _, weight = operands(rng, (1, 4, 6, 6), (3, 4, 3, 3))
    formats = make_formats(True, 3, rng)
    output = Output(128, torch.tensor([128, 127, 128]), formats.output.scale)
    with pytest.raises(ArgumentError, match="must be 128"):
        formats._replace(output=output).convolution(plan_of("mul8s_1KV8"), weight, Window())


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1KR3", "mul8u_1JFF"])
def test_sums_that_may_leave_int32_are_refused(name, affine, rng):
    plan_, signed = plan_of(name), LIBRARY[name].signed
    formats = make_formats(signed, 1, rng, affine=affine)
    if affine:
        formats = formats._replace(output=dataclasses.replace(formats.output, activation_zero=0))
    k_max = plan_.k_max_affine(signed=signed) if affine or not signed else plan_.k_max
    for k in (k_max, k_max + 1):
        weight = torch.zeros((1, k, 1, 1), dtype=torch.uint8)
        if k <= k_max:
            x = torch.full((1, k, 1, 1), 99.0 if affine else -99.0)
            result = formats.convolution(plan_, weight, Window())(x)
            assert torch.equal(result, definition(plan_, x, weight, Window(), formats))
        else:
            with pytest.raises(AccumulatorError, match=f"K = {k}"):
                formats.convolution(plan_, weight, Window())
