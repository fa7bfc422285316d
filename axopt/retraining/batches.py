"""Training data of several kinds as passes of (inputs, targets), the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import torch
from torch import Tensor

from axopt.data import Split, to_float
from axopt.errors import ArgumentError, DatasetError

Augment = Callable[[Tensor, torch.Generator], Tensor]
Batch = tuple[Tensor, Tensor]


class Batches:
    """Passes over training data.

    Args:
        data: A `Split`, which is shuffled, or anything that can be iterated again and again and
            yields (inputs, targets) in batches of any size: a DataLoader, a list. Inputs are
            uint8, which is divided by 255, or what the model takes.
        epochs: How many passes there will be.
        batch_size: Samples of a batch of a `Split`.
        augment: Varies inputs as they are stored.
        seed: Of order and variations; each pass has its own randomness, which depends on nothing
            but the seed and its number.

    Raises:
        ArgumentError: If ``data`` cannot be iterated, or only once for several epochs.
    """

    def __init__(
        self, data: Any, *, epochs: int, batch_size: int, augment: Augment | None, seed: int
    ) -> None:
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
        """Batches of a pass; data without a length is run through once to count them."""
        if self._steps is None:
            if isinstance(self._data, Split):
                self._steps = -(-len(self._data) // self._batch_size)
            elif isinstance(self._data, Sized):
                self._steps = len(self._data)
            else:
                self._steps = sum(1 for _ in self._data)
        return max(self._steps, 1)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of a pass, inputs as `to_float` gives them."""
        generator = torch.Generator().manual_seed(_mixed(self._seed, number))
        for inputs, targets in self._raw(number, generator):
            if len(inputs) == 0:
                continue
            if self._augment is not None:
                inputs = self._augment(inputs, generator)
            yield to_float(inputs), targets

    def _raw(self, number: int, generator: torch.Generator) -> Iterator[Batch]:
        if isinstance(self._data, Split):
            order = torch.randperm(len(self._data), generator=generator)
            for index in torch.split(order, self._batch_size):
                yield self._data.stored[index], self._data.targets[index]
            return
        own = getattr(self._data, "generator", None)
        if isinstance(own, torch.Generator):
            own.manual_seed(_mixed(self._seed, number))
        for batch in _with_own_randomness(self._data, _mixed(self._seed, number)):
            yield _checked(batch)


def _with_own_randomness(data: Iterable[Any], seed: int) -> Iterator[Any]:
    """What ``data`` yields, drawing from torch's global generator as if seeded with ``seed``.

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
    """The tensors of a batch of the user's.

    Raises:
        DatasetError: If it is no pair, or targets are not one class number a sample.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DatasetError(f"`train` must yield (inputs, targets), got {type(batch).__name__}.")
    inputs, targets = (torch.as_tensor(part) for part in batch)
    if targets.shape != inputs.shape[:1] or targets.is_floating_point():
        raise DatasetError(
            f"`train`: targets must be {len(inputs) if inputs.ndim else 0} class numbers, got "
            f"{targets.dtype} of shape {tuple(targets.shape)}."
        )
    return inputs, targets.long()
