"""``axopt sensitivity``: what each multiplier costs in each layer of a model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from axopt.cli import loading
from axopt.cli.arguments import (
    MAX_SAMPLES,
    add_common,
    add_groups,
    add_library,
    add_threads,
    integer,
    names,
    path,
    word,
)
from axopt.cli.console import Progress, as_table, inform, print_result
from axopt.cli.settings import add_divergence_outputs
from axopt.cli.source import source_given

if TYPE_CHECKING:
    from axopt.sensitivities import Sensitivity

DEFAULT_MODEL = "digits_cnn"
METHODS = ("measured", "gradient")
SAMPLES = 128
CHECKED = 12
SHOWN = 20
"""Most layers of the table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    loading.add_model(parser, default=DEFAULT_MODEL)
    add_library(parser)
    parser.add_argument(
        "--multipliers",
        type=names,
        metavar="NAME,...",
        help="names and patterns (default: the distinct signed multipliers)",
    )
    group = parser.add_argument_group("sensitivity")
    group.add_argument(
        "--samples",
        type=integer(1, MAX_SAMPLES),
        metavar="N",
        default=SAMPLES,
        help="how many samples of --split (default: %(default)s, or all if fewer)",
    )
    group.add_argument(
        "--split",
        choices=("validation", "test", "train"),
        default="validation",
        help="split to measure on (default: %(default)s)",
    )
    group.add_argument(
        "--around",
        type=word,
        metavar="BASE",
        default="exact",
        help="the assignment that is changed in one layer at a time: exact (the exact multiplier "
        "in every layer), uniform (another one in every layer, chosen by its loss), the name of "
        "one, or a file of an assignment (default: %(default)s)",
    )
    _add_method(group)
    loading.add_metric(group)
    loading.add_corrections(group)
    loading.add_quantisation(parser)
    loading.add_partial(parser)
    loading.add_hardware(parser)
    output = parser.add_argument_group("files")
    output.add_argument(
        "--out", type=path, metavar="DIR", help="write the table, JSON and pictures here"
    )
    add_threads(parser)
    add_common(parser)


def _add_method(group: argparse._ArgumentGroup) -> None:
    """Add how sensitivities are found, and of what."""
    group.add_argument(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="measured: one evaluation a change, or gradient: estimated by backward passes "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--check",
        type=integer(0, MAX_SAMPLES),
        metavar="N",
        default=CHECKED,
        help="with --method gradient: values that are measured too, to show the rank correlation "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--objective",
        metavar="NAME",
        default="divergence",
        help="what is measured beside the metric, as in search (default: %(default)s)",
    )
    add_divergence_outputs(group)
    add_groups(group, "are changed together")
    group.add_argument(
        "--swap",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="measure both orders of the operands (default: no)",
    )


def run(options: argparse.Namespace) -> int:
    """Measure the sensitivities, print the most sensitive layers."""
    loading.check_metric(options)
    from axopt.evaluation import measured_data  # torch, after all that may be refused
    from axopt.model import Assignment
    from axopt.multipliers import load_library
    from axopt.sensitivities import sensitivity

    loading.start(options.threads)
    library = load_library(options.library, narrow=True)
    chosen = loading.choose_multipliers(library, options.multipliers)
    is_file = options.around.endswith(".json")
    around = Assignment.load(options.around) if is_file else options.around
    source = source_given(options, options.model)
    inform(options, f"preparing {source.model} for {source.data}, {len(chosen)} multipliers")
    model, data = loading.load(source)
    metric = loading.metric_for(options, source, model, data)
    measured = measured_data(metric, model, data, output=source.output)
    emulated = loading.emulate(source, model, data)
    loading.check_coverage(options, emulated)
    with Progress(options, "sensitivity") as progress:
        found = sensitivity(
            emulated,
            getattr(measured, options.split),
            library=chosen,
            reference=library.exact(signed=any(m.signed for m in chosen.values())),
            samples=options.samples,
            around=around,
            method=options.method,
            check=options.check,
            groups=options.groups,
            operand_order=options.swap,
            metric=metric,
            objective=options.objective,
            divergence_outputs=options.divergence_outputs,
            correct=loading.corrections_of(options),
            on_step=progress,
        )
    if options.out is not None:
        found.save(options.out)
    print_result(options, found.as_json(), _as_text(found, options))
    return 0


def _as_text(found: Sensitivity, options: argparse.Namespace) -> str:
    """Return the most sensitive layers as a table, and what it was measured from."""
    contributions = dict(zip(found.names, found.contributions(), strict=True))
    drops = dict(zip(found.names, found.drops or [()] * len(found.names), strict=True))
    labels = dict(zip(found.names, found.options, strict=True))
    unit = f" {found.unit}".rstrip()
    header = (
        "layer",
        f"mean {found.objective}",
        "largest",
        "with",
        f"drop of {found.metric}{unit}",
    )
    rows = []
    for name in found.most_sensitive(SHOWN):
        values = contributions[name]
        worst = values.index(max(values))
        drop = f"{drops[name][worst]:.2f}" if drops[name] else ""
        mean = sum(values) / len(values)
        rows.append((name, f"{mean:.4g}", f"{values[worst]:.4g}", labels[name][worst], drop))
    more = len(found.names) - len(rows)
    lines = [
        as_table(header, rows),
        *([f"and {more} less sensitive ones"] if more else []),
        found.summary(),
        f"{found.metric} of the exact network: {found.exact_quality:.2f}{unit}",
    ]
    if options.out is not None:
        lines.append(f"the table of all options and the pictures are in {options.out}")
    return "\n".join(lines)
