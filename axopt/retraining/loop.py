"""Approximation-aware retraining: train a model with its multipliers in the forward pass."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn

from axopt.data import Dataset, Split
from axopt.errors import ArgumentError
from axopt.evaluation import Metric, as_metric
from axopt.evaluation.metrics import OfSamples
from axopt.evaluation.quality import batches_of
from axopt.files import as_path
from axopt.layers import Gradient, Shares
from axopt.model import EmulatedModel
from axopt.model.emulated_model import check_emulated
from axopt.model.formats import formats_entry
from axopt.retraining.batches import Augment, Batches
from axopt.retraining.checkpoint import load_checkpoint
from axopt.retraining.losses import Loss, LossFunction
from axopt.retraining.recipe import Recipe
from axopt.retraining.state import ModelState, set_gradient
from axopt.retraining.trainer import Progress, RetrainResult, Trainer


@torch.inference_mode(False)  # training tracks gradients in whatever mode the caller is
@torch.enable_grad()
def retrain(
    emulated: EmulatedModel,
    train: Any,
    *,
    validation: Any = None,
    metric: str | Metric | OfSamples = "top1",
    loss: LossFunction | None = None,
    teacher: nn.Module | None = None,
    augment: Augment | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | Progress = False,
    **recipe: Any,
) -> RetrainResult:
    """Train an emulated model with the multipliers that it has, in place.

    All parameters that require gradients are trained, and with ``learn_steps`` the scales of the
    quantisers too; their final values become the layers' formats, so an assignment stores them.
    The model stays in evaluation mode: batch norms that were not folded keep their statistics.
    With validation data the model ends in the state that was best there, which may be the state
    before training; without, in the last one. After an error the model is as it was before.

    Args:
        emulated: A model made by `prepare`, which says how inputs are passed (``forward``) and
            which output is trained (``output``).
        train: A data set, a split, or batches (inputs, targets) that can be iterated once per
            epoch, such as a DataLoader or a list. uint8 inputs are divided by 255.
        validation: What `evaluate` takes; the data set's validation split by default.
        metric: What `evaluate` measures on it: a name, a `Metric`, or a function with an attribute
            ``higher_is_better``.
        loss: Called as ``loss(outputs, targets)``; returns one number, or one per sample, whose
            mean is minimised. By default cross entropy for class numbers ``(N,)``, and the mean
            square for float targets, which must have the shape of the outputs.
        teacher: Float model whose predictions (logits, classes along dimension 1) are learned
            beside the targets.
        augment: Called as ``augment(inputs, generator)``; returns inputs of the same shape and
            dtype. See `axopt.data.AUGMENTATIONS`.
        checkpoint: File that is written after each epoch.
        resume: Continue from it. On one thread the result is that of a run never interrupted.
        progress: True for a bar on stderr, or a function of the steps done and of all steps.
        recipe: Fields of `Recipe`: ``epochs``, ``gradient``, ``learn_steps``, ``lr``, ...

    Returns:
        The epochs, and which of them the model is in the state of.

    Raises:
        ArgumentError: If an argument breaks its rule, `prepare` did not make ``emulated``, or
            nothing requires gradients.
        CheckpointError: If ``resume`` finds no checkpoint, or one of another retraining.
        DatasetError: If the data does not fit the model.

    Example:
        >>> import torch, axopt
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(32, 4)
        >>> emulated = axopt.prepare(nn.Linear(4, 2), [x])
        >>> axopt.assign_(emulated, "mul8s_1L2D")
        >>> batches = [(x, (x[:, 0] > x[:, 1]).long())]
        >>> result = retrain(emulated, batches, epochs=2, validation=batches)
        >>> len(result.history), result.stopped
        (3, 'epochs')
    """
    check_emulated(emulated)
    chosen = _recipe(recipe)
    measured = as_metric(metric)
    if resume and checkpoint is None:
        raise ArgumentError("`resume` needs a `checkpoint`.")
    if checkpoint is not None:
        checkpoint = as_path(checkpoint, "checkpoint")
    if isinstance(train, Dataset):
        validation = train.validation if validation is None else validation
        train = train.train
    _check_validation(validation)
    batches = Batches(
        train,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        augment=augment,
        seed=chosen.seed,
    )
    minimised = Loss(chosen, emulated.adapter, own=loss, teacher=teacher)
    before = ModelState.of(emulated)
    with _set_for_training(emulated, teacher, cast(Gradient, chosen.gradient)):
        try:
            identity = _identity(emulated, train, chosen, measured, minimised)
            trainer = Trainer(emulated, batches, minimised, validation, measured, chosen, identity)
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


def _check_validation(validation: Any) -> None:
    if validation is None:
        return
    if isinstance(validation, Iterator):
        raise ArgumentError(
            "`validation` is measured after each epoch, but can be iterated only once: pass a "
            "list of batches or a DataLoader."
        )
    try:
        batches_of(validation, "validation")
    except ArgumentError as error:
        raise ArgumentError(str(error).replace("`data`", "`validation`")) from None


def _recipe(fields: dict[str, Any]) -> Recipe:
    unknown = fields.keys() - Recipe.__dataclass_fields__.keys()
    if unknown:
        names = ", ".join(Recipe.__dataclass_fields__)
        raise ArgumentError(f"`{min(unknown)}` is not an option of retraining: {names}.")
    if "epochs" not in fields:
        raise ArgumentError("`epochs` must be given.")
    return Recipe(**fields)


def _identity(
    emulated: EmulatedModel, train: Any, recipe: Recipe, metric: Metric, loss: Loss
) -> dict[str, Any]:
    """Fields that must match for a run to be resumed."""
    options = {"layer options": emulated.options} if emulated.options else {}
    own = {"loss": loss.name} if loss.name else {}  # checkpoints of earlier versions have none
    output = {"output": emulated.adapter.output} if emulated.adapter.output else {}
    return {
        **recipe.as_json(),
        **options,
        **own,
        **output,
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
    """Set evaluation mode and the layers' gradients; restore both at the end."""
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


@contextlib.contextmanager
def _shown(progress: bool | Progress) -> Iterator[Progress | None]:
    """Yield what is called after each step, None for nothing."""
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
