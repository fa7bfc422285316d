"""``axopt retrain``: model, data and multipliers -> weights and an assignment."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.cli import loading
from axopt.cli.arguments import (
    add_common,
    add_library,
    add_threads,
    figure,
    integer,
    path,
    word,
)
from axopt.cli.console import Progress, as_table, inform, print_result
from axopt.cli.prices import cost_under_data, power_text
from axopt.cli.source import Source, source_given, source_of
from axopt.errors import ArgumentError

if TYPE_CHECKING:
    from torch import nn

    from axopt.data import Dataset, Split
    from axopt.evaluation import Evaluation
    from axopt.model import Cost, EmulatedModel
    from axopt.multipliers import MultiplierLibrary
    from axopt.retraining import RetrainResult

DEFAULT_MODEL = "digits_cnn"
GRADIENTS = ("table", "slopes", "ste")
AUGMENTATIONS = ("none", "crop", "crop-flip")
EPOCHS = 4
MAX_EPOCHS = 100_000
WITH_MULTIPLIER = ("calibrator", "calibration_samples", "weight_scales", "include", "exclude")
"""Options that go with ``--multiplier`` only: an assignment states its own."""
MAX_BATCH = 1_000_000
MAX_SEED = 2**32 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument(
        "--assignment", type=path, metavar="FILE", help="multipliers and formats to start from"
    )
    start.add_argument(
        "--multiplier", type=word, metavar="NAME", help="one multiplier for all layers"
    )
    parser.add_argument(
        "--swap", action="store_true", help="with --multiplier: the weight is its first operand"
    )
    loading.add_model(parser, default=None)
    add_library(parser)
    loading.add_corrections(parser.add_argument_group("corrections, with --multiplier"))
    _add_training(parser)
    loading.add_metric(parser)
    loading.add_samples(
        parser.add_argument_group("samples"),
        train="for training",
        validation="after each epoch",
        test="before and after",
    )
    loading.add_quantisation(parser, "quantisation, with --multiplier")
    loading.add_partial(parser)
    loading.add_hardware(parser)
    _add_run(parser)
    add_threads(parser)
    add_common(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument(
        "--epochs",
        type=integer(1, MAX_EPOCHS),
        metavar="N",
        default=EPOCHS,
        help="passes over the training samples (default: %(default)s)",
    )
    group.add_argument(
        "--gradient",
        choices=GRADIENTS,
        default=GRADIENTS[0],
        help="of products: the slopes of the table, one slope for each level, or straight-through "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--no-learn-steps", action="store_true", help="do not learn the quantisers' scales"
    )
    group.add_argument(
        "--distil", action="store_true", help="learn the float model's predictions too"
    )
    group.add_argument("--lr", type=figure, metavar="RATE", help="peak learning rate")
    group.add_argument(
        "--batch-size", type=integer(1, MAX_BATCH), metavar="N", help="samples of a training step"
    )
    group.add_argument(
        "--augment",
        choices=AUGMENTATIONS,
        default="none",
        help="random changes of the training images (default: %(default)s)",
    )
    group.add_argument(
        "--patience",
        type=integer(1, MAX_EPOCHS),
        metavar="N",
        help="stop after N epochs without a better validation",
    )
    group.add_argument(
        "--seed",
        type=integer(0, MAX_SEED),
        metavar="N",
        default=0,
        help="seed of the samples' order and of --augment (default: %(default)s)",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run folder")
    group.add_argument(
        "--out",
        type=path,
        metavar="DIR",
        help="folder of weights and assignment (default: runs/MODEL-retrained)",
    )
    group.add_argument("--checkpoint", type=path, metavar="FILE", help="written after each epoch")
    group.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    group.add_argument("--force", action="store_true", help="replace an existing model")


def run(options: argparse.Namespace) -> int:
    """Retrain, measure before and after, write the model.

    Returns:
        0, or 1 if training stopped at a loss that was not finite.
    """
    from axopt.evaluation import evaluate
    from axopt.multipliers import load_library
    from axopt.retraining import check_free

    loading.start(options.threads)
    _check(options)
    source = _source(options)
    name = re.sub(r"[^\w.-]", "-", source.model)
    out = options.out or Path("runs") / f"{name}-retrained"
    check_free(out, force=options.force)
    library = load_library(source.library, narrow=True)
    model, data = loading.load(source)
    metric = loading.metric_of(options, source.model)
    train, validation, test = _splits(options, source, metric, model, data)
    emulated = loading.emulate(source, model, data)
    loading.check_coverage(options, emulated)
    _assign(options, emulated, library)
    inform(options, f"retraining {source.model} on {len(train)} samples of {source.data}")
    before = evaluate(emulated, test, metric)
    result = _retrained(options, emulated, metric, model, train, validation)
    after = evaluate(emulated, test, metric)
    price, saved = _saved(options, source, emulated, library, out, after, validation)
    under_data = cost_under_data(options, emulated, library[price.reference])
    shown = {
        **_as_json(result, before, after, price, saved),
        "cost_under_data": None if under_data is None else asdict(under_data),
    }
    text = _as_text(result, before, after, power_text(price, under_data), saved)
    print_result(options, shown, text)
    return 1 if result.stopped == "nan" else 0


def _splits(
    options: argparse.Namespace, source: Source, metric: str, model: nn.Module, data: Dataset
) -> tuple[Split, Split, Split]:
    """Return the samples to train on, to validate on and to test on, with their targets."""
    from axopt.evaluation import METRICS, learnt_data, measured_data

    measured = measured_data(metric, model, data, output=source.output)
    learnt = measured  # where both are outputs of the float model, it runs once
    if not METRICS[metric].reference:
        learnt = learnt_data(metric, model, data, output=source.output)
    train, validation, test = (
        loading.first_samples(
            getattr(part, split), getattr(options, f"{split}_samples"), f"{split}-samples"
        )
        for part, split in ((learnt, "train"), (measured, "validation"), (measured, "test"))
    )
    return train, validation, test


def _retrained(
    options: argparse.Namespace,
    emulated: EmulatedModel,
    metric: str,
    model: nn.Module,
    train: Split,
    validation: Split,
) -> RetrainResult:
    from axopt.data import AUGMENTATIONS
    from axopt.retraining import retrain

    with Progress(options, "steps") as progress:
        return retrain(
            emulated,
            train,
            validation=validation,
            metric=metric,
            teacher=model if options.distil else None,
            augment=AUGMENTATIONS[options.augment],
            checkpoint=options.checkpoint,
            resume=options.resume,
            progress=progress,
            epochs=options.epochs,
            gradient=options.gradient,
            learn_steps=not options.no_learn_steps,
            patience=options.patience,
            seed=options.seed,
            **{k: v for k in ("lr", "batch_size") if (v := getattr(options, k)) is not None},
        )


def _saved(
    options: argparse.Namespace,
    source: Source,
    emulated: EmulatedModel,
    library: MultiplierLibrary,
    out: Path,
    after: Evaluation,
    validation: Split,
) -> tuple[Cost, Path]:
    """Write the model; return its cost and the path of its assignment."""
    from axopt.evaluation import METRICS, evaluate
    from axopt.model import cost
    from axopt.retraining import save_retrained

    reference = library.exact(
        signed=any(m.multiplier.signed for m in emulated.emulated_layers.values())
    )
    price = cost(emulated, reference=reference)
    saved = save_retrained(
        emulated,
        out,
        source=source.as_json(),
        metrics={
            "metric": after.metric,
            "unit": METRICS[after.metric].unit,
            "test": asdict(after),
            "validation": asdict(evaluate(emulated, validation, after.metric)),
        },
        cost=asdict(price),
        force=options.force,
    )
    return price, saved


def _check(options: argparse.Namespace) -> None:
    if options.swap and options.multiplier is None:
        raise ArgumentError("`--swap` goes with `--multiplier`: an assignment has its own order.")
    if options.multiplier is None:
        for name in WITH_MULTIPLIER:
            if getattr(options, name) is not None:
                option = name.replace("_", "-")
                raise ArgumentError(
                    f"`--{option}` goes with `--multiplier`: an assignment has its own."
                )
    if options.resume and options.checkpoint is None:
        raise ArgumentError("`--resume` needs a `--checkpoint`.")
    if options.checkpoint is not None and not options.resume and not options.force:
        from axopt.errors import RunExistsError

        if options.checkpoint.exists():
            raise RunExistsError(f"{options.checkpoint} exists; --resume it or --force a new one.")


def _source(options: argparse.Namespace) -> Source:
    """Return the source that the assignment names, or the options with the zoo's defaults."""
    if options.assignment is not None:
        from axopt.model import Assignment

        document = Assignment.load(options.assignment).model
        return source_of(document, str(options.assignment), options)
    return source_given(options, options.model or DEFAULT_MODEL)


def _assign(
    options: argparse.Namespace, emulated: EmulatedModel, library: MultiplierLibrary
) -> None:
    from axopt.model import assign_
    from axopt.retraining import load_retrained_

    if options.assignment is None:
        multiplier = library[options.multiplier]
        choice = (multiplier, True) if options.swap else multiplier
        assign_(emulated, choice, correct=loading.corrections_of(options))
    else:
        load_retrained_(emulated, options.assignment, library=library)


def _as_json(
    result: RetrainResult, before: Evaluation, after: Evaluation, price: Cost, saved: Path
) -> dict[str, Any]:
    return {
        "assignment": str(saved),
        "stopped": result.stopped,
        "best_epoch": result.best_epoch,
        "history": result.records(),
        "before": asdict(before),
        "after": asdict(after),
        "cost": asdict(price),
    }


def _as_text(
    result: RetrainResult, before: Evaluation, after: Evaluation, power: str, saved: Path
) -> str:
    rows = [
        [str(epoch.epoch), *("" if v is None else f"{v:.4g}" for v in (epoch.loss, epoch.lr)),
         "" if epoch.validation is None else f"{epoch.validation:.2f}"]
        for epoch in result.history
    ]  # fmt: skip
    ended = {
        "epochs": "all epochs done",
        "patience": "validation no longer improved",
        "nan": "loss or gradient was not finite, the last good state is kept",
    }
    return (
        f"{as_table(('epoch', 'loss', 'rate', 'validation'), rows)}\n"
        f"{ended[result.stopped]}; the model is that of epoch {result.best_epoch}\n"
        f"{after.metric} {before.value:.2f} -> {loading.with_unit(after.metric, after.value)}"
        f" [{after.low:.2f}, {after.high:.2f}] on {after.n} test samples\n"
        f"power {power}\nwritten to {saved}"
    )
