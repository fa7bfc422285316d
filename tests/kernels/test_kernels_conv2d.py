"""conv2d_codes equals the numpy reference, and torch's convolution for the exact table."""

import numpy as np
import pytest
import torch
from grid import each
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    ISAS,
    codes,
    exact_signed_table,
    examples,
    expected_sums,
    signed_table,
    tensor,
)

from axopt.kernels import PackedTable, conv2d_codes, force_isa, gemm_codes

EXACT = PackedTable.of(exact_signed_table())


def conv2d_float64(x, w, **steps):
    """The exact convolution of the codes' signed values (all sums are below 2^53)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine torch's threads wait on each other for long
    values = torch.nn.functional.conv2d(x.double() - 128, w.double() - 128, **steps)
    torch.set_num_threads(threads)
    return values.to(torch.int32)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("groups", [1, 2, 6], ids=["dense", "grouped", "depthwise"])
@each("kernel", [(1, 1), (3, 3), (2, 5)])
@each("stride", [(1, 1), (2, 1), (3, 2)])
@each("dilation", [(1, 1), (1, 2), (2, 2)])
def test_steps_and_groups_against_the_reference(isa, kernel, stride, dilation, groups, rng):
    table = signed_table(rng)
    x, w = codes(rng, 2, 6, 11, 12), codes(rng, 6, 6 // groups, *kernel)
    steps = {"stride": stride, "dilation": dilation, "groups": groups}
    with force_isa(isa):
        result = conv2d_codes(tensor(x), tensor(w), PackedTable.of(table), **steps)
    np.testing.assert_array_equal(result.numpy(), expected_sums(x, w, table, **steps))


@st.composite
def convolutions(draw):
    size = st.integers(1, 3)
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(size, size))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    image = [e + draw(st.integers(0, 30)) for e in extent]
    x_shape = (draw(st.integers(1, 5)), groups * draw(size), *image)
    w_shape = (groups * draw(size), x_shape[1] // groups, *kernel)
    return x_shape, w_shape, (draw(size), draw(size)), dilation, groups


@pytest.mark.parametrize("isa", ISAS)
@given(case=convolutions(), half=st.booleans(), seed=st.integers(0, 2**32))
@settings(max_examples=examples(20), deadline=None)
def test_any_convolution_with_the_exact_table_equals_torch(isa, case, half, seed):
    x_shape, w_shape, stride, dilation, groups = case
    rng = np.random.default_rng(seed)
    x = tensor(codes(rng, *x_shape, low=128 if half else 0))
    w = tensor(codes(rng, *w_shape))
    steps = {"stride": stride, "dilation": dilation, "groups": groups}
    with force_isa(isa):
        result = conv2d_codes(x, w, EXACT, **steps)
    assert torch.equal(result, conv2d_float64(x, w, **steps))


@pytest.mark.parametrize("isa", ISAS)
@each("size", [1, 3, 4, 7, 8, 15, 16, 31, 33, 64, 65, 100])
def test_lines_of_every_length(isa, size, rng):
    x, w = tensor(codes(rng, 3, 2, 5, size + 2)), tensor(codes(rng, 4, 2, 3, 3))
    with force_isa(isa):
        result = conv2d_codes(x, w, EXACT)
    assert torch.equal(result, conv2d_float64(x, w))


@pytest.mark.parametrize("isa", ISAS)
def test_deep_layer_with_many_small_maps(isa, rng):
    """K = 1,152 takes several tiles of products, 25 maps of 8x8 several tiles of rows."""
    x, w = tensor(codes(rng, 25, 128, 10, 10)), tensor(codes(rng, 20, 128, 3, 3))
    with force_isa(isa):
        result = conv2d_codes(x, w, EXACT)
    assert torch.equal(result, conv2d_float64(x, w))


@pytest.mark.parametrize("isa", ISAS)
def test_pointwise_convolution_is_a_matrix_product(isa, rng):
    table = PackedTable.of(signed_table(rng))
    x, w = tensor(codes(rng, 3, 20, 9, 13)), tensor(codes(rng, 11, 20, 1, 1))
    with force_isa(isa):
        result = conv2d_codes(x, w, table)
        rows = gemm_codes(x.permute(0, 2, 3, 1).reshape(-1, 20), w.reshape(11, 20), table)
    assert torch.equal(result.permute(0, 2, 3, 1).reshape(-1, 11), rows)


def test_any_memory_format(rng):
    x, w = tensor(codes(rng, 2, 6, 9, 9)), tensor(codes(rng, 4, 6, 3, 3))
    expected = conv2d_codes(x, w, EXACT)
    last = torch.channels_last
    result = conv2d_codes(
        x.to(memory_format=last), w.contiguous(memory_format=last), EXACT, stride=(1, 1)
    )
    assert result.is_contiguous(memory_format=last)
    assert torch.equal(result, expected)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "out_shape"),
    [
        ((0, 3, 8, 8), (4, 3, 3, 3), (0, 4, 6, 6)),
        ((2, 3, 8, 8), (0, 3, 3, 3), (2, 0, 6, 6)),
        ((2, 0, 8, 8), (4, 0, 3, 3), (2, 4, 6, 6)),
    ],
)
def test_empty_axes_give_zeros(x_shape, w_shape, out_shape, rng):
    result = conv2d_codes(tensor(codes(rng, *x_shape)), tensor(codes(rng, *w_shape)), EXACT)
    assert result.dtype == torch.int32
    assert result.shape == out_shape
    assert not result.any()
