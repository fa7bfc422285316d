"""Data without labels: the outputs of a reference model take the place of targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from axopt.data import Dataset, Split
from axopt.errors import DatasetError
from axopt.evaluation.metrics import Metric, OfSamples, as_metric
from axopt.evaluation.quality import BATCH_SIZE, batches_of, evaluation_mode
from axopt.model import Adapter, Forward, adapter_of
from axopt.model.adapter import count, device_of, moved, only_tensor, parts_of


def against(
    reference: nn.Module,
    data: Any,
    *,
    batch_size: int = BATCH_SIZE,
    forward: Forward | None = None,
    output: str | None = None,
) -> Any:
    """Return the same samples with the outputs of ``reference`` as targets.

    The metric "distance" then measures the distance to the reference, and `retrain` learns its
    outputs. No labels are needed.

    Args:
        reference: Usually the float model; it is run in evaluation mode.
        data: A data set, a split, or batches of inputs, alone or as (inputs, targets).
        batch_size: Samples at a time from a split.
        forward: Called as ``forward(reference, inputs)``, as for `evaluate`.
        output: Which output is taken, as for `evaluate`.

    Returns:
        A data set without classes, a split, or a list of batches (inputs, outputs) on the CPU:
        the kind that ``data`` was.

    Raises:
        ArgumentError: If ``data`` is none of these, or the reference returns several outputs and
            none is chosen.
        DatasetError: If an output is not floats of shape ``(N, ...)``.
        InputsError: If the reference cannot be called with the inputs.

    Example:
        >>> split = Split(torch.rand(6, 3), torch.zeros(6, dtype=torch.int64))
        >>> against(nn.Linear(3, 2), split).targets.shape
        torch.Size([6, 2])
    """
    adapter = adapter_of(reference, forward, output)
    if isinstance(data, Dataset):
        train, validation, test = (
            _labelled(reference, split, batch_size, adapter)
            for split in (data.train, data.validation, data.test)
        )
        return replace(data, classes=(), train=train, validation=validation, test=test)
    if isinstance(data, Split):
        return _labelled(reference, data, batch_size, adapter)
    return _outputs(reference, data, batch_size, adapter)


def measured_data(
    metric: str | Metric | OfSamples,
    model: nn.Module,
    data: Dataset,
    *,
    output: str | None = None,
) -> Dataset:
    """Return the data with the targets that a metric takes: its own, or the outputs of ``model``.

    Args:
        metric: The metric that is going to be measured.
        model: Float model, for metrics whose targets are the outputs of a reference.
        data: Samples.
        output: Which output is taken, as for `evaluate`.

    Example:
        >>> split = Split(torch.rand(6, 3), torch.zeros(6, dtype=torch.int64))
        >>> data = Dataset("d", "d", split, split, split, ("a",))
        >>> measured_data("top1", nn.Linear(3, 2), data).test.targets.shape
        torch.Size([6])
        >>> measured_data("distance", nn.Linear(3, 2), data).test.targets.shape
        torch.Size([6, 2])
    """
    if not as_metric(metric, directed=False).reference:
        return data
    labelled: Dataset = against(model, data, output=output)
    return labelled


def learnt_data(
    metric: str | Metric | OfSamples,
    model: nn.Module,
    data: Dataset,
    *,
    output: str | None = None,
) -> Dataset:
    """Return the data with the targets that retraining learns by default.

    These are the data's own where the metric takes logits, or where it takes any targets and the
    data's are floats; otherwise the outputs of ``model``.

    Args:
        metric: The metric of the model's task.
        model: Float model, whose outputs are learnt where the data's targets are not.
        data: Samples.
        output: Which output is taken, as for `evaluate`.

    Example:
        >>> split = Split(torch.rand(6, 3), torch.zeros(6, dtype=torch.int64))
        >>> data = Dataset("d", "d", split, split, split, ("a",))
        >>> learnt_data("top1", nn.Linear(3, 2), data).train.targets.shape
        torch.Size([6])
    """
    chosen = as_metric(metric, directed=False)
    floats = chosen.targets == "any" and data.train.targets.is_floating_point()
    if chosen.logits or floats:
        return data
    labelled: Dataset = against(model, data, output=output)
    return labelled


def _labelled(reference: nn.Module, split: Split, batch_size: int, adapter: Adapter) -> Split:
    batches = _outputs(reference, split, batch_size, adapter)
    return Split(split.stored, torch.cat([outputs for _, outputs in batches]).contiguous())


@torch.no_grad()
def _outputs(
    reference: nn.Module, data: Any, batch_size: int, adapter: Adapter
) -> list[tuple[Any, Tensor]]:
    device = device_of(reference)
    found = []
    with evaluation_mode(reference):
        for batch in batches_of(data, "test", batch_size):
            inputs, _ = parts_of(batch)
            outputs = only_tensor(adapter(reference, moved(inputs, device))).cpu()
            n = count(inputs)
            if not outputs.is_floating_point() or outputs.ndim < 2 or n not in (0, len(outputs)):
                raise DatasetError(
                    f"`reference` must return floats of shape ({n or 'N'}, ...), got "
                    f"{outputs.dtype} {tuple(outputs.shape)}."
                )
            found.append((inputs, outputs))
    return found
