"""The handwritten digits that scikit-learn brings; they need no file.

.. [Alpaydin1998] E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI
   Machine Learning Repository, 1998: the 1,797 images of its test set.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from axopt.data.dataset import Dataset
from axopt.data.registry import register_reader
from axopt.data.splitting import split_three_ways

_WHITE = 16  # a pixel is the number of dark points in a 4x4 block


@register_reader("digits")
def read_digits() -> Dataset:
    """Return 1,797 images ``(1, 8, 8)`` float32 in [0, 1], split by `split_three_ways`."""
    return _split("digits", period=5)


@register_reader("digits_thirds")
def read_digits_thirds() -> Dataset:
    """Return the same images in three parts of 599: more of them for validation and test."""
    return _split("digits_thirds", period=3)


def _split(name: str, *, period: int) -> Dataset:
    images, targets = _stored_digits()
    scaled = torch.from_numpy(images.reshape(-1, 1, 8, 8).astype(np.float32) / _WHITE)
    labels = torch.from_numpy(targets)
    train, validation, test = split_three_ways(scaled, labels, source=name, period=period)
    classes = tuple(str(digit) for digit in range(10))
    return Dataset(name, name, train, validation, test, classes)


def _stored_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the pixels ``(1797, 64)`` and the digits ``(1797,)`` that scikit-learn stores.

    Its file is read directly: importing scikit-learn takes two seconds. A version of scikit-learn
    that stores the images elsewhere is asked for them.
    """
    spec = find_spec("sklearn")
    folders = (spec and spec.submodule_search_locations) or []
    for folder in folders:
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            rows = np.loadtxt(path, delimiter=",")
            return rows[:, :-1], rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    return images, targets.astype(np.int64)
