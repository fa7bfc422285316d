"""Run a model over samples and measure how good its outputs are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation.metrics import Metric, OfSamples, as_metric
from axopt.model import Adapter, Forward, adapter_of
from axopt.model.adapter import device_of, moved, only_tensor, parts_of

BATCH_SIZE = 64
"""Default number of samples of a batch.

Larger batches are slower: glibc returns blocks of more than 32 MB to the system and asks for new
pages in each layer. With 250 images per batch MobileNetV2 of the zoo took 2 to 3 times as long.
"""


@dataclass(frozen=True)
class Evaluation:
    """A measured quality.

    Attributes:
        metric: Name of the metric.
        value: The quality in the metric's unit, such as the percentage of correct samples.
        low: Lower bound of its 95 % interval.
        high: Upper bound of its 95 % interval.
        n: Number of samples.

    Example:
        >>> Evaluation("top1", 87.3, 86.6, 87.9, n=10000).value
        87.3
    """

    metric: str
    value: float
    low: float
    high: float
    n: int


class Measurement(NamedTuple):
    """A measured quality, and what the metric kept of each sample.

    Attributes:
        evaluation: The quality.
        samples: What the metric kept, ``(N, ...)``, on the CPU; see `paired_drop`.

    Example:
        >>> right = torch.tensor([True, False])
        >>> evaluation, samples = Measurement(Evaluation("top1", 50.0, 9.5, 90.5, 2), right)
    """

    evaluation: Evaluation
    samples: Tensor


def measure(
    model: nn.Module,
    data: Any,
    metric: str | Metric | OfSamples = "top1",
    *,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
    forward: Forward | None = None,
    output: str | None = None,
) -> Measurement:
    """Measure a model as `evaluate` does, and keep the metric's numbers of each sample.

    Args:
        model: As for `evaluate`.
        data: As for `evaluate`.
        metric: As for `evaluate`.
        split: As for `evaluate`.
        batch_size: As for `evaluate`.
        forward: As for `evaluate`.
        output: As for `evaluate`.

    Returns:
        The evaluation and the samples' numbers, which `paired_drop` compares.

    Raises:
        ArgumentError: As `evaluate`.
        DatasetError: As `evaluate`.

    Example:
        >>> logits = torch.eye(4)
        >>> evaluation, samples = measure(nn.Identity(), [(logits, torch.tensor([0, 1, 2, 0]))])
        >>> evaluation.value, samples.tolist()
        (75.0, [True, True, True, False])
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"`model` must be a torch.nn.Module, got {type(model).__name__}.")
    chosen = as_metric(metric, directed=False)
    adapter = adapter_of(model, forward, output)
    keep = observer_of(chosen, adapter)
    (samples,) = observe(model, batches_of(data, split, batch_size), adapter, [keep])
    return Measurement(evaluation_of(chosen, samples), samples)


Observer = Callable[[Any, Any, int | Tensor], Tensor]
"""All that a model returned for a batch, targets, number of the first sample or of every sample
-> ``(n, ...)``."""


def observe(
    model: nn.Module, batches: Iterable[Any], adapter: Adapter, observers: Sequence[Observer]
) -> list[Tensor]:
    """Run a model in evaluation mode over batches, once for all observers.

    Args:
        model: Emulated or float.
        batches: (inputs, targets).
        adapter: How the model is called.
        observers: Each returns what it keeps of the samples of a batch.

    Returns:
        What each observer kept of all samples, ``(N, ...)``.

    Raises:
        DatasetError: If there is no sample, or a batch has no targets.
    """
    kept: list[list[Tensor]] = [[] for _ in observers]
    device = device_of(model)
    first = 0
    with evaluation_mode(model), torch.no_grad():
        for inputs, targets in labelled(batches, "data"):
            outputs = adapter.call(model, moved(inputs, device))
            for of_observer, observer in zip(kept, observers, strict=True):
                of_observer.append(observer(outputs, moved(targets, device), first))
            first += len(kept[0][-1])
    if first == 0:
        raise DatasetError("`data` holds no samples to evaluate on.")
    return [torch.cat(of_observer) for of_observer in kept]


def observer_of(metric: Metric, adapter: Adapter) -> Observer:
    """Return the observer that keeps what a metric needs.

    Args:
        metric: The metric.
        adapter: Picks the output that it reads.
    """

    def keep(outputs: Any, targets: Any, _: int | Tensor) -> Tensor:
        picked = adapter.pick(outputs)
        return metric.kept(
            picked if metric.outputs == "anything" else only_tensor(picked), targets
        )

    return keep


def evaluation_of(metric: Metric, samples: Tensor) -> Evaluation:
    """Return the evaluation that follows from what a metric kept of all samples.

    Args:
        metric: The metric.
        samples: What it kept, ``(N, ...)``.
    """
    return Evaluation(metric.name, *metric.with_interval(samples), len(samples))


def evaluate(
    model: nn.Module,
    data: Any,
    metric: str | Metric | OfSamples = "top1",
    *,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
    forward: Forward | None = None,
    output: str | None = None,
) -> Evaluation:
    """Measure a model, emulated or float, in evaluation mode.

    Args:
        model: Maps a batch of inputs to logits ``(N, classes)``, or to what else the metric takes;
            inputs are moved to its device. The modes of its modules are restored.
        data: A data set with splits, one split, or a DataLoader or another iterable of batches
            (inputs, targets). Inputs that are a tuple or list are passed as ``model(*inputs)``,
            a mapping as ``model(**inputs)``.
        metric: A name of `METRICS`, a `Metric`, or a function of outputs and targets that returns
            one number per sample, ``(N,)``, whose mean is the value.
        split: Which split of a data set to use: "train", "validation" or "test".
        batch_size: Samples at a time from a split; emulated results do not depend on it.
        forward: Called as ``forward(model, inputs)`` in place of the model. By default what
            `prepare` was given, for an emulated model.
        output: Which output is measured, for models that return several: a path such as
            "logits", "0" or "head.logits". By default what `prepare` was given.

    Returns:
        The value with its 95 % interval.

    Raises:
        ArgumentError: If an argument breaks its rule, or the model returns several outputs and
            none is chosen.
        DatasetError: If there is no sample, or targets and outputs do not fit each other.
        InputsError: If the model cannot be called with the inputs.

    Example:
        >>> logits = torch.eye(4)
        >>> result = evaluate(nn.Identity(), [(logits, torch.tensor([0, 1, 2, 0]))])
        >>> print(f"{result.value} % of {result.n}, {result.low:.1f}..{result.high:.1f}")
        75.0 % of 4, 30.1..95.4
    """
    return measure(
        model,
        data,
        metric,
        split=split,
        batch_size=batch_size,
        forward=forward,
        output=output,
    ).evaluation


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode, and restore the mode of every module at the end."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def batches_of(data: Any, split: str = "test", batch_size: int = BATCH_SIZE) -> Iterable[Any]:
    """Return the batches of a data set's split, of a split, or of an iterable of batches.

    Raises:
        ArgumentError: If ``data`` is none of these, or ``split`` or ``batch_size`` breaks its
            rule.
    """
    if batch_size < 1:
        raise ArgumentError(f"`batch_size` must be >= 1, got {batch_size}.")
    if isinstance(data, Dataset):
        if split not in ("train", "validation", "test"):
            raise ArgumentError(f"`split` must be train, validation or test, got {split!r}.")
        data = getattr(data, split)
    if isinstance(data, Split):
        return data.batches(batch_size)
    single = isinstance(data, (Tensor, Mapping, str, torch.utils.data.Dataset))
    if single or not isinstance(data, Iterable):
        hint = " (wrap it in a DataLoader)" if isinstance(data, torch.utils.data.Dataset) else ""
        raise ArgumentError(
            "`data` must be a data set, a split, or batches of (inputs, targets), got "
            f"{type(data).__name__}{hint}."
        )
    return data


def labelled(batches: Iterable[Any], argument: str) -> Iterator[tuple[Any, Any]]:
    """Yield inputs and targets of batches.

    Raises:
        DatasetError: If a batch has no targets; blames ``argument``.
    """
    for batch in batches:
        inputs, targets = parts_of(batch)
        if targets is None:
            raise DatasetError(
                f"`{argument}` must yield (inputs, targets), got {type(batch).__name__}."
            )
        yield inputs, targets
