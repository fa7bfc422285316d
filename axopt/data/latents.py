"""What a generator of digits takes: points of a normal distribution with the digit asked for."""

import numpy as np
import torch

from axopt.data.dataset import Dataset, Split
from axopt.data.registry import register_reader

LATENT = 32
DIGITS = 10
_SIZES = (4000, 2000, 2000)  # train, validation, test
_SEED = 5
_STEP = 2.0**-10  # a machine's last bits of a logarithm are rounded away


@register_reader("latents")
def read_latents() -> Dataset:
    """8,000 samples of ``(42,)`` float32, which need no file.

    A sample is 32 independent standard normal numbers, rounded to 1/1024, and the digit as ten
    numbers of which one is 1. Targets are the digits, 0..9 in turn.
    """
    n = sum(_SIZES)
    normal = np.random.RandomState(_SEED).standard_normal((n, LATENT))  # numpy keeps this stream
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
