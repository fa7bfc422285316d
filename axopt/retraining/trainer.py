"""The steps and epochs of a retraining, and what a checkpoint of it holds.

.. [Loshchilov2019] I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization" (AdamW),
   ICLR 2019.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from axopt.errors import ArgumentError
from axopt.evaluation import Metric, evaluate
from axopt.model import EmulatedModel
from axopt.model.adapter import moved, trackable
from axopt.retraining.batches import Batches
from axopt.retraining.checkpoint import save_checkpoint
from axopt.retraining.losses import Loss
from axopt.retraining.recipe import Recipe
from axopt.retraining.state import LearnedSteps, ModelState

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of steps done and of all."""


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch. Epoch 0 stands for the state before training.

    Attributes:
        epoch: Number of the epoch, from 0.
        loss: Mean loss of the epoch's steps; None for epoch 0.
        lr: Learning rate of the epoch's last step; None for epoch 0.
        validation: Value of the metric on the validation data after the epoch; None without
            validation data.

    Example:
        >>> Epoch(epoch=1, loss=0.5, lr=1e-3, validation=97.5).validation
        97.5
    """

    epoch: int
    loss: float | None
    lr: float | None
    validation: float | None


@dataclass(frozen=True)
class RetrainResult:
    """Result of a retraining.

    Attributes:
        history: Epoch 0 (before training) and each epoch.
        best_epoch: Number of the epoch whose state the model is left in.
        stopped: Why training ended: "epochs" (all done), "patience" (validation no longer
            improved), or "nan" (loss or gradient was not finite).

    Example:
        >>> before, after = Epoch(0, None, None, 90.0), Epoch(1, 0.5, 1e-3, 97.5)
        >>> RetrainResult((before, after), best_epoch=1, stopped="epochs").records()[1]
        {'epoch': 1, 'loss': 0.5, 'lr': 0.001, 'validation': 97.5}
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    stopped: str

    def records(self) -> list[dict[str, Any]]:
        """Return the history as plain values, one dictionary per epoch."""
        return [asdict(epoch) for epoch in self.history]


class Trainer:
    """Trains a model and keeps its best state.

    Args:
        emulated: The model, in evaluation mode, which is trained in place.
        batches: The training data.
        loss: What is minimised.
        validation: What `evaluate` takes, or None.
        metric: What is measured on it.
        recipe: How to train.
        identity: Fields that must match for a run to be resumed.

    Raises:
        ArgumentError: If no parameter requires gradients.
    """

    def __init__(
        self,
        emulated: EmulatedModel,
        batches: Batches,
        loss: Loss,
        validation: Any,
        metric: Metric,
        recipe: Recipe,
        identity: dict[str, Any],
    ) -> None:
        self._emulated, self._batches, self._loss = emulated, batches, loss
        self._validation, self._recipe, self._identity = validation, recipe, identity
        self._metric = metric
        self._steps = LearnedSteps(emulated, learn=recipe.learn_steps)
        self._weights = [p for p in emulated.parameters() if p.requires_grad]
        if not self._weights:
            raise ArgumentError("`emulated` has no parameter that requires gradients.")
        self._optimizer = _optimizer(self._weights, self._steps.parameters(), recipe)
        self._device = self._weights[0].device
        self._history: list[Epoch] = []
        self._best, self._best_epoch = ModelState.of(emulated), 0

    def run(
        self, checkpoint: str | os.PathLike[str] | None, show: Progress | None
    ) -> RetrainResult:
        """Train for the epochs that are left.

        Args:
            checkpoint: File that is written after each epoch.
            show: Called after each step.
        """
        if not self._history:
            self._history.append(Epoch(0, None, None, self._quality()))
        stopped = "epochs"
        while self._history[-1].epoch < self._recipe.epochs:
            if self._out_of_patience():
                stopped = "patience"
                break
            if not self._train_epoch(show):
                stopped = "nan"
                break
            if checkpoint is not None:
                save_checkpoint(checkpoint, self._state())
        self._best.restore(self._emulated)
        return RetrainResult(tuple(self._history), self._best_epoch, stopped)

    def _train_epoch(self, show: Progress | None) -> bool:
        """Run one epoch, evaluate and remember it; return False if a step was not finite."""
        number = self._history[-1].epoch + 1
        steps, epochs = self._batches.steps, self._recipe.epochs
        total, done, lr = 0.0, 0, 0.0
        for inputs, targets in self._batches.epoch(number):
            part = min(done + 0.5, steps) / steps
            lr = self._recipe.lr * self._recipe.lr_factor((number - 1 + part) / epochs)
            loss = self._step(self._moved(inputs), self._moved(targets), lr)
            if not math.isfinite(loss):
                logger.warning("epoch %d: loss or gradient is not finite, stopping", number)
                return False
            total, done = total + loss, done + 1
            if show is not None:
                show(min((number - 1) * steps + done, number * steps), epochs * steps)
        if done == 0:
            raise ArgumentError("`train` yielded no samples.")
        epoch = Epoch(number, total / done, lr, self._quality())
        self._remember(epoch)
        quality = "" if epoch.validation is None else f", validation {epoch.validation:.2f}"
        logger.info("epoch %d of %d: loss %.4f%s", number, epochs, total / done, quality)
        return True

    def _moved(self, values: Any) -> Any:
        return trackable(moved(values, self._device))

    def _step(self, inputs: Any, targets: Any, lr: float) -> float:
        """Take one step; return the loss, or NaN if the step was left out as not finite."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        self._optimizer.zero_grad(set_to_none=True)
        adapter = self._emulated.adapter
        loss = self._loss(adapter(self._emulated, inputs), inputs, targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            return math.nan
        loss.backward()  # type: ignore[no-untyped-call]
        limit = self._recipe.max_grad_norm
        parameters = [*self._weights, *self._steps.parameters()]
        norm = nn.utils.clip_grad_norm_(parameters, math.inf if limit is None else limit)
        if not bool(norm.isfinite()):
            return math.nan
        self._optimizer.step()
        self._steps.follow()
        return value

    def _quality(self) -> float | None:
        if self._validation is None:
            return None
        return evaluate(self._emulated, self._validation, self._metric, split="validation").value

    def _remember(self, epoch: Epoch) -> None:
        """Add an epoch; its state becomes the best one unless an earlier one is as good."""
        best = self._history[self._best_epoch].validation
        self._history.append(epoch)
        error = self._metric.error
        if epoch.validation is None or best is None or error(epoch.validation) < error(best):
            self._best, self._best_epoch = ModelState.of(self._emulated), epoch.epoch

    def _out_of_patience(self) -> bool:
        patience = self._recipe.patience
        waited = self._history[-1].epoch - self._best_epoch
        return patience is not None and waited >= patience

    def _state(self) -> dict[str, Any]:
        """Return all that `load` needs."""
        now = ModelState.of(self._emulated)
        return {
            "identity": self._identity,
            "history": [asdict(epoch) for epoch in self._history],
            "best_epoch": self._best_epoch,
            "now": now.as_values(),
            "best": self._best.as_values(),
            "steps": self._steps.values(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's state."""
        start = ModelState.of(self._emulated)
        self._best = start.with_values(state["best"])
        start.with_values(state["now"]).restore(self._emulated)
        self._steps.restore(state["steps"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._history = [Epoch(**epoch) for epoch in state["history"]]
        self._best_epoch = state["best_epoch"]


def _optimizer(
    weights: list[nn.Parameter], steps: list[nn.Parameter], recipe: Recipe
) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        {"params": steps, "weight_decay": 0.0, "factor": recipe.steps_lr},
    ]
    groups = [{"factor": 1.0, **group} for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=recipe.lr)
