"""Samples in memory: one `Split` for each purpose, three of them in a `Dataset`."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from axopt.errors import ArgumentError, DatasetError

Inputs = Any
"""A tensor, or several: a tuple or a dictionary of tensors that are passed together."""

_KEPT = (torch.uint8, torch.bool, torch.float32, torch.int64)


def map_inputs(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """Apply a function to every tensor of the inputs.

    Args:
        inputs: A tensor, a tuple or list, or a mapping of tensors.
        change: The function.

    Returns:
        A tensor, a tuple or a dictionary.

    Example:
        >>> map_inputs({"x": torch.ones(2), "mask": torch.zeros(2)}, lambda tensor: tensor[:1])
        {'x': tensor([1.]), 'mask': tensor([0.])}
    """
    if isinstance(inputs, Mapping):
        return {name: change(tensor) for name, tensor in inputs.items()}
    if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields"):
        return tuple(change(tensor) for tensor in inputs)
    return change(inputs)


def to_float(samples: Inputs) -> Inputs:
    """Return samples as a network takes them: uint8 divided by 255, all others as they are.

    Args:
        samples: A tensor, or several in a tuple or a mapping.

    Example:
        >>> to_float(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([0., 1.])
    """
    return map_inputs(samples, _scaled)


def _scaled(x: Any) -> Any:
    return x.float() / 255 if isinstance(x, Tensor) and x.dtype == torch.uint8 else x


@dataclass(frozen=True, eq=False, init=False)
class Split:
    """Samples that serve one purpose.

    Tensors and NumPy arrays are taken. uint8 and bool stay what they are, other integers become
    int64, other floats float32. As input, uint8 is divided by 255 whenever a batch is made.

    Args:
        inputs: Samples along the first dimension, ``(N, ...)``: images ``(N, C, H, W)``, uint8 or
            float32 in [0, 1]; texts as numbers of words, ``(N, T)`` int64; or anything else.
            Models with several inputs take a tuple of such tensors, which is passed as
            ``model(*inputs)``, or a mapping, which is passed as ``model(**inputs)``; each holds
            N samples.
        targets: ``(N,)`` int64 class numbers; or any integers or floats ``(N, ...)``, such as
            masks, or what a reference model returns for the samples. Without targets, samples
            serve calibration, and searches whose metric compares with a reference.

    Attributes:
        stored: The inputs as tensors: one, a tuple, or a dictionary.
        targets: The targets, int64 or float32; of shape ``(N, 0)`` where there are none.

    Raises:
        ArgumentError: If a dtype, the number of dimensions or the lengths do not fit, or there is
            no sample.

    Example:
        >>> split = Split(np.zeros((6, 1, 8, 8), np.uint8), np.array([0, 1, 2, 0, 1, 2]))
        >>> [len(targets) for inputs, targets in split.batches(4)]
        [4, 2]
        >>> words, lengths = torch.ones(6, 9, dtype=torch.int64), torch.full((6,), 9)
        >>> several = Split({"words": words, "lengths": lengths}, targets=torch.zeros(6, 2))
        >>> inputs, targets = next(several.batches(4))
        >>> inputs["words"].shape, inputs["lengths"].shape, targets.shape
        (torch.Size([4, 9]), torch.Size([4]), torch.Size([4, 2]))
    """

    stored: Inputs
    targets: Tensor

    def __init__(self, inputs: Any = None, targets: Any = None, *, stored: Any = None) -> None:
        if stored is not None:
            warnings.warn(
                "`stored` is called `inputs` since 0.2; the old name goes in 0.3.",
                FutureWarning,
                stacklevel=2,
            )
            inputs = stored
        if inputs is None:
            raise ArgumentError("`inputs` of a split must be given.")
        object.__setattr__(self, "stored", _inputs(inputs))
        n = _length(self.stored)
        without = torch.empty(n, 0)
        object.__setattr__(self, "targets", without if targets is None else _targets(targets, n))

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def inputs(self) -> Inputs:
        """All samples as `to_float` returns them; uint8 takes four times its memory."""
        return to_float(self.stored)

    @property
    def inputs_uint8(self) -> Tensor:
        """The stored uint8 images.

        Raises:
            DatasetError: If the source is not one tensor of uint8.
        """
        if not isinstance(self.stored, Tensor):
            raise DatasetError(f"there are {len(self.stored)} inputs, not one tensor of uint8.")
        if self.stored.dtype != torch.uint8:
            raise DatasetError(f"the images are stored as {self.stored.dtype}, not as uint8.")
        return self.stored

    def select(self, places: Any) -> Split:
        """Return some of the samples.

        Args:
            places: What a tensor of samples can be indexed with: a slice, or positions ``(M,)``.
        """
        return Split(self._stored_at(places), self.targets[places])

    def _stored_at(self, places: Any) -> Inputs:
        return map_inputs(self.stored, lambda x: x[places])

    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Return an iterator of consecutive batches in stored order; the last may be shorter.

        Args:
            size: Samples of a batch, at least 1.

        Returns:
            Iterator of (samples as `to_float` gives them, targets).

        Raises:
            ArgumentError: If ``size`` is less than 1.
        """
        if size < 1:
            raise ArgumentError(f"`size` must be >= 1, got {size}.")
        parts = (slice(start, start + size) for start in range(0, len(self), size))
        return ((to_float(self._stored_at(part)), self.targets[part]) for part in parts)

    def take(self, n: int) -> Split:
        """Return the first ``n`` samples of a fixed order in which every prefix is stratified.

        Sample k (from 0) of the m samples of a class has the place (2k + 1) / (2m) in the order;
        ties are ordered by class number. Classes of equal size alternate, and every prefix holds
        the classes in their proportions. Samples without classes keep their order.

        Args:
            n: Number of samples, at least 1.

        Raises:
            ArgumentError: If ``n`` is not in 1..len(self).
        """
        if not 1 <= n <= len(self):
            raise ArgumentError(f"`n` must be in 1..{len(self)}, got {n}.")
        if not self.has_classes:
            return self.select(slice(n))
        return self.select(torch.from_numpy(_stratified_order(self.targets.numpy())[:n]))

    @property
    def has_classes(self) -> bool:
        """Whether the targets are one integer per sample."""
        return self.targets.ndim == 1 and not self.targets.is_floating_point()

    @property
    def labelled(self) -> bool:
        """Whether there are targets."""
        return self.targets.shape[1:] != (0,)

    @property
    def sample(self) -> str:
        """What one sample is, as text: dtype and shape of its inputs, with their names."""
        described = [
            f"{name}{x.dtype} of shape {tuple(x.shape[1:])}" for name, x in _named(self.stored)
        ]
        return ", ".join(described)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over shape, dtype and bytes of the stored samples and the targets.

        Several inputs are digested in their order, those of a mapping with their names.
        """
        state = hashlib.sha256()
        for name, tensor in [*_named(self.stored), ("", self.targets)]:
            array = tensor.contiguous().numpy()
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            state.update(f"{name}{little_endian.dtype.str}{array.shape}".encode())
            state.update(little_endian.data)
        return state.hexdigest()


def _named(inputs: Inputs) -> list[tuple[str, Tensor]]:
    """Name and tensor of each input; the one of a single tensor has no name."""
    if isinstance(inputs, Tensor):
        return [("", inputs)]
    if isinstance(inputs, dict):
        return [(f"{name!r} ", tensor) for name, tensor in sorted(inputs.items())]
    return [(f"{place} ", tensor) for place, tensor in enumerate(inputs)]


def _tensor(value: Any, argument: str) -> Tensor:
    """A tensor of one of the kept dtypes from a tensor or an array."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "buif":
            raise ArgumentError(f"`{argument}` must be numbers, got an array of {value.dtype}.")
        native = np.ascontiguousarray(value, value.dtype.newbyteorder("="))
        if native.dtype.kind == "f":
            native = native.astype(np.float32, copy=False)
        if native.dtype.kind == "u" and native.dtype.itemsize > 1:
            native = native.astype(np.int64)
        value = torch.from_numpy(native if native.flags.writeable else native.copy())
    if not isinstance(value, Tensor):
        raise ArgumentError(
            f"`{argument}` must be a tensor or a NumPy array, got {type(value).__name__}."
        )
    if value.is_complex() or value.is_quantized or value.layout != torch.strided:
        raise ArgumentError(f"`{argument}` must be dense real numbers, got {value.dtype}.")
    if value.dtype in _KEPT:
        return value
    return value.to(torch.float32 if value.is_floating_point() else torch.int64)


def _inputs(given: Any) -> Inputs:
    """The inputs as tensors; several as a tuple or a dictionary.

    Raises:
        ArgumentError: If one is no tensor or array, their lengths differ, or there is no sample.
    """
    if not isinstance(given, (tuple, list, Mapping)):
        whole = _tensor(given, "inputs")
        if whole.ndim < 2:
            raise ArgumentError(
                f"`inputs` must be samples of shape (N, ...), got {tuple(whole.shape)}."
            )
        if whole.numel() == 0:
            raise ArgumentError(f"`inputs` must hold a sample, its shape is {tuple(whole.shape)}.")
        return whole
    items = given.items() if isinstance(given, Mapping) else enumerate(given)
    tensors = {name: _tensor(value, f"inputs[{name!r}]") for name, value in items}
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len({shape[:1] for shape in sizes.values()}) != 1 or () in sizes.values():
        raise ArgumentError(f"`inputs` must each hold N samples, got the shapes {sizes}.")
    if not next(iter(sizes.values()))[0]:
        raise ArgumentError(f"`inputs` must hold a sample, the shapes are {sizes}.")
    return tensors if isinstance(given, Mapping) else tuple(tensors.values())


def _length(inputs: Inputs) -> int:
    return len(_named(inputs)[0][1])


def _targets(given: Any, n: int) -> Tensor:
    targets = _tensor(given, "targets")
    if targets.ndim == 0 or len(targets) != n:
        raise ArgumentError(
            f"`targets` must be of shape ({n},) or ({n}, ...), as there are {n} samples, got "
            f"{tuple(targets.shape)}."
        )
    return targets if targets.is_floating_point() else targets.long()


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
        spec: What `load_data` read it from, such as "npz:mine.npz"; any text for data of your own.
        train: Samples for training and calibration.
        validation: Samples that a search evaluates on.
        test: Samples for the final figures only.
        classes: Names of the classes, in the order of their numbers. Empty if targets are not one
            class number per sample.

    Raises:
        DatasetError: If the splits' samples differ in shape or dtype, or a class number has no
            name in ``classes``.

    Example:
        >>> images, labels = torch.rand(60, 1, 8, 8), torch.arange(60) % 2
        >>> splits = [Split(images[i::3], labels[i::3]) for i in range(3)]
        >>> data = Dataset("mine", "mine", *splits, classes=("cat", "dog"))
        >>> len(data.test)
        20
    """

    name: str
    spec: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        sample = self.train.sample
        for name in ("train", "validation", "test"):
            split: Split = getattr(self, name)
            if split.sample != sample:
                raise DatasetError(
                    f"{self.spec}: samples of {name} are {split.sample}, those of train {sample}."
                )
            if not split.has_classes:
                continue
            if not self.classes:
                raise DatasetError(
                    f"{self.spec}: `classes` must name the classes, as targets of {name} are one "
                    "integer per sample; targets that are no classes must be floats."
                )
            low, high = int(split.targets.min()), int(split.targets.max())
            if low < 0 or high >= len(self.classes):
                raise DatasetError(
                    f"{self.spec}: labels of {name} must be in 0..{len(self.classes) - 1}, "
                    f"got {low if low < 0 else high}."
                )
