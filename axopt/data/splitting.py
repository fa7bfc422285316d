"""Fixed rules that split one list of samples; no randomness, so a split never changes."""

import torch
from torch import Tensor

from axopt.data.dataset import Split
from axopt.errors import DatasetError


def hold_out(images: Tensor, targets: Tensor, *, source: object) -> tuple[Split, Split]:
    """Split off validation: of the samples 0, 1, 2, ... every i with ``i % 10 == 9``.

    Args:
        images: ``(N, ...)`` in the order of the source.
        targets: ``(N,)`` int64.
        source: What messages name.

    Returns:
        (train, validation), each in the order of the source.

    Raises:
        DatasetError: If there are fewer than 10 samples.
    """
    if len(images) < 10:
        raise DatasetError(
            f"{source}: holding out every tenth training sample needs at least 10, "
            f"got {len(images)}."
        )
    held_out = torch.arange(len(images)) % 10 == 9
    return Split(images[~held_out], targets[~held_out]), Split(images[held_out], targets[held_out])


def split_three_ways(
    images: Tensor, targets: Tensor, *, source: object, period: int = 5
) -> tuple[Split, Split, Split]:
    """Split into 60 % train, 20 % validation and 20 % test by default, alike in every class.

    Number the samples in the order of (class, place in the source): of every ``period`` samples
    the last but one is validation, the last is test, the others are train.

    Args:
        images: ``(N, ...)`` in the order of the source.
        targets: ``(N,)`` int64.
        source: What messages name.
        period: At least 3; validation and test each get one part of it.

    Returns:
        (train, validation, test), each in the order of the source.

    Raises:
        DatasetError: If there are fewer samples than ``period``.
    """
    if len(images) < period:
        raise DatasetError(
            f"{source}: a three-way split needs at least {period} samples, got {len(images)}."
        )
    number = torch.empty(len(targets), dtype=torch.int64)
    number[torch.argsort(targets, stable=True)] = torch.arange(len(targets))
    part = (number % period - (period - 3)).clamp(min=0)
    train, validation, test = (Split(images[part == p], targets[part == p]) for p in range(3))
    return train, validation, test
