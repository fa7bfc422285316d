"""Data without labels: what a model returns for the samples takes the place of targets."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from axopt.data import Dataset, Split
from axopt.evaluation.metrics import METRICS
from axopt.evaluation.quality import BATCH_SIZE


def against(reference: nn.Module, data: Dataset, *, batch_size: int = BATCH_SIZE) -> Dataset:
    """The same samples with the outputs of ``reference`` as targets.

    The metric "distance" is then that to the reference, and `retrain` learns its outputs.

    Args:
        reference: Usually the float model; run in the mode that it is in.
        data: Samples.
        batch_size: Samples at a time.

    Returns:
        A data set without classes.

    Raises:
        ArgumentError: If an output is not float32 of shape ``(N, ...)``.
    """
    train, validation, test = (
        _outputs(reference, split, batch_size)
        for split in (data.train, data.validation, data.test)
    )
    return replace(data, classes=(), train=train, validation=validation, test=test)


def measured_data(metric: str, model: nn.Module, data: Dataset) -> Dataset:
    """The data with the targets that a metric takes: those of the data, or outputs of ``model``.

    Args:
        metric: A key of `METRICS`.
        model: Float model, for metrics that measure the distance to it.
        data: Samples.
    """
    return against(model, data) if METRICS[metric].reference else data


def learnt_data(metric: str, model: nn.Module, data: Dataset) -> Dataset:
    """The data with the targets that retraining learns: classes for logits, else outputs.

    Args:
        metric: A key of `METRICS`: that of the model's task.
        model: Float model, whose outputs are learnt where they are no logits.
        data: Samples.
    """
    return data if METRICS[metric].logits else against(model, data)


@torch.no_grad()
def _outputs(reference: nn.Module, split: Split, batch_size: int) -> Split:
    device = next((value.device for value in reference.parameters()), torch.device("cpu"))
    outputs = [reference(x.to(device)).cpu() for x, _ in split.batches(batch_size)]
    return Split(split.stored, torch.cat(outputs).contiguous())
