"""Data without labels: what a model returns for the samples takes the place of targets."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from axopt.data import Dataset, Split


def against(reference: nn.Module, data: Dataset, *, batch_size: int = 250) -> Dataset:
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


@torch.no_grad()
def _outputs(reference: nn.Module, split: Split, batch_size: int) -> Split:
    device = next((value.device for value in reference.parameters()), torch.device("cpu"))
    outputs = [reference(x.to(device)).cpu() for x, _ in split.batches(batch_size)]
    return Split(split.stored, torch.cat(outputs).contiguous())
