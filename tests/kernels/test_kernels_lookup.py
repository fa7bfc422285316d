"""Every look-up method on every instruction set equals the numpy reference."""

import numpy as np
import pytest
from grid import each
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS, codes, examples, expected_sums, signed_table, unsigned_table

from axopt.kernels import PackedTable, force_isa
from axopt.kernels.dispatch import active_index
from axopt.kernels.operations import Epilogue, Window, table_operation
from axopt.kernels.reference import gemm_reference

METHODS = ("rows", "pixel_lanes", "channel_lanes")
pytestmark = pytest.mark.parametrize("method", METHODS)


def exact_size(array):
    """A copy in memory of its own, so that an address sanitizer sees a read behind its end."""
    return np.frombuffer(bytearray(array.tobytes()), array.dtype).reshape(array.shape)


def out_size(x, w, stride, dilation, pad):
    return tuple(
        (size + 2 * p - (kernel - 1) * d - 1) // s + 1
        for size, kernel, s, d, p in zip(
            x.shape[2:], w.shape[2:], stride, dilation, pad, strict=True
        )
    )


def sums_of(x, w, table, method, *, pad=(0, 0), pad_code=0, threads=1, **steps):
    """Run on codes; (images, out channels, out height, out width) int32."""
    size = out_size(x, w, steps["stride"], steps["dilation"], pad)
    out = np.full((len(x), *size, len(w)), 0x55555555, np.int32)
    window = Window(steps["stride"], pad, steps["dilation"], steps["groups"])
    operation = table_operation(PackedTable.of(table), w, window, active_index(), method)
    operation.run(threads, x, 1.0, pad_code, out)
    return out.transpose(0, 3, 1, 2)


def expected(x, w, table, *, pad=(0, 0), pad_code=0, **steps):
    around = [(0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2]
    padded = np.pad(x, around, constant_values=pad_code)
    return expected_sums(padded, w, table, **steps)


@st.composite
def cases(draw):
    small = st.integers(1, 3)
    groups = draw(st.sampled_from([1, 1, 1, 2, 5, 17, 70]))
    kernel = draw(st.tuples(small, small))
    dilation = draw(st.tuples(small, small))
    pad = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    most = 40 if groups == 1 else 4
    channels, out_channels = (draw(st.integers(1, most)) for _ in range(2))
    image = [
        max(1, (k - 1) * d + 1 - 2 * p) + draw(st.integers(0, 12))
        for k, d, p in zip(kernel, dilation, pad, strict=True)
    ]
    return {
        "x": (draw(small), groups * channels, *image),
        "w": (groups * out_channels, channels, *kernel),
        "stride": draw(st.tuples(small, small)),
        "dilation": dilation,
        "groups": groups,
        "pad": pad,
        "pad_code": draw(st.sampled_from([0, 1, 128, 255])),
        "threads": draw(small),
    }


@pytest.mark.parametrize("isa", ISAS)
@given(
    case=cases(),
    last=st.booleans(),
    code_range=st.sampled_from([(0, 256), (128, 256), (0, 128), (100, 103)]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=examples(8), deadline=None)
def test_any_convolution(isa, method, case, last, code_range, seed):
    rng = np.random.default_rng(seed)
    x_shape, w_shape, threads = case.pop("x"), case.pop("w"), case.pop("threads")
    table = signed_table(rng)
    x = exact_size(codes(rng, *x_shape, low=code_range[0], high=code_range[1]))
    if last:
        x = exact_size(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    w = codes(rng, *w_shape)
    with force_isa(isa):
        result = sums_of(x, w, table, method, threads=threads, **case)
    np.testing.assert_array_equal(result, expected(x, w, table, **case))


@pytest.mark.parametrize("isa", ISAS)
@each("channels", [1, 15, 16, 17, 31, 33, 65, 255, 257])
def test_blocks_of_output_channels(isa, method, channels, rng):
    table = unsigned_table(rng)
    x, w = codes(rng, 2, 9, 4, 5), codes(rng, channels, 9, 2, 2)
    steps = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
    with force_isa(isa):
        result = sums_of(x, w, table, method, **steps)
    np.testing.assert_array_equal(result, expected(x, w, table, **steps))


@pytest.mark.parametrize("isa", ISAS)
@each("depth", [1, 7, 8, 9, 128, 129, 257, 1153])
def test_depths(isa, method, depth, rng):
    """Around the taps of product rows and the 16-bit sums of a tile, with the largest entries."""
    table = unsigned_table(rng)
    table[255, 255] = 2**16 - 1
    steps = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
    packed = PackedTable.of(table)
    for x, w in (
        (codes(rng, 1, depth, 1, 67), codes(rng, 19, depth, 1, 1)),
        (codes(rng, 1, depth, 1, 3, low=255), codes(rng, 5, depth, 1, 1, low=255)),
    ):
        with force_isa(isa):
            result = sums_of(x, w, table, method, **steps)
        pixels = x[0, :, 0].T
        products = gemm_reference(pixels, w.reshape(len(w), -1), table)
        np.testing.assert_array_equal(result[0, :, 0].T, products)
    assert packed.k_max >= depth


@pytest.mark.parametrize("isa", ISAS)
@each("width", [1, 63, 65, 255, 257, 700])
def test_long_lines(isa, method, width, rng):
    table = signed_table(rng)
    x, w = codes(rng, 1, 2, 3, width + 2), codes(rng, 3, 2, 3, 3)
    steps = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
    with force_isa(isa):
        result = sums_of(x, w, table, method, **steps)
    np.testing.assert_array_equal(result, expected(x, w, table, **steps))


@pytest.mark.parametrize("isa", ISAS)
def test_bands_of_many_small_and_of_large_maps(isa, method, rng):
    table = signed_table(rng)
    for images, size in ((100, 7), (1, 80)):
        x, w = codes(rng, images, 3, size, size), codes(rng, 18, 3, 3, 3)
        steps = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, "pad": (1, 1)}
        with force_isa(isa):
            results = [
                sums_of(x, w, table, method, pad_code=9, threads=n, **steps) for n in (1, 2, 3)
            ]
            halves = [
                sums_of(part, w, table, method, pad_code=9, **steps)
                for part in np.array_split(x, 3)
                if len(part)
            ]
        np.testing.assert_array_equal(results[0], expected(x, w, table, pad_code=9, **steps))
        np.testing.assert_array_equal(results[1], results[0])
        np.testing.assert_array_equal(results[2], results[0])
        np.testing.assert_array_equal(np.concatenate(halves), results[0])


@pytest.mark.parametrize("isa", ISAS)
def test_few_pixels_are_shared_among_threads_by_channels(isa, method, rng):
    table = signed_table(rng)
    x, w = codes(rng, 1, 64, 6, 5), codes(rng, 300, 64, 3, 3)
    steps = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, "pad": (1, 1)}
    with force_isa(isa):
        results = [
            sums_of(x, w, table, method, threads=threads, **steps) for threads in (1, 2, 3, 4)
        ]
    np.testing.assert_array_equal(results[0], expected(x, w, table, **steps))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def quantised(x, inverse_scale, zero_point):
    steps = np.rint(x * np.float32(inverse_scale))
    return np.clip(steps + zero_point, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("isa", ISAS)
@each("relu", [False, True])
@each(
    "channels, out_channels, groups",
    [(5, 37, 1), (6, 4, 2), (12, 36, 3), (72, 72, 72), (70, 140, 70)],
)
def test_floats_to_values(isa, method, relu, channels, out_channels, groups, rng):
    """(sum + offset - zero_point * (sum of the window's codes)) * scale + bias, in float32."""
    table, packed_zero, inverse_scale = unsigned_table(rng), 77, 31.0
    x = rng.normal(0, 3, (3, channels, 10, 9)).astype(np.float32)
    w = codes(rng, out_channels, channels // groups, 3, 2)
    offset = rng.integers(-(10**6), 10**6, out_channels, np.int32)
    zero_point = rng.integers(0, 256, out_channels, np.int32)
    scale, bias = rng.normal(0, 1, (2, out_channels)).astype(np.float32)
    steps = {"stride": (2, 1), "dilation": (1, 2), "groups": groups}
    pad = (1, 2)

    a = quantised(x, inverse_scale, packed_zero)
    sums = expected(a, w, table, pad=pad, pad_code=packed_zero, **steps)
    ones = np.tile(np.arange(256)[:, None], 256)
    windows = expected(a, w, ones, pad=pad, pad_code=packed_zero, **steps)
    for zeros in (zero_point, None):
        per_channel = (slice(None), None, None)
        total = sums + offset[per_channel]
        if zeros is not None:
            total = total - zeros[per_channel] * windows
        wrapped = total.astype(np.uint32).astype(np.int32)
        values = wrapped.astype(np.float32) * scale[per_channel] + bias[per_channel]
        values = np.maximum(values, 0) if relu else values
        for source in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
            out = np.full(values.transpose(0, 2, 3, 1).shape, np.nan, np.float32)
            window = Window((2, 1), pad, (1, 2), groups)
            epilogue = Epilogue(offset, zeros, scale, bias)
            options = (inverse_scale, packed_zero, out, (0.0 if relu else -np.inf, np.inf))
            with force_isa(isa):
                packed = PackedTable.of(table)
                table_operation(packed, w, window, active_index(), method, epilogue).run(
                    2, source, *options
                )
            np.testing.assert_array_equal(out.transpose(0, 3, 1, 2), values)


@pytest.mark.parametrize("isa", ISAS)
def test_one_operation_serves_any_batch(isa, method, rng):
    table = PackedTable.of(signed_table(rng))
    w = codes(rng, 20, 4, 3, 3)
    with force_isa(isa):
        operation = table_operation(table, w, Window(), active_index(), method)
    x = codes(rng, 7, 4, 8, 8)
    out = np.empty((7, 6, 6, 20), np.int32)
    operation.run(2, x, 1.0, 0, out)
    for i in range(7):
        alone = np.empty((1, 6, 6, 20), np.int32)
        operation.run(1, x[i : i + 1], 1.0, 0, alone)
        np.testing.assert_array_equal(alone[0], out[i])
