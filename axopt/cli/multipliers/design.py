"""``axopt multipliers design``: multipliers for the layers of a network."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from axopt.cli import loading
from axopt.cli.arguments import MAX_SAMPLES, Parser, add_threads, figure, integer, path
from axopt.cli.console import as_table, inform, print_result
from axopt.cli.source import Source, source_given, source_of
from axopt.errors import ArgumentError

if TYPE_CHECKING:
    from axopt.design import Design

MAX_COUNT = 16
SAMPLES = 128


def add_arguments(parser: Parser) -> None:
    """Add the options of this action."""
    parser.add_argument(
        "--run", type=path, metavar="DIR", help="take model, data and quantisation from this run"
    )
    loading.add_model(parser, default=None)
    loading.add_quantisation(parser)
    loading.add_hardware(parser)
    parser.add_argument(
        "--count",
        type=integer(1, MAX_COUNT),
        metavar="N",
        default=4,
        help="most multipliers, the exact one apart (default: %(default)s)",
    )
    parser.add_argument(
        "--power",
        type=_relative_power,
        metavar="SHARE",
        help="power relative to the exact multiplier at which the network should be best, such as "
        "0.2 (default: all powers)",
    )
    parser.add_argument(
        "--samples",
        type=integer(1, MAX_SAMPLES),
        metavar="N",
        help="of the validation split, to measure the sensitivity of layers (default: "
        f"{SAMPLES}, or all if fewer)",
    )
    parser.add_argument(
        "--unsigned",
        dest="signed",
        action="store_false",
        help="design unsigned multipliers (default: signed ones)",
    )
    parser.add_argument(
        "--to",
        type=path,
        metavar="DIR",
        required=True,
        help="a new folder for the library: tables, figures, gates, Verilog, comparison",
    )
    add_threads(parser)
    parser.set_defaults(library=None)


def run(options: argparse.Namespace) -> int:
    """Design the multipliers, save them and print the comparison."""
    source = _source(options)
    from axopt.design import design_multipliers
    from axopt.design.result import check_is_new

    check_is_new(options.to)
    loading.start(options.threads)
    model, data = loading.load(source)
    emulated = loading.emulate(source, model, data)
    loading.check_coverage(options, emulated)
    if options.samples is not None:
        loading.first_samples(data.validation, options.samples, "samples")
    design = design_multipliers(
        emulated,
        data,
        count=options.count,
        power=options.power,
        samples=options.samples or min(SAMPLES, len(data.validation)),
        signed=options.signed,
        on_step=lambda text: inform(options, text),
    )
    design.save(options.to)
    result = {
        "library": str(options.to),
        "multipliers": design.table.to_dict("records"),
        "comparison": design.comparison.to_dict("records"),
    }
    print_result(options, result, f"{_as_text(design)}\n{_hint(options)}")
    return 0


def _source(options: argparse.Namespace) -> Source:
    """Return what the network is built from: the options', else the run's."""
    if options.run is None:
        if options.model is None:
            raise ArgumentError("`--run` or `--model` must be given.")
        return source_given(options, options.model)
    for name in ("calibrator", "calibration_samples", "weight_scales", "include", "exclude"):
        if getattr(options, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ArgumentError(f"`{flag}` goes with `--model`, a run has its own.")
    from axopt.model import Assignment

    files = sorted((options.run / "assignments").glob("point-*.json"))
    if not files:
        raise ArgumentError(f"`--run`: there is no assignment in {options.run / 'assignments'}.")
    return source_of(Assignment.load(files[0]).model, str(files[0]), options)


def _as_text(design: Design) -> str:
    rows = [
        [
            str(row["origin"]),
            f"{row['multiplier']}{' est.' if row['power_mw_low'] < row['power_mw_high'] else ''}",
            f"{row['power_mw']:.4f}",
            f"{row['rel_power']:.3f}",
            f"{row['distance_pct']:.2f}",
        ]
        for row in design.comparison.to_dict("records")
    ]
    header = ("origin", "multiplier", "mW", "power", "distance %")
    return (
        f"{as_table(header, rows)}\n"
        "power: relative to the exact multiplier; distance: expected, of the outputs, with the"
        " multiplier in all layers"
    )


def _hint(options: argparse.Namespace) -> str:
    return f"the library is in {options.to}; search it with --library {options.to}"


def _relative_power(text: str) -> float:
    value = figure(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {text!r}")
    return value
