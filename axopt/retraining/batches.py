"""Training data as passes of batches (inputs, targets), reproducible from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor

from axopt.data import Split, to_float
from axopt.data.dataset import map_inputs
from axopt.errors import ArgumentError, DatasetError
from axopt.model.adapter import count, parts_of

Augment = Callable[[Any, torch.Generator], Any]
"""Inputs of a batch as they are stored, and a source of randomness -> other inputs."""

Batch = tuple[Any, Any]


class Batches:
    """Passes over training data.

    Args:
        data: A `Split`, which is shuffled, or anything that can be iterated once per epoch and
            yields batches (inputs, targets) of any size: a DataLoader, a list. uint8 inputs are
            divided by 255.
        epochs: How many passes there will be.
        batch_size: Samples of a batch of a `Split`.
        augment: Varies inputs as they are stored.
        seed: Of order and variations; the randomness of each pass depends only on the seed and
            the number of the pass.

    Raises:
        ArgumentError: If ``data`` cannot be iterated, or only once for several epochs, or
            ``augment`` is no function.
    """

    def __init__(
        self, data: Any, *, epochs: int, batch_size: int, augment: Augment | None, seed: int
    ) -> None:
        if augment is not None and not callable(augment):
            raise ArgumentError(
                f"`augment` must be a function of inputs and a generator, such as "
                f"axopt.data.AUGMENTATIONS['crop'], got {augment!r}."
            )
        if not isinstance(data, (Split, Iterable)):
            raise ArgumentError(
                "`train` must be a data set, a split or yield (inputs, targets), got "
                f"{type(data).__name__}."
            )
        if isinstance(data, Iterator) and epochs > 1:
            raise ArgumentError(
                f"`train` can be iterated only once, which is not enough for {epochs} epochs: "
                "pass a list of batches or a DataLoader."
            )
        self._data, self._batch_size = data, batch_size
        self._augment, self._seed = augment, seed
        self._steps: int | None = 1 if isinstance(data, Iterator) else None

    @property
    def steps(self) -> int:
        """Number of batches of a pass; data without a length is iterated once to count them."""
        if self._steps is None:
            if isinstance(self._data, Split):
                self._steps = -(-len(self._data) // self._batch_size)
            elif isinstance(self._data, Sized):
                self._steps = len(self._data)
            else:
                self._steps = sum(1 for _ in self._data)
        return max(self._steps, 1)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of a pass, inputs as `to_float` gives them."""
        generator = torch.Generator().manual_seed(_mixed(self._seed, number))
        for inputs, targets in self._raw(number, generator):
            if _is_empty(inputs, targets):
                continue
            if self._augment is not None:
                inputs = self._augment(inputs, generator)
            yield to_float(inputs), targets

    def _raw(self, number: int, generator: torch.Generator) -> Iterator[Batch]:
        if isinstance(self._data, Split):
            order = torch.randperm(len(self._data), generator=generator)
            for index in torch.split(order, self._batch_size):
                part = self._data.select(index)
                yield part.stored, part.targets
            return
        own = getattr(self._data, "generator", None)
        if isinstance(own, torch.Generator):
            own.manual_seed(_mixed(self._seed, number))
        for batch in _with_own_randomness(self._data, _mixed(self._seed, number)):
            yield _checked(batch)


def _with_own_randomness(data: Iterable[Any], seed: int) -> Iterator[Any]:
    """Yield what ``data`` yields while torch's global generator is as if seeded with ``seed``.

    A DataLoader takes its order from there, and the transforms of a data set may. What runs
    between batches neither sees nor changes that.
    """
    state = torch.Generator().manual_seed(seed).get_state()
    iterator: Iterator[Any] | None = None
    while True:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            iterator = iter(data) if iterator is None else iterator
            try:
                batch = next(iterator)
            except StopIteration:
                return
            state = torch.get_rng_state()
        yield batch


def _mixed(seed: int, number: int) -> int:
    return random.Random(f"{seed} {number}").getrandbits(63)


def _checked(batch: Any) -> Batch:
    """Inputs and targets of a batch of the user's, arrays and lists of numbers as tensors.

    Raises:
        DatasetError: If the batch has no targets, or not one for each sample.
    """
    inputs, targets = parts_of(batch)
    if targets is None:
        raise DatasetError(f"`train` must yield (inputs, targets), got {type(batch).__name__}.")
    inputs, targets = map_inputs(inputs, _tensor), _tensor(targets)
    if isinstance(targets, Tensor):
        n = count(inputs)
        if targets.ndim == 0 or (n and len(targets) != n):
            raise DatasetError(
                f"`train`: targets must be of {n or 'N'} samples, got {targets.dtype} of shape "
                f"{tuple(targets.shape)}."
            )
        targets = targets if targets.is_floating_point() else targets.long()
    return inputs, targets


def _tensor(value: Any) -> Any:
    return torch.as_tensor(value) if isinstance(value, (np.ndarray, list, int, float)) else value


def _is_empty(inputs: Any, targets: Any) -> bool:
    if isinstance(targets, Tensor) and targets.ndim:
        return len(targets) == 0
    return isinstance(inputs, Tensor) and len(inputs) == 0
