"""The C kernels for separable terms equal int64 sums in numpy, on every instruction set."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from grid import each
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import examples

from axopt import _lut_gemm

BLOCK = 16
UNIT = 4
ISAS = {name: i for i, (name, here) in enumerate(_lut_gemm.instruction_sets()) if here}
CODES = np.arange(256)


@dataclass(frozen=True)
class Layer:
    """A convolution of `terms` terms; weights are (terms, out channels, channels, ky, kx)."""

    weights: np.ndarray
    maps: np.ndarray
    masks: np.ndarray
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    groups: int = 1
    depthwise: bool = False
    relu: bool = False
    row_scale: int = 0
    row_mask: int = 0
    weight_zero: np.ndarray | None = None
    offset: np.ndarray = field(init=False)
    scale: np.ndarray = field(init=False)
    bias: np.ndarray = field(init=False)

    def __post_init__(self):
        channels = self.weights.shape[1]
        rng = np.random.default_rng(channels)
        set_field = object.__setattr__
        set_field(self, "offset", rng.integers(-9999, 9999, channels).astype(np.int32))
        set_field(self, "scale", rng.uniform(0.1, 2, channels).astype(np.float32))
        set_field(self, "bias", rng.normal(0, 9, channels).astype(np.float32))


def packed(weights, code_bytes):
    """Pack as axk_terms says: [block][ky][kx][unit of (term, channel)][16][bytes]."""
    terms, out, channels, ky, kx = weights.shape
    per_unit = UNIT // code_bytes
    blocks, units = -(-out // BLOCK), -(-terms * channels // per_unit)
    full = np.zeros((blocks * BLOCK, ky, kx, units * per_unit), f"i{code_bytes}")
    flat = weights.transpose(1, 3, 4, 0, 2).reshape(out, ky, kx, terms * channels)
    full[:out, ..., : terms * channels] = flat
    split = full.reshape(blocks, BLOCK, ky, kx, units, per_unit).transpose(0, 2, 3, 4, 1, 5)
    return np.ascontiguousarray(split).view(np.uint8).reshape(-1)


def operation(layer, isa):
    groups = layer.groups
    if layer.depthwise:
        taps = layer.weights[:, :, 0].transpose(2, 3, 0, 1)
        weights = np.ascontiguousarray(taps.astype(np.int16)).view(np.uint8).reshape(-1)
    else:
        code_bytes = _lut_gemm.code_bytes(ISAS[isa])
        parts = np.split(layer.weights, groups, axis=1)
        weights = np.concatenate([packed(part, code_bytes) for part in parts])
    return _lut_gemm.Operation(
        isa_index=ISAS[isa],
        method="depthwise" if layer.depthwise else "terms",
        weight_shape=layer.weights.shape[1:],
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.pad,
        groups=groups,
        weights=weights,
        maps=layer.maps,
        masks=layer.masks,
        row_scale=layer.row_scale,
        row_mask=layer.row_mask,
        offset=layer.offset,
        zero_point=layer.weight_zero,
        scale=layer.scale,
        bias=layer.bias,
    )


def out_size(layer, size, axis):
    reach = (layer.weights.shape[3 + axis] - 1) * layer.dilation[axis]
    return (size + 2 * layer.pad[axis] - reach - 1) // layer.stride[axis] + 1


def run(layer, isa, x, *, threads=1, inverse_scale=1.0, zero_point=128, op=None):
    size = [out_size(layer, x.shape[2 + axis], axis) for axis in (0, 1)]
    channels = layer.weights.shape[1]
    guarded = np.full((x.shape[0] + 1, *size, channels), np.float32(12345.0))
    op = op or operation(layer, isa)
    bounds = (0.0, np.inf) if layer.relu else (-np.inf, np.inf)
    op.run(threads, x, inverse_scale, zero_point, guarded[:-1], bounds)
    assert (guarded[-1] == 12345.0).all(), "written behind the output"
    return guarded[:-1]


def quantised(x, inverse_scale, zero_point):
    """Codes as axk_source says, written independently of the kernels."""
    with np.errstate(over="ignore"):
        steps = np.nan_to_num(x * np.float32(inverse_scale), nan=0.0, posinf=1e6, neginf=-1e6)
    return np.clip(np.rint(steps.astype(np.float64)) + zero_point, 0, 255).astype(np.int64)


def expected(layer, x, *, inverse_scale=1.0, zero_point=128):
    codes = quantised(x, inverse_scale, zero_point)
    (top, left), weights = layer.pad, layer.weights.astype(np.int64)
    sides = ((0, 0), (0, 0), (top, top), (left, left))
    codes = np.pad(codes, sides, constant_values=zero_point)
    height, width = (out_size(layer, x.shape[2 + axis], axis) for axis in (0, 1))
    channels, per_group = weights.shape[1], weights.shape[1] // layer.groups
    sums = np.zeros((x.shape[0], height, width, channels), np.int64)
    for ky in range(weights.shape[3]):
        for kx in range(weights.shape[4]):
            y, x_ = ky * layer.dilation[0], kx * layer.dilation[1]
            rows = slice(y, y + (height - 1) * layer.stride[0] + 1, layer.stride[0])
            columns = slice(x_, x_ + (width - 1) * layer.stride[1] + 1, layer.stride[1])
            window = np.split(codes[:, :, rows, columns], layer.groups, axis=1)
            for g, part in enumerate(window):
                to = slice(g * per_group, (g + 1) * per_group)
                for t, table in enumerate(layer.maps.astype(np.int64)):
                    product = np.einsum("bcyx,oc->byxo", table[part], weights[t, to, :, ky, kx])
                    sums[..., to] += product
                plain = layer.row_scale * (part & layer.row_mask).sum(1)
                sums[..., to] += plain[..., None]
                if layer.weight_zero is not None:
                    sums[..., to] -= layer.weight_zero[to] * part.sum(1)[..., None]
    values = (sums + layer.offset).astype(np.float32) * layer.scale + layer.bias
    return np.maximum(values, np.float32(0)) if layer.relu else values


def terms_of(rng, count, *, masked):
    """`count` maps and their masks; masked: True, False or None for some of them."""
    kept = rng.integers(0, 256, count)
    is_mask = rng.random(count) < 0.5 if masked is None else np.full(count, masked)
    maps = np.where(is_mask[:, None], CODES & kept[:, None], rng.integers(0, 256, (count, 256)))
    return maps.astype(np.uint8), np.where(is_mask, kept, -1).astype(np.int16)


def activations(rng, shape, layout):
    """Floats of the shape (images, channels, height, width) in memory as `layout` says."""
    values = rng.normal(0, 60, shape).astype(np.float32)
    if layout == "nchw":
        return values
    last = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
    if layout == "nhwc":
        return last.transpose(0, 3, 1, 2)
    if layout == "slice":  # of the channels of a wider tensor
        wide = np.full((*last.shape[:3], last.shape[3] + 5), np.nan, np.float32)
        wide[..., 2:-3] = last
        return wide[..., 2:-3].transpose(0, 3, 1, 2)
    backwards = np.ascontiguousarray(values[:, ::-1, :, ::-1])  # every other column of a wider one
    wide = np.repeat(backwards, 2, axis=3)
    return wide[:, ::-1, :, ::-2]


@st.composite
def cases(draw):
    """A layer, its activations, inverse scale and zero point."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    per_group, out = draw(st.integers(1, 40)), draw(st.integers(1, 40)) * groups
    if draw(st.booleans()):
        per_group, out, groups = 1, *[draw(st.integers(1, 150))] * 2
    depthwise = per_group == 1 and groups == out
    kernel, stride, dilation = (
        draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (3, 3, 2)
    )
    pad = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = (
        max(draw(st.integers(1, 21)), r - 2 * p) for r, p in zip(reach, pad, strict=True)
    )
    count = draw(st.integers(1, 6))
    maps, masks = terms_of(rng, count, masked=draw(st.sampled_from([True, True, False, None])))
    unsigned = draw(st.booleans()) and not depthwise
    layer = Layer(
        rng.integers(-128, 128, (count, out, per_group, *kernel)),
        maps,
        masks,
        stride=stride,
        dilation=dilation,
        pad=pad,
        groups=groups,
        depthwise=depthwise,
        relu=draw(st.booleans()),
        row_scale=int(rng.integers(-200, 200)) if unsigned else 0,
        row_mask=int(rng.integers(0, 256)),
        weight_zero=rng.integers(0, 256, out).astype(np.int32) if unsigned else None,
    )
    shape = (draw(st.integers(1, 3)), per_group * groups, height, width)
    x = activations(rng, shape, draw(st.sampled_from(["nchw", "nhwc", "slice", "backwards"])))
    return layer, x, draw(st.sampled_from([1.0, 0.37, 2.9])), draw(st.integers(0, 255))


@given(cases())
@settings(max_examples=examples(50), deadline=None)
def test_every_instruction_set_equals_numpy(case):
    layer, x, inverse_scale, zero_point = case
    numbers = {"inverse_scale": inverse_scale, "zero_point": zero_point}
    right = expected(layer, x, **numbers)
    for isa in ISAS:
        for threads in (1, 3):
            result = run(layer, isa, x, threads=threads, **numbers)
            np.testing.assert_array_equal(result, right, err_msg=f"{isa}, {threads} threads")


def simple_layer(rng, channels, out, *, terms=1, kernel=3, **fields):
    maps, masks = terms_of(rng, terms, masked=True)
    shape = (terms, out, channels, kernel, kernel)
    return Layer(rng.integers(-128, 128, shape), maps, masks, pad=(kernel // 2,) * 2, **fields)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("channels", "out", "size", "kernel"), [(16, 16, 32, 3), (40, 72, 9, 3), (24, 144, 40, 1)]
)
def test_threads_and_bands_do_not_change_the_result(isa, channels, out, size, kernel):
    rng = np.random.default_rng(1)
    layer = simple_layer(rng, channels, out, terms=2, kernel=kernel)
    x = activations(rng, (5, channels, size, size), "nhwc")
    right = expected(layer, x)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(run(layer, isa, x, threads=threads), right)
    np.testing.assert_array_equal(run(layer, isa, x[3:4]), right[3:4])


@pytest.mark.parametrize("isa", ISAS)
@each("depthwise", [False, True])
@each("weight", [-128, 127])
def test_extreme_products_do_not_saturate(isa, depthwise, weight):
    channels = 64
    shape = (4, channels, 1 if depthwise else channels, 3, 3)
    layer = Layer(
        np.full(shape, weight),
        np.tile(CODES.astype(np.uint8), (4, 1)),
        np.full(4, 255, np.int16),
        groups=channels if depthwise else 1,
        depthwise=depthwise,
    )
    x = np.full((1, channels, 6, 6), 255, np.float32)
    result = run(layer, isa, x, zero_point=0)
    np.testing.assert_array_equal(result, expected(layer, x, zero_point=0))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("taps", [(7, 7, 6), (1, 65, 1), (9, 9, 1)])
def test_depthwise_kernels_of_many_taps(isa, taps):
    *kernel, terms = taps
    rng = np.random.default_rng(2)
    maps, masks = terms_of(rng, terms, masked=None)
    weights = rng.integers(-128, 128, (terms, 70, 1, *kernel))
    layer = Layer(weights, maps, masks, groups=70, depthwise=True)
    x = activations(rng, (1, 70, kernel[0] + 1, kernel[1] + 2), "nhwc")
    np.testing.assert_array_equal(run(layer, isa, x), expected(layer, x))


# Every instruction set treats these alike: NaN, values beyond int32, values between two codes.
EDGES = np.array(
    [np.nan, -np.nan, np.inf, -np.inf, 3e38, -3e38, 3e9, -3e9, 2.0**31, -(2.0**31), 1e-42, -0.0]
    + [k / 2 for k in range(-600, 600)],
    np.float32,
)


@pytest.mark.parametrize("isa", ISAS)
@each("zero_point", [0, 1, 128, 255])
@each("n", [1, 7, 15, 16, 33, 1212])
def test_quantises_every_float(isa, zero_point, n):
    identity = CODES.astype(np.uint8)[None]
    layer = Layer(np.ones((1, 1, 1, 1, 1), int), identity, np.array([255], np.int16))
    x = EDGES.reshape(1, 1, 1, -1)
    right = expected(layer, x, zero_point=zero_point)
    op = operation(layer, isa)
    for part in (slice(first, first + n) for first in range(0, EDGES.size, n)):
        result = run(layer, isa, x[..., part], zero_point=zero_point, op=op)
        np.testing.assert_array_equal(result, right[:, :, part])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("aligned", [True, False])
def test_results_too_large_for_the_caches(isa, aligned):
    """At 16 MB and more whole cache lines are streamed; elsewhere results are stored as usual."""
    rng = np.random.default_rng(3)
    layer = simple_layer(rng, 1, 256, kernel=1, relu=True)
    x = activations(rng, (2, 1, 91, 91), "nchw")
    room = np.zeros(2 * 91 * 91 * 256 + 32, np.float32)
    start = -room.ctypes.data // 4 % 16 + (0 if aligned else 4)
    out = room[start:][: 2 * 91 * 91 * 256].reshape(2, 91, 91, 256)
    assert out.nbytes >= 16 << 20
    operation(layer, isa).run(2, x, 1.0, 128, out, (0.0, np.inf))
    np.testing.assert_array_equal(out, expected(layer, x))


@pytest.mark.parametrize("isa", ISAS)
def test_infinite_scales_give_the_same_nan(isa):
    rng = np.random.default_rng(4)
    layer = simple_layer(rng, 3, 21, relu=True)
    layer.scale[::2] = np.inf
    layer.offset[:] = 0
    x = np.full((1, 3, 4, 4), -300, np.float32)  # all codes and sums are 0
    layer.bias[1::2] = -0.0
    result = run(layer, isa, x, zero_point=0)
    assert np.isnan(result[..., ::2]).all()
    assert (result[..., 1::2] == 0).all()
    assert np.signbit(result[..., 1::2]).sum() == 0  # 0 * scale + -0.0 is +0.0
