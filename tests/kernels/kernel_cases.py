"""What several kernel tests share: the instruction sets to run and random operands."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from axopt import _lut_gemm

CODES = np.arange(256, dtype=np.uint8)

RUN_HERE = {name for name, supported in _lut_gemm.instruction_sets() if supported}
ISAS = [
    pytest.param(
        name, marks=pytest.mark.skipif(not supported, reason=f"this processor has no {name}")
    )
    for name, supported in _lut_gemm.instruction_sets()
]
ODD_SIZES = (1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 255)


def signed_table(rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(-(2**15), 2**15, (256, 256))


def unsigned_table(rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(0, 2**16, (256, 256))


def exact_signed_table() -> NDArray[np.int64]:
    values = np.arange(-128, 128)
    return np.multiply.outer(values, values)


def codes(
    rng: np.random.Generator, *shape: int, low: int = 0, high: int = 256
) -> NDArray[np.uint8]:
    return rng.integers(low, high, shape, dtype=np.uint8)


def tensor(array: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(array)
