"""What several kernel tests share: the instruction sets to run and random operands."""

import functools
import hashlib

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from torch import Tensor

from axopt import _lut_gemm
from axopt.kernels.reference import conv2d_reference

CODES = np.arange(256, dtype=np.uint8)

RUN_HERE = {name for name, supported in _lut_gemm.instruction_sets() if supported}
ISAS = [
    pytest.param(
        name, marks=pytest.mark.skipif(not supported, reason=f"this processor has no {name}")
    )
    for name, supported in _lut_gemm.instruction_sets()
]
ODD_SIZES = (1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 255)


def examples(number: int) -> int:
    """How many examples hypothesis draws: ``number``, or more in the profile "thorough"."""
    return number * settings.default.max_examples // 100


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


class Hashed:
    """An array that is a key by its content."""

    def __init__(self, array: NDArray) -> None:
        self.array = array
        content = hashlib.blake2b(array.tobytes()).digest()
        self._key = array.dtype.str, array.shape, content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashed) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@functools.lru_cache(maxsize=512)
def _remembered(x: Hashed, w: Hashed, table: Hashed, **steps: object) -> NDArray[np.int64]:
    if x.array.shape[1:] == w.array.shape[1:]:  # one window: deep ones take the reference long
        rows, columns = (array.reshape(len(array), -1) for array in (x.array, w.array))
        entries = table.array[rows[:, None], columns[None]]
        sums = entries.sum(-1, dtype=np.int64)[..., None, None]
    else:
        sums = conv2d_reference(x.array, w.array, table.array, **steps)
    sums.flags.writeable = False
    return sums


def expected_sums(
    x: NDArray[np.uint8], w: NDArray[np.uint8], table: NDArray[np.integer], **steps: object
) -> NDArray[np.int64]:
    """`conv2d_reference`, once for all instruction sets and methods that get the same operands."""
    return _remembered(Hashed(x), Hashed(w), Hashed(table), **steps)
