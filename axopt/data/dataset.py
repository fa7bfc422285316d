"""Labelled samples in memory: one `Split` for each purpose, three of them in a `Dataset`."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from axopt.errors import ArgumentError, DatasetError

_STORED = (torch.uint8, torch.float32, torch.int64)


def to_float(samples: Tensor) -> Tensor:
    """Samples as a network takes them: uint8 images divided by 255, all others as they are."""
    return samples.float() / 255 if samples.dtype == torch.uint8 else samples


@dataclass(frozen=True, eq=False)
class Split:
    """Samples that serve one purpose.

    Args:
        stored: Images as the source has them, ``(N, C, H, W)``, uint8 or float32 in [0, 1]; or
            texts as numbers of words, ``(N, T)`` int64; or latents, ``(N, D)`` float32. Arrays
            of the user may have other sample shapes and ranges.
        targets: ``(N,)`` int64 class numbers; or float32 of shape ``(N, ...)``, what a reference
            model returns for the samples.

    Raises:
        ArgumentError: If a dtype, the number of dimensions or the lengths do not fit, or there is
            no sample.
    """

    stored: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if self.stored.dtype not in _STORED or self.stored.ndim < 2:
            raise ArgumentError(
                f"`stored` must be uint8, float32 or int64 of shape (N, ...), "
                f"got {self.stored.dtype} {tuple(self.stored.shape)}."
            )
        n, shape = len(self.stored), tuple(self.targets.shape)
        classes = self.targets.dtype == torch.int64 and shape == (n,)
        outputs = self.targets.dtype == torch.float32 and len(shape) > 1 and shape[0] == n
        if not (classes or outputs):
            raise ArgumentError(
                f"`targets` must be int64 of shape ({n},) or float32 of shape ({n}, ...), "
                f"got {self.targets.dtype} {shape}."
            )
        if self.stored.numel() == 0:
            raise ArgumentError(
                f"`stored` must hold a sample, its shape is {tuple(self.stored.shape)}."
            )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def inputs(self) -> Tensor:
        """All samples as `to_float` gives them; four times the memory of uint8."""
        return to_float(self.stored)

    @property
    def inputs_uint8(self) -> Tensor:
        """The stored uint8 images.

        Raises:
            DatasetError: If the source is not uint8.
        """
        if self.stored.dtype != torch.uint8:
            raise DatasetError(f"the images are stored as {self.stored.dtype}, not as uint8.")
        return self.stored

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Consecutive batches in stored order; the last one may be shorter.

        Returns:
            Iterator of (samples as `to_float` gives them, targets).

        Raises:
            ArgumentError: If ``size`` is less than 1.
        """
        if size < 1:
            raise ArgumentError(f"`size` must be >= 1, got {size}.")
        return (
            (to_float(self.stored[start : start + size]), self.targets[start : start + size])
            for start in range(0, len(self), size)
        )

    def take(self, n: int) -> "Split":
        """The first ``n`` samples of a fixed order in which every prefix is stratified.

        The k-th (from 0) of the m samples of a class stands at (2k + 1) / (2m) of the order;
        equal places go by class number. With classes of one size that is one sample of each class
        in turn, and every prefix has the classes in their proportions. Samples without classes
        keep their order.

        Raises:
            ArgumentError: If ``n`` is not in 1..len(self).
        """
        if not 1 <= n <= len(self):
            raise ArgumentError(f"`n` must be in 1..{len(self)}, got {n}.")
        if self.targets.is_floating_point():
            return Split(self.stored[:n], self.targets[:n])
        chosen = torch.from_numpy(_stratified_order(self.targets.numpy())[:n])
        return Split(self.stored[chosen], self.targets[chosen])

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over shape, dtype and bytes of the stored samples and the targets."""
        state = hashlib.sha256()
        for tensor in (self.stored, self.targets):
            array = tensor.contiguous().numpy()
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            state.update(f"{little_endian.dtype.str}{array.shape}".encode())
            state.update(little_endian.data)
        return state.hexdigest()


def _stratified_order(targets: np.ndarray) -> np.ndarray:
    by_class = np.argsort(targets, kind="stable")
    counts = np.bincount(targets)
    first = np.cumsum(counts) - counts
    place = np.empty(len(targets))
    ordered = targets[by_class]
    rank = np.arange(len(targets)) - first[ordered]
    place[by_class] = (2 * rank + 1) / (2 * counts[ordered])
    return np.lexsort((targets, place))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits of one source. Calibrate on train, search on validation, report on test.

    Args:
        name: Short name for tables and plots.
        spec: What `load_data` read it from.
        train: Samples for training and calibration.
        validation: Samples that a search looks at.
        test: Samples that only final figures are measured on.
        classes: Names of the classes; targets index them. Empty where targets are no classes.

    Raises:
        DatasetError: If the splits' samples differ in shape or dtype, or a target is not an index
            of ``classes``.
    """

    name: str
    spec: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        sample = self.train.stored[0]
        for name in ("train", "validation", "test"):
            split: Split = getattr(self, name)
            other = split.stored[0]
            if (other.shape, other.dtype) != (sample.shape, sample.dtype):
                raise DatasetError(
                    f"{self.spec}: samples of {name} are {other.dtype} {tuple(other.shape)}, "
                    f"those of train {sample.dtype} {tuple(sample.shape)}."
                )
            if split.targets.is_floating_point():
                continue
            low, high = int(split.targets.min()), int(split.targets.max())
            if low < 0 or high >= len(self.classes):
                raise DatasetError(
                    f"{self.spec}: labels of {name} must be in 0..{len(self.classes) - 1}, "
                    f"got {low if low < 0 else high}."
                )
