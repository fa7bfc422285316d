"""Approximation-aware retraining: train a model with its multipliers in the forward pass.

.. [Loshchilov2019] I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization" (AdamW),
   ICLR 2019.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from axopt.data import Dataset, Split
from axopt.errors import ArgumentError
from axopt.evaluation import Metric, as_metric, evaluate
from axopt.evaluation.metrics import OfSamples
from axopt.layers import Gradient, Shares
from axopt.model import EmulatedModel
from axopt.model.formats import formats_entry
from axopt.retraining.batches import Augment, Batches
from axopt.retraining.checkpoint import load_checkpoint, save_checkpoint
from axopt.retraining.losses import Loss
from axopt.retraining.recipe import Recipe
from axopt.retraining.state import LearnedSteps, ModelState, set_gradient

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Epoch:
    """One pass, or the state before the first as number 0.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean loss of its steps; None for 0.
        lr: Learning rate of its last step; None for 0.
        validation: Quality after it, in the unit of the metric; None without validation data.
    """

    epoch: int
    loss: float | None
    lr: float | None
    validation: float | None


@dataclass(frozen=True)
class RetrainResult:
    """What a retraining did.

    Attributes:
        history: The state before it and each pass.
        best_epoch: The pass whose state the model is in.
        stopped: Why it ended: "epochs", "patience", or "nan" where loss or gradient was not
            finite; the model is then in the state of ``best_epoch``, the last good one.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    stopped: str

    def records(self) -> list[dict[str, Any]]:
        """The history as plain values, a dictionary a row."""
        return [asdict(epoch) for epoch in self.history]


def retrain(
    emulated: EmulatedModel,
    train: Any,
    *,
    validation: Any = None,
    metric: str | Metric | OfSamples = "top1",
    teacher: nn.Module | None = None,
    augment: Augment | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | Progress = False,
    **recipe: Any,
) -> RetrainResult:
    """Train an emulated model with the multipliers that it has, in place.

    All parameters are trained that require gradients, and with ``learn_steps`` the scales of the
    quantisers, whose final values become the layers' formats, so that an assignment stores them.
    The model stays in evaluation mode: batch norms that were not folded keep their statistics.
    With validation data the model ends in the state that was best there, which may be that before
    training; without, in the last. On an error it is left as it was.

    Args:
        emulated: A model made by `prepare`.
        train: A data set, a split, a DataLoader or anything else that can be iterated again and
            again and yields (inputs, targets); uint8 inputs are divided by 255. Targets are class
            numbers; those of a split may be the outputs of a reference, see `against`.
        validation: What `evaluate` takes; the data set's validation split by default.
        metric: What `evaluate` measures on it: a name, a `Metric`, or a function with an attribute
            ``higher_is_better``.
        teacher: Float model whose predictions are learned beside the labels.
        augment: Varies inputs ``(N, ...)``, called with a generator; see `axopt.data`.
        checkpoint: File that is written after each epoch.
        resume: Go on from it. On one thread the result is that of a run never interrupted.
        progress: True for a bar on stderr, or a function of steps done and steps in all.
        recipe: Fields of `Recipe`: ``epochs``, ``gradient``, ``learn_steps``, ``lr``, ...

    Raises:
        ArgumentError: If an argument breaks its rule, or nothing requires gradients.
        CheckpointError: If ``resume`` finds no checkpoint, or one of another retraining.
        DatasetError: If the data does not fit the model.
    """
    chosen = _recipe(recipe)
    measured = as_metric(metric)
    if resume and checkpoint is None:
        raise ArgumentError("`resume` needs a `checkpoint`.")
    if isinstance(train, Dataset):
        validation = train.validation if validation is None else validation
        train = train.train
    batches = Batches(
        train,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        augment=augment,
        seed=chosen.seed,
    )
    before = ModelState.of(emulated)
    with _set_for_training(emulated, teacher, cast(Gradient, chosen.gradient)):
        try:
            loss = Loss(chosen, teacher)
            identity = _identity(emulated, train, chosen, measured)
            trainer = _Trainer(emulated, batches, loss, validation, measured, chosen, identity)
            if resume and checkpoint is not None:
                trainer.load(load_checkpoint(checkpoint, identity))
            with _shown(progress) as show:
                result = trainer.run(checkpoint, show)
            if result.best_epoch == 0:
                before.restore(emulated)
            return result
        except BaseException:
            before.restore(emulated)
            raise


def _recipe(fields: dict[str, Any]) -> Recipe:
    unknown = fields.keys() - Recipe.__dataclass_fields__.keys()
    if unknown:
        names = ", ".join(Recipe.__dataclass_fields__)
        raise ArgumentError(f"`{min(unknown)}` is not an option of retraining: {names}.")
    if "epochs" not in fields:
        raise ArgumentError("`epochs` must be given.")
    return Recipe(**fields)


def _identity(
    emulated: EmulatedModel, train: Any, recipe: Recipe, metric: Metric
) -> dict[str, Any]:
    """What must be the same for a run to be gone on with."""
    options = {"layer options": emulated.options} if emulated.options else {}
    return {
        **recipe.as_json(),
        **options,
        "model": emulated.digest,
        "formats": _formats_digest(emulated),
        "multipliers": [f"{i.multiplier} {i.swap}" for i in emulated.layers()],
        "train": train.digest if isinstance(train, Split) else None,
        "metric": metric.name,
    }


def _formats_digest(emulated: EmulatedModel) -> str:
    layers = emulated.emulated_layers.items()
    entries = {name: formats_entry(layer.quantisation()) for name, layer in layers}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _set_for_training(
    emulated: EmulatedModel, teacher: nn.Module | None, gradient: Gradient
) -> Iterator[None]:
    """Evaluation mode, and the layers' gradients, for as long as it takes."""
    layers = emulated.emulated_layers
    gradients = {name: layer.gradient for name, layer in layers.items()}
    modules = [*emulated.modules(), *([] if teacher is None else teacher.modules())]
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    set_gradient(emulated, gradient)
    for layer in layers.values():
        layer.shares = Shares.of(layer)
    try:
        yield
    finally:
        set_gradient(emulated, gradients)
        for layer in layers.values():
            layer.steps = layer.shares = None
        for module in training:
            module.training = True
        for parameter in emulated.parameters():
            parameter.grad = None


class _Trainer:
    """A model on its way through a recipe."""

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
        """All epochs that are left."""
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
        """One pass and what follows it; False if loss or gradient was not finite."""
        number = self._history[-1].epoch + 1
        steps, epochs = self._batches.steps, self._recipe.epochs
        total, done, lr = 0.0, 0, 0.0
        for inputs, targets in self._batches.epoch(number):
            part = min(done + 0.5, steps) / steps
            lr = self._recipe.lr * self._recipe.lr_factor((number - 1 + part) / epochs)
            loss = self._step(inputs.to(self._device), targets.to(self._device), lr)
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

    def _step(self, inputs: Tensor, targets: Tensor, lr: float) -> float:
        """One step; the loss, or NaN where the gradient is not finite, which changes nothing."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self._emulated(inputs), inputs, targets)
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
        """Add an epoch; it is the best if none before was better, or there is no validation."""
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
        """Everything that `load` needs to go on."""
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
        """Go on from where `_state` was called."""
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


@contextlib.contextmanager
def _shown(progress: bool | Progress) -> Iterator[Progress | None]:
    """What to call after each step."""
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield None
    else:
        from tqdm import tqdm

        with tqdm(desc="retrain", file=sys.stderr) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield show
