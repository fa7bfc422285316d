"""Inputs of a generator of digits: normal numbers and the digit to generate."""

import numpy as np
import torch

from axopt.data.dataset import Dataset, Split
from axopt.data.registry import register_reader

LATENT = 32
DIGITS = 10
_SIZES = (4000, 2000, 2000)  # train, validation, test
_SEED = 5
_STEP = 2.0**-10  # coarser than the last bits of a logarithm, which differ between machines


@register_reader("latents")
def read_latents() -> Dataset:
    """Return 8,000 samples ``(42,)`` float32, computed from a fixed seed.

    A sample holds 32 independent standard normal numbers, rounded to 1/1024, and the digit in
    one-hot form. Targets are the digits, 0..9 in turn.
    """
    n = sum(_SIZES)
    normal = np.random.RandomState(_SEED).standard_normal((n, LATENT))  # a frozen stream
    digits = np.arange(n) % DIGITS
    stored = np.concatenate([np.round(normal / _STEP) * _STEP, np.eye(DIGITS)[digits]], axis=1)
    samples, targets = torch.from_numpy(stored.astype(np.float32)), torch.from_numpy(digits)
    ends = np.cumsum(_SIZES)
    train, validation, test = (
        Split(samples[end - size : end], targets[end - size : end])
        for size, end in zip(_SIZES, ends, strict=True)
    )
    classes = tuple(str(digit) for digit in range(DIGITS))
    return Dataset("latents", "latents", train, validation, test, classes)
