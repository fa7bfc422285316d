"""gemm_codes on every instruction set equals the numpy reference, entry for entry."""

import numpy as np
import pytest
import torch
from grid import each
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    CODES,
    ISAS,
    ODD_SIZES,
    RUN_HERE,
    codes,
    examples,
    signed_table,
    tensor,
    unsigned_table,
)

from axopt import _lut_gemm
from axopt.errors import AccumulatorError
from axopt.kernels import PackedTable, force_isa, gemm_codes
from axopt.kernels.reference import gemm_reference

ALL_CODES = tensor(CODES[:, None].copy())
RANGES = [(0, 256), (0, 128), (128, 256), (127, 129)]
"""Codes in both halves of the table, the low, the high, and around the boundary."""


def test_baseline_kernels_run_on_this_machine():
    assert {"reference", "portable"} <= RUN_HERE


@pytest.mark.parametrize("isa", ISAS)
@each("make_table", [signed_table, unsigned_table])
def test_every_product_of_random_tables(isa, make_table, rng):
    for _ in range(5):
        table = make_table(rng)
        with force_isa(isa):
            products = gemm_codes(ALL_CODES, ALL_CODES, PackedTable.of(table))
        np.testing.assert_array_equal(products.numpy(), table)


@pytest.mark.parametrize("isa", ISAS)
def test_every_product_of_every_bundled_multiplier(isa, library):
    for multiplier in library.values():
        table = PackedTable.of(multiplier.table)
        with force_isa(isa):
            products = gemm_codes(ALL_CODES, ALL_CODES, table).numpy()
            halves = [gemm_codes(half, ALL_CODES, table) for half in ALL_CODES.chunk(2)]
        np.testing.assert_array_equal(products, multiplier.table, err_msg=multiplier.key)
        np.testing.assert_array_equal(torch.cat(halves).numpy(), products)


@pytest.mark.parametrize("isa", ISAS)
@each("code_range", RANGES)
def test_odd_shapes(isa, code_range, rng):
    table = signed_table(rng)
    packed = PackedTable.of(table)
    for _ in range(40):
        m, n, k = rng.choice(ODD_SIZES, 3)
        a = codes(rng, m, k, low=code_range[0], high=code_range[1])
        w = codes(rng, n, k)
        with force_isa(isa):
            result = gemm_codes(tensor(a), tensor(w), packed)
        np.testing.assert_array_equal(result.numpy(), gemm_reference(a, w, table))


@pytest.mark.parametrize("isa", ISAS)
@each("k", [127, 128, 129, 255, 256, 257, 258, 511, 513, 4097])
@each("worst", [False, True])
def test_depths_around_the_16_bit_sums(isa, k, worst, rng):
    table = unsigned_table(rng)
    table[255, 255] = 2**16 - 1
    a = np.full((70, k), 255, np.uint8) if worst else codes(rng, 70, k)
    w = np.full((3, k), 255, np.uint8) if worst else codes(rng, 3, k)
    with force_isa(isa):
        result = gemm_codes(tensor(a), tensor(w), PackedTable.of(table))
    np.testing.assert_array_equal(result.numpy(), gemm_reference(a, w, table))


@pytest.mark.parametrize("isa", ISAS)
@each(
    "entry, others, k_max",
    [(65535, 0, 32768), (65535, 65535, 32768), (-32768, 32767, 65535), (-32768, 0, 65535)],
)
def test_largest_sums_fit_int32(isa, entry, others, k_max):
    table = np.full((256, 256), others)
    table[255, 255] = entry
    packed = PackedTable.of(table)
    assert packed.k_max == k_max
    full = torch.full((9, k_max + 1), 255, dtype=torch.uint8)
    with force_isa(isa):
        result = gemm_codes(full[:, :k_max], full[:2, :k_max], packed)
        with pytest.raises(AccumulatorError, match=f"K = {k_max + 1} .* K <= {k_max}"):
            gemm_codes(full, full[:2], packed)
    assert set(result.flatten().tolist()) == {entry * k_max}


@pytest.mark.parametrize("isa", ISAS)
@given(
    m=st.integers(1, 600), n=st.integers(1, 40), k=st.integers(1, 150), seed=st.integers(0, 2**32)
)
@settings(max_examples=examples(20), deadline=None)
def test_any_shape(isa, m, n, k, seed):
    rng = np.random.default_rng(seed)
    table = unsigned_table(rng)
    a, w = codes(rng, m, k), codes(rng, n, k)
    with force_isa(isa):
        result = gemm_codes(tensor(a), tensor(w), PackedTable.of(table))
    np.testing.assert_array_equal(result.numpy(), gemm_reference(a, w, table))


@pytest.mark.parametrize("isa", ISAS)
def test_more_channels_than_a_tile_keeps(isa, rng):
    table = signed_table(rng)
    a, w = codes(rng, 3, 20), codes(rng, 700, 20)
    with force_isa(isa):
        result = gemm_codes(tensor(a), tensor(w), PackedTable.of(table))
    np.testing.assert_array_equal(result.numpy(), gemm_reference(a, w, table))


@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_empty_axes_give_zeros(m, n, k, rng):
    result = gemm_codes(
        tensor(codes(rng, m, k)), tensor(codes(rng, n, k)), PackedTable.of(signed_table(rng))
    )
    assert result.dtype == torch.int32
    assert result.tolist() == [[0] * n] * m


@pytest.mark.parametrize("isa", ISAS)
def test_strides_and_misaligned_operands(isa, rng):
    table = PackedTable.of(signed_table(rng))
    a, w = tensor(codes(rng, 40, 30)), tensor(codes(rng, 6, 30))
    with force_isa(isa):
        expected = gemm_codes(a, w, table)
        transposed = gemm_codes(a.T.contiguous().T, w.flip(1).flip(1), table)
        every_other = gemm_codes(a.repeat_interleave(2, 1)[:, ::2], w, table)
        repeated = gemm_codes(a[:1].expand(40, 30), w, table)
        for offset in range(1, 64):
            memory = torch.zeros(a.numel() + offset, dtype=torch.uint8)
            moved = memory[offset:].view(a.shape).copy_(a)
            assert torch.equal(gemm_codes(moved, w, table), expected)
    assert torch.equal(transposed, expected)
    assert torch.equal(every_other, expected)
    assert torch.equal(repeated, expected[:1].expand(40, 6))


@pytest.mark.parametrize("k", [1, 7, 8, 9, 27])
def test_scalar_baseline_of_the_bench(k, rng):
    table = signed_table(rng)
    packed = PackedTable.of(table)
    a, w, out = codes(rng, 13, k), codes(rng, 5, k), np.empty((13, 5), np.int32)
    operands = a.astype(np.int32), w.astype(np.int32)
    _lut_gemm.scalar_gemm(packed.columns, packed.bias, *operands, out)
    np.testing.assert_array_equal(out, gemm_reference(a, w, table))
