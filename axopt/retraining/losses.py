"""What is minimised: cross entropy with the labels, and divergence from a teacher; or a distance.

.. [Hinton2015] G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network",
   arXiv:1503.02531.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.errors import DatasetError
from axopt.retraining.recipe import Recipe


class Loss:
    """Loss of a batch.

    Args:
        recipe: Weight and temperature of distillation [Hinton2015].
        teacher: Model whose predictions are learned beside the labels; it is run in evaluation
            mode and stays as it is.
    """

    def __init__(self, recipe: Recipe, teacher: nn.Module | None) -> None:
        self._weight = recipe.distillation if teacher is not None else 0.0
        self._temperature = recipe.temperature
        self._teacher = teacher

    def __call__(self, logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over the samples.

        Args:
            logits: ``(N, classes)`` of the model; with outputs as targets, of their shape.
            inputs: What it got, for the teacher.
            targets: ``(N,)`` class numbers; or float outputs of a reference, which the model's
                are to equal in the mean square.

        Raises:
            DatasetError: If logits and targets, or the teacher's logits, do not fit.
        """
        if targets.is_floating_point():
            return self._distance(logits, targets)
        _check(logits, targets)
        loss = functional.cross_entropy(logits, targets)
        if self._teacher is None or self._weight == 0:
            return loss
        with torch.no_grad():
            theirs = self._teacher(inputs)
        if theirs.shape != logits.shape:
            raise DatasetError(
                f"`teacher` must return logits {list(logits.shape)}, got {list(theirs.shape)}."
            )
        divergence = functional.kl_div(
            functional.log_softmax(logits / self._temperature, 1),
            functional.log_softmax(theirs / self._temperature, 1),
            reduction="batchmean",
            log_target=True,
        )
        return (1 - self._weight) * loss + self._weight * self._temperature**2 * divergence

    def _distance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.shape != targets.shape or self._teacher is not None:
            raise DatasetError(
                f"targets that are outputs must have the shape of the model's, "
                f"{list(outputs.shape)}, and go without a teacher, got {list(targets.shape)}."
            )
        return functional.mse_loss(outputs, targets)


def _check(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 2 or len(logits) != len(targets):
        raise DatasetError(
            f"the model must return logits (N, classes) for N={len(targets)} targets, got "
            f"{list(logits.shape)}."
        )
    if not 0 <= int(targets.min()) <= int(targets.max()) < logits.shape[1]:
        raise DatasetError(
            f"targets must be in 0..{logits.shape[1] - 1} (the model has {logits.shape[1]} "
            f"outputs), got {int(targets.min())}..{int(targets.max())}."
        )
