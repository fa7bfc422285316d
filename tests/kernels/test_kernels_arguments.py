"""Wrong arguments are refused by name, rule and value before any kernel runs."""

import numpy as np
import pytest
import torch
from kernel_cases import exact_signed_table

from axopt.errors import AccumulatorError, ArgumentError
from axopt.kernels import PackedTable, conv2d_codes, gemm_codes

EXACT = PackedTable.of(exact_signed_table())


def zeros(*shape, dtype=torch.uint8):
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("a", "w", "message"),
    [
        (zeros(2, 3, dtype=torch.int8), zeros(2, 3), "`a` must be .* uint8 .* got torch.int8"),
        (zeros(2, 3), zeros(2, 3, dtype=torch.float32), "`w` must be"),
        (zeros(2, 3, 1), zeros(2, 3), r"2 axes, got torch.uint8 \(2, 3, 1\)"),
        (zeros(2, 3).to("meta"), zeros(2, 3), "on meta"),
        (zeros(2, 3).to_sparse(), zeros(2, 3), "dense"),
        (np.zeros((2, 3), np.uint8), zeros(2, 3), "torch.Tensor, got ndarray"),
        (zeros(2, 3), zeros(2, 4), "last axis, got 3 and 4"),
    ],
)
def test_gemm_operands(a, w, message):
    with pytest.raises(ArgumentError, match=message):
        gemm_codes(a, w, EXACT)


@pytest.mark.parametrize(
    ("x", "w", "steps", "message"),
    [
        (zeros(3, 8, 8), zeros(2, 3, 3, 3), {}, "`x` must be .* 4 axes"),
        (
            zeros(1, 3, 8, 8),
            zeros(2, 3, 3, 3, dtype=torch.int32),
            {},
            r"`w` must be .* uint8 .* got torch\.int32",
        ),
        (zeros(1, 3, 8, 8), zeros(2, 2, 3, 3), {}, "`groups` = 1"),
        (zeros(1, 4, 8, 8), zeros(3, 2, 3, 3), {"groups": 2}, "`groups` = 2"),
        (zeros(1, 4, 8, 8), zeros(4, 4, 3, 3), {"groups": 0}, "`groups` must be .* got 0"),
        (zeros(1, 4, 8, 8), zeros(4, 4, 3, 3), {"groups": 1.0}, "`groups` must be .* got 1.0"),
        (zeros(1, 1, 8, 8), zeros(1, 1, 3, 3), {"stride": (0, 1)}, r"`stride` .* got \(0, 1\)"),
        (zeros(1, 1, 8, 8), zeros(1, 1, 3, 3), {"stride": 2}, "`stride` .* got 2"),
        (zeros(1, 1, 8, 8), zeros(1, 1, 3, 3), {"stride": (1, 2**31)}, "`stride`"),
        (zeros(1, 1, 8, 8), zeros(1, 1, 3, 3), {"dilation": (1, -1)}, "`dilation`"),
        (zeros(1, 1, 8, 8), zeros(1, 1, 3, 3), {"dilation": (1, 4)}, "3 x 9 .* got 8 x 8"),
        (zeros(1, 1, 2, 8), zeros(1, 1, 3, 3), {}, "at least 3 x 3 with its padding, .*got 2 x 8"),
        (zeros(1, 1, 8, 8), zeros(1, 1, 0, 3), {}, r"kernel of at least 1 x 1, got \(0, 3\)"),
    ],
)
def test_conv2d_arguments(x, w, steps, message):
    with pytest.raises(ArgumentError, match=message):
        conv2d_codes(x, w, EXACT, **steps)


def test_conv2d_counts_the_products_of_a_window():
    table = np.zeros((256, 256), np.int32)
    table[0, 0] = 65535
    packed = PackedTable.of(table)
    x, w = zeros(1, 2, 128, 129), zeros(1, 2, 128, 129)
    with pytest.raises(AccumulatorError, match="K = 33024 .* K <= 32768"):
        conv2d_codes(x, w, packed)
    largest = conv2d_codes(x[..., :128], w[..., :128], packed)
    assert largest.item() == 65535 * 32768


def test_results_beyond_memory():
    with pytest.raises(ArgumentError, match=r"2\*\*63"):
        gemm_codes(zeros(2**40, 0), zeros(2**40, 0), EXACT)
    with pytest.raises(MemoryError, match="result"):
        gemm_codes(zeros(2**24, 0), zeros(2**24, 0), EXACT)


def test_activations_are_never_copied_as_a_whole():
    huge = zeros(1, 1, 1, 1).expand(1, 1, 2**25, 2**25)
    result = conv2d_codes(huge, zeros(1, 1, 1, 1), EXACT, stride=(2**24, 2**24))
    assert result.flatten().tolist() == [128 * 128] * 4
