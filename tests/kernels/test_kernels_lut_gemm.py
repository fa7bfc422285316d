"""lut_gemm: operand values in, as a user has them."""

import numpy as np
import pytest
import torch

from axopt.errors import AccumulatorError, ArgumentError
from axopt.kernels import lut_gemm


def by_hand(a, w, multiplier):
    """The definition, product by product."""
    zero = 128 if multiplier.signed else 0
    table = multiplier.table
    return [
        [sum(int(table[int(x) + zero, int(y) + zero]) for x, y in zip(row, column, strict=True))
         for column in np.asarray(w).T]
        for row in np.asarray(a)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1KVL", "mul8u_1JFF", "mul8u_2P7"])
def test_equals_the_definition(name, library, rng):
    multiplier = library[name]
    low = -128 if multiplier.signed else 0
    a, w = rng.integers(low, low + 256, (5, 7)), rng.integers(low, low + 256, (7, 3))
    result = lut_gemm(a, w, multiplier)
    assert result.dtype == np.int32
    assert result.tolist() == by_hand(a, w, multiplier)


def test_exact_multipliers_multiply_matrices(library, rng):
    for signed, low in ((True, -128), (False, 0)):
        a, w = rng.integers(low, low + 256, (9, 300)), rng.integers(low, low + 256, (300, 11))
        np.testing.assert_array_equal(lut_gemm(a, w, library.exact(signed)), a @ w)


def test_corners_of_the_signed_range(library):
    exact = library.exact(True)
    a, w = np.array([[-128], [127]]), np.array([[-128, 127, 0]])
    assert lut_gemm(a, w, exact).tolist() == [[16384, -16256, 0], [-16256, 16129, 0]]


def test_first_operand_indexes_rows(library):
    multiplier = next(m for m in library.values() if m.signed and not m.is_commutative)
    i, j = np.argwhere(multiplier.table != multiplier.table.T)[0] - 128
    assert lut_gemm([[i]], [[j]], multiplier).item() == multiplier.table[i + 128, j + 128]


def test_any_kind_of_integer_array(library, rng):
    multiplier = library["mul8s_1KVL"]
    a, w = rng.integers(-128, 128, (4, 6)), rng.integers(-128, 128, (6, 5))
    expected = lut_gemm(a, w, multiplier)
    read_only = a.astype(np.int8)
    read_only.flags.writeable = False
    backwards = np.flip(a.astype(np.int8), 1).copy()[:, ::-1]
    for same in (read_only, backwards, a.astype(">i2"), torch.from_numpy(a), a.tolist()):
        np.testing.assert_array_equal(lut_gemm(same, w, multiplier), expected)


def test_empty_matrices(library):
    result = lut_gemm(np.zeros((2, 0), int), np.zeros((0, 3), int), library.exact(True))
    assert result.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("a", "w", "signed", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 3), int), True, r"got \(2, 3\) and \(2, 3\)"),
        (np.zeros(3, int), np.zeros((3, 1), int), True, r"`a` must be a matrix .* \(3,\)"),
        (np.zeros((2, 3)), np.zeros((3, 1), int), True, "`a` must be .* float64"),
        (np.zeros((2, 3), int), np.zeros((3, 1), bool), True, "`w` must be .* bool"),
        (np.full((1, 1), 128), np.zeros((1, 1), int), True, "-128..127 for a signed .* 128"),
        (np.zeros((1, 1), int), np.full((1, 1), -129), True, "`w` must lie in -128..127"),
        (np.full((1, 1), -1), np.zeros((1, 1), int), False, "0..255 for an unsigned"),
        (np.full((1, 1), 2**64 - 1, np.uint64), np.zeros((1, 1), int), False, "0..255"),
    ],
)
def test_wrong_operands_are_refused(a, w, signed, message, library):
    with pytest.raises(ArgumentError, match=message):
        lut_gemm(a, w, library.exact(signed))


def test_sums_that_may_overflow_are_refused(library):
    k = (2**31 - 1) // 255**2 + 1
    with pytest.raises(AccumulatorError, match=f"K = {k} "):
        lut_gemm(np.zeros((1, k), int), np.zeros((k, 1), int), library.exact(False))
