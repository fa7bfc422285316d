"""What is minimised: a loss of outputs and targets, and the divergence from a teacher.

.. [Hinton2015] G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network",
   arXiv:1503.02531.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation.checks import check_logits
from axopt.model import Adapter
from axopt.model.adapter import only_tensor
from axopt.retraining.recipe import Recipe

LossFunction = Callable[[Any, Any], Tensor]
"""Outputs and targets of a batch -> one number, or one per sample."""


class Loss:
    """Loss of a batch.

    Args:
        recipe: Weight and temperature of distillation [Hinton2015].
        adapter: How inputs are passed to the teacher, and which of its outputs is used.
        own: The user's loss in place of the default.
        teacher: Model whose predictions are learned beside the targets; it is run in evaluation
            mode and not changed.

    Raises:
        ArgumentError: If the loss or the teacher is of the wrong type.
    """

    def __init__(
        self,
        recipe: Recipe,
        adapter: Adapter,
        *,
        own: LossFunction | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        if own is not None and not callable(own):
            raise ArgumentError(f"`loss` must be a function of outputs and targets, got {own!r}.")
        if teacher is not None and not isinstance(teacher, nn.Module):
            raise ArgumentError(f"`teacher` must be a module, got {type(teacher).__name__}.")
        self._weight = recipe.distillation if teacher is not None else 0.0
        self._temperature = recipe.temperature
        self._adapter, self._own, self._teacher = adapter, own, teacher

    @property
    def name(self) -> str | None:
        """Name of the user's loss; None for the default."""
        if self._own is None:
            return None
        return str(getattr(self._own, "__qualname__", type(self._own).__qualname__))

    def __call__(self, outputs: Any, inputs: Any, targets: Any) -> Tensor:
        """Return the mean over the samples.

        Args:
            outputs: What the model returned.
            inputs: What it got, for the teacher.
            targets: The targets.

        Raises:
            ArgumentError: If the user's loss returns no differentiable number, or the model
                several outputs and none is chosen.
            DatasetError: If outputs, targets and the teacher's outputs do not fit.
        """
        if self._own is None:
            loss = self._by_default(outputs, targets)
        else:
            loss = self._mean(self._own(outputs, targets))
        if self._teacher is None or self._weight == 0:
            return loss
        divergence = self._divergence(only_tensor(outputs), inputs, self._teacher)
        return (1 - self._weight) * loss + self._weight * self._temperature**2 * divergence

    def _mean(self, loss: Any) -> Tensor:
        if not isinstance(loss, Tensor) or not loss.is_floating_point() or loss.numel() == 0:
            got = f"{loss.dtype} {list(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ArgumentError(
                f"`loss` must return a tensor of floats, one number or one per sample, got {got}."
            )
        if not loss.requires_grad:
            raise ArgumentError("`loss` must return what depends on the outputs with gradients.")
        return loss if loss.ndim == 0 else loss.mean()

    def _by_default(self, outputs: Any, targets: Any) -> Tensor:
        """Cross entropy with class numbers, mean square error of float targets."""
        outputs = only_tensor(outputs)
        if not isinstance(targets, Tensor):
            raise DatasetError(
                f"targets must be a tensor without a `loss=` of your own, got "
                f"{type(targets).__name__}."
            )
        if not targets.is_floating_point():
            try:
                check_logits(outputs, targets)
            except DatasetError as error:
                raise DatasetError(f"{error} `loss=` takes other outputs and targets.") from None
            return functional.cross_entropy(outputs, targets)
        if outputs.shape != targets.shape or self._teacher is not None:
            raise DatasetError(
                f"targets that are outputs must have the shape of the model's, "
                f"{list(outputs.shape)}, and go without a teacher, got {list(targets.shape)}. "
                "`loss=` takes others."
            )
        return functional.mse_loss(outputs, targets)

    def _divergence(self, logits: Tensor, inputs: Any, teacher: nn.Module) -> Tensor:
        """Kullback-Leibler divergence from the teacher's predictions, mean over all of them."""
        with torch.no_grad():
            theirs = only_tensor(self._adapter(teacher, inputs))
        if theirs.shape != logits.shape or logits.ndim < 2:
            raise DatasetError(
                f"`teacher` must return logits {list(logits.shape)}, got {list(theirs.shape)}."
            )
        total = functional.kl_div(
            functional.log_softmax(logits / self._temperature, 1),
            functional.log_softmax(theirs / self._temperature, 1),
            reduction="sum",
            log_target=True,
        )
        return total / (logits.numel() // logits.shape[1])
