"""Fixed rules that split one list of samples. Nothing is random: a split never changes."""

import torch
from torch import Tensor

from axopt.data.dataset import Split
from axopt.errors import DatasetError


def hold_out(images: Tensor, targets: Tensor, *, source: object) -> tuple[Split, Split]:
    """Split samples into train and validation: sample i is validation if ``i % 10 == 9``.

    Args:
        images: ``(N, ...)`` in the order of the source.
        targets: ``(N,)`` int64.
        source: Named in messages.

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
    """Split samples into train, validation and test with the same proportions in every class.

    The samples are numbered in the order of (class, position in the source). Of every ``period``
    samples the last but one is validation, the last is test, and the others are train: 60 %,
    20 % and 20 % by default.

    Args:
        images: ``(N, ...)`` in the order of the source.
        targets: ``(N,)`` int64.
        source: Named in messages.
        period: At least 3.

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
