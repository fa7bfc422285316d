"""From what the user names on the command line to models, data, calibration and multipliers."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from axopt.cli.arguments import MAX_SAMPLES, integer, names, path, word
from axopt.cli.console import inform
from axopt.cli.source import Source
from axopt.errors import ArgumentError, DatasetError, UnsupportedLayerError
from axopt.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from axopt.corrections import Corrections
    from axopt.data import Dataset, Split
    from axopt.layers import Accumulator
    from axopt.model import EmulatedModel
    from axopt.multipliers import MultiplierLibrary

METRICS = ("top1", "top5", "f1", "recognised", "frechet", "agreement", "distance")
CALIBRATORS = ("minmax", "percentile", "mse", "entropy")
WEIGHT_SCALES = ("per-channel", "per-tensor")
ACTIVATION_CODES = ("remapped", "all")
PADDED_TAPS = ("multiply", "skip")
OVERFLOWS = ("wrap", "saturate")
MAX_ACCUMULATOR_BITS = 32
CALIBRATION_SAMPLES = 512
CALIBRATION_BATCH = 64
LEAST_COVERAGE = 0.5
"""Share of the multiplications that a search or a retraining asks for."""


def add_model(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add the options that name a model and data."""
    shown = f" (default: {default})" if default else " (default: that of the assignment)"
    parser.add_argument(
        "--model",
        type=word,
        metavar="NAME",
        default=default,
        help="model of the zoo, or package.module:factory" + shown,
    )
    parser.add_argument(
        "--weights",
        type=path,
        metavar="FILE",
        help="state_dict, .safetensors or .pt (default: those of the zoo)",
    )
    parser.add_argument(
        "--data",
        type=word,
        metavar="READER[:PATH]",
        help="where the samples are: digits, latents, cifar10:PATH, imagefolder:PATH, idx:PATH, "
        "npz:PATH, polarity:PATH (default: the data of the zoo's model, if it is bundled)",
    )
    parser.add_argument(
        "--output",
        type=word,
        metavar="PATH",
        help="output to use of a model that returns several: logits, 0, head.logits",
    )


def add_quantisation(parser: argparse.ArgumentParser, title: str = "quantisation") -> None:
    """Add the options of the conversion to 8 bits; None where they are not given."""
    group = parser.add_argument_group(title)
    group.add_argument(
        "--calibrator",
        choices=CALIBRATORS,
        help=f"how activation ranges are chosen (default: {Source.calibrator})",
    )
    group.add_argument(
        "--calibration-samples",
        type=integer(1, MAX_SAMPLES),
        metavar="N",
        help=f"training samples to calibrate on (default: {CALIBRATION_SAMPLES}, or all if fewer)",
    )
    group.add_argument(
        "--weight-scales",
        choices=WEIGHT_SCALES,
        help="one scale for each output channel of a weight, or one for the whole weight "
        f"(default: {Source.weight_scales})",
    )
    group.add_argument(
        "--include",
        type=names,
        metavar="LAYER,...",
        help="emulate only layers that match a name or pattern",
    )
    group.add_argument(
        "--exclude",
        type=names,
        metavar="LAYER,...",
        help="leave layers that match a name or pattern in float",
    )


def add_hardware(parser: argparse.ArgumentParser) -> None:
    """Add the options of the hardware around the multipliers, which are those of all layers."""
    group = parser.add_argument_group(
        "hardware of all layers (default: that of the assignment, where one is given)"
    )
    group.add_argument(
        "--padded-taps",
        choices=PADDED_TAPS,
        help=f"what convolutions do with zeros that pad (default: {Source.padded_taps})",
    )
    group.add_argument(
        "--accumulator-bits",
        type=integer(1, MAX_ACCUMULATOR_BITS),
        metavar="N",
        help="width of the register that sums products (default: as wide as it must be)",
    )
    group.add_argument(
        "--overflow",
        choices=OVERFLOWS,
        help=f"with --accumulator-bits: what a full register does (default: {OVERFLOWS[0]})",
    )


def add_partial(group: Any) -> None:
    """Add the option that `check_coverage` reads."""
    group.add_argument(
        "--allow-partial",
        action="store_true",
        help=f"go on where less than {100 * LEAST_COVERAGE:.0f} %% of the multiplications are "
        "emulated",
    )


def add_samples(group: Any, **uses: str) -> None:
    """Add an option for the number of samples of each split; its help states their use."""
    for split, use in uses.items():
        group.add_argument(
            f"--{split}-samples",
            type=integer(1, MAX_SAMPLES),
            metavar="N",
            help=f"samples of the {split} split to use {use} (default: all)",
        )


def add_corrections(group: Any) -> None:
    """Add the options that `corrections_of` reads."""
    group.add_argument(
        "--correct",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="give every layer the free corrections that help it (default: yes)",
    )
    group.add_argument(
        "--activation-codes",
        choices=ACTIVATION_CODES,
        default=ACTIVATION_CODES[0],
        help="remapped: corrections may round activations onto codes that the multiplier"
        " multiplies well, which the hardware must do too (default: %(default)s)",
    )


def corrections_of(options: argparse.Namespace) -> bool | Corrections:
    """Return which corrections layers may get."""
    from axopt.corrections import Corrections

    if not options.correct:
        return False
    return Corrections(activation_codes=options.activation_codes == "remapped")


def known_metrics() -> list[str]:
    """Return the metrics that axopt or an installed package has, without importing them."""
    return [*METRICS, *sorted(point.name for point in entry_points(group="axopt.metrics"))]


def add_metric(
    parser: Any, default: str = "that of the model's task in the zoo, else top1"
) -> None:
    """Add the option that `metric_of` reads.

    Any name is taken: the module of a factory may register a metric when it is imported.
    """
    parser.add_argument(
        "--metric",
        type=word,
        metavar="NAME",
        help=f"quality to measure: {', '.join(known_metrics())}, or what the module of --model "
        f"registers (default: {default})",
    )


def check_metric(options: argparse.Namespace) -> None:
    """Refuse a metric that is unknown for sure, before torch is imported.

    Args:
        options: Of the command. If they name a factory, or a model or data of an installed
            package, any metric is accepted here: its module may register the metric.

    Raises:
        ArgumentError: If the metric is unknown.
    """
    metric, sources = options.metric, {options.model, (options.data or "").partition(":")[0]}
    plugged = {
        point.name
        for group in ("axopt.models", "axopt.readers")
        for point in entry_points(group=group)
    }
    evaluation = sys.modules.get("axopt.evaluation")  # loaded: a program may have added metrics
    if metric is None or ":" in options.model or plugged & sources:
        return
    if evaluation is not None and metric in evaluation.METRICS:
        return
    known: Registry[None] = Registry(
        "metric",
        group="axopt.metrics",
        built_in=dict.fromkeys(METRICS, "axopt.evaluation"),
        argument="--metric",
    )
    if metric not in known:
        known[metric]  # raises, with near misses


def metric_of(options: argparse.Namespace, model: str) -> str:
    """Return the metric that the options name, that of the zoo's model by default.

    Args:
        options: Of the command.
        model: What the source names. It was loaded before, as its module may register metrics.

    Raises:
        ArgumentError: If the metric is unknown.
    """
    from axopt import zoo
    from axopt.evaluation import METRICS as REGISTERED

    if options.metric is None:
        return METRICS[0] if ":" in model else zoo.task_metric(model)
    try:
        REGISTERED[options.metric]
    except ArgumentError as error:
        raise ArgumentError(str(error).replace("`metric`", "`--metric`")) from None
    return str(options.metric)


def metric_for(
    options: argparse.Namespace, source: Source, model: nn.Module, data: Dataset
) -> str:
    """Return the metric that the options name; for data without labels, one that needs none.

    Without a named metric, the agreement with the float network stands for a metric of
    classifications, and the distance from its outputs for any other.

    Raises:
        ArgumentError: If the metric is unknown, or needs labels that the data do not have.
    """
    from axopt.evaluation import METRICS as REGISTERED

    named = metric_of(options, source.model)
    metric = REGISTERED[named]
    labelled = data.validation.labelled and data.test.labelled
    if labelled or metric.targets != "classes":
        return named
    if options.metric is not None:
        raise ArgumentError(
            f"`--metric` {named} needs labels, which {source.data} does not have; agreement and "
            "distance compare with the float network."
        )
    classifies = metric.logits and _gives_logits(model, data.validation, source.output)
    chosen = "agreement" if classifies else "distance"
    inform(
        options,
        f"{source.data} has no labels: {chosen} with the float network is reported in place of "
        f"{named}",
    )
    return chosen


def _gives_logits(model: nn.Module, samples: Split, output: str | None) -> bool:
    """Return whether the output of a model is one row of several numbers a sample."""
    import torch

    from axopt.model import adapter_of

    inputs, _ = next(iter(samples.batches(1)))
    with torch.no_grad():
        found = adapter_of(model, output=output)(model, inputs)
    return isinstance(found, torch.Tensor) and found.ndim == 2 and found.shape[1] > 1


def with_unit(metric: str, value: float) -> str:
    """Return a value of a metric as text with two decimals."""
    from axopt.evaluation import METRICS

    return f"{value:.2f} {METRICS[metric].unit}".rstrip()


def load(source: Source) -> tuple[nn.Module, Dataset]:
    """Build the float model and read the data that a source names.

    Raises:
        AxoptError: If one of them cannot be loaded, or the model cannot take the samples.
    """
    from axopt.data import load_data
    from axopt.zoo import load_model

    model, data = load_model(source.model, source.weights), load_data(source.data)
    _check_takes(model, data.train, source)
    return model, data


def _check_takes(model: nn.Module, samples: Split, source: Source) -> None:
    """Run the float model on a sample: what fails here is a wrong pair of model and data."""
    import torch

    from axopt.model import adapter_of

    inputs, _ = next(iter(samples.batches(1)))
    try:
        with torch.no_grad():
            adapter_of(model).call(model, inputs)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DatasetError(
            f"--data {source.data}: the model {source.model} does not take its samples, "
            f"{samples.sample}: {reason}"
        ) from error


def emulate(source: Source, model: nn.Module, data: Dataset) -> EmulatedModel:
    """Convert the model as the source says, the exact multiplier everywhere.

    Raises:
        AxoptError: If the options do not fit the model or the data.
    """
    from axopt.layers import LayerOptions
    from axopt.model import prepare

    n = source.calibration_samples or min(CALIBRATION_SAMPLES, len(data.train))
    calibration = first_samples(data.train, n, "calibration-samples")
    return prepare(
        model,
        calibration.batches(CALIBRATION_BATCH),
        calibrator=source.calibrator,
        weight_scales=source.weight_scales,
        include=source.include or None,
        exclude=source.exclude,
        layer_options=LayerOptions(source.padded_taps, _accumulator_of(source)),
        output=source.output,
    )


def check_coverage(options: argparse.Namespace, emulated: EmulatedModel) -> None:
    """Print which share of the multiplications is emulated; refuse a command that needs more.

    Args:
        options: Of the command. With an option ``allow_partial`` that is False, half of the
            multiplications must be emulated.
        emulated: What the command works on.

    Raises:
        UnsupportedLayerError: If too little is emulated; names the largest product left out.
    """
    from axopt.model.coverage import Coverage

    inform(
        options,
        f"emulated: {100 * emulated.coverage:.1f} % of the multiplications, "
        f"{len(emulated.emulated_layers)} layers",
    )
    if getattr(options, "allow_partial", True) or emulated.coverage >= LEAST_COVERAGE:
        return
    name, count = next(iter(emulated.left_out.items()))
    total = Coverage(emulated.macs, emulated.left_out).total
    raise UnsupportedLayerError(
        f"only {100 * emulated.coverage:.1f} % of the multiplications are emulated, the largest "
        f"product left in float is {name!r} with {100 * count / total:.1f} %; go on with "
        "--allow-partial."
    )


def _accumulator_of(source: Source) -> Accumulator | None:
    from axopt.layers import Accumulator

    if source.accumulator_bits is None:
        return None
    return Accumulator(source.accumulator_bits, source.overflow or OVERFLOWS[0])


def first_samples(split: Split, n: int | None, option: str) -> Split:
    """Return ``n`` samples of a split, all for None.

    Raises:
        ArgumentError: If the split has fewer; names the option.
    """
    if n is None:
        return split
    if n > len(split):
        raise ArgumentError(f"`--{option}` must be at most {len(split)} here, got {n}.")
    return split.take(n)


def choose_multipliers(
    library: MultiplierLibrary, patterns: Sequence[str] | None
) -> MultiplierLibrary:
    """Return the multipliers to search among, those of equal tables once.

    Args:
        library: Where they are looked up.
        patterns: Names (what ``library[name]`` means) and patterns (``mul8s_1K*``,
            ``v2022/mul8s_*``) that match keys, or names where they have no slash. None means
            all signed multipliers; in the bundled library these are the 13 of release v1.

    Raises:
        UnknownMultiplierError: If a name is unknown.
        ArgumentError: If a pattern matches nothing.
    """
    if patterns is None:
        return library.select(names=_distinct(library, library.select(signed=True)))
    keys: list[str] = []
    for pattern in patterns:
        if not any(c in pattern for c in "*?["):
            keys.append(library[pattern].key)
            continue
        form = pattern if "/" in pattern else f"*/{pattern}"
        named = fnmatch.filter(library, form)
        matching = [key for key in named if not library[key].is_degenerate]
        if not matching:
            raise ArgumentError(f"`--multipliers`: nothing in the library matches {pattern!r}.")
        keys += matching
    return library.select(names=_distinct(library, keys))


def _distinct(library: MultiplierLibrary, keys: Iterable[str]) -> list[str]:
    """Drop the keys whose table is that of an earlier one."""
    first: dict[tuple[bool, str], str] = {}
    for key in keys:
        first.setdefault((library[key].signed, library[key].digest), key)
    return list(first.values())


def start(threads: int | None) -> None:
    """Settle what computes, before anything is read or written.

    Args:
        threads: How many threads; torch's choice for None.

    Raises:
        IsaError: If ``AXOPT_ISA`` asks for an instruction set that is not there.
    """
    import torch

    from axopt import kernels

    if threads is not None:
        torch.set_num_threads(threads)
    kernels.active()
