"""``axopt multipliers import``."""

from __future__ import annotations

import argparse
from pathlib import Path

from axopt.cli.arguments import Parser, figure, path, word
from axopt.cli.console import print_result
from axopt.cli.multipliers.destination import prepare_library
from axopt.cli.multipliers.figures import figures_of
from axopt.cli.multipliers.options import add_kind
from axopt.errors import MissingFigureError

DEFAULT_DIRECTORY = "user_multipliers"


def add_arguments(parser: Parser) -> None:
    """Add the options of this action."""
    parser.later_epilog = _importers_epilog
    parser.add_argument("file", type=path, help="a product table, in a format named below")
    parser.add_argument(
        "--format", type=word, help="format of the file (default: that of its suffix)"
    )
    parser.add_argument(
        "--power", type=figure, metavar="MW", help="power in mW (default: the file's)"
    )
    parser.add_argument(
        "--area", type=figure, metavar="UM2", help="area in um2 (default: the file's)"
    )
    parser.add_argument(
        "--delay", type=figure, metavar="NS", help="delay in ns (default: the file's)"
    )
    parser.add_argument(
        "--name", type=word, help="name in the library (default: the file's without suffix)"
    )
    parser.add_argument(
        "--release", type=word, default="user", help="release that it belongs to (default: user)"
    )
    add_kind(
        parser, "operands are -128..127", "operands are 0..255 (default: the smaller mean error)"
    )
    parser.add_argument(
        "--to",
        type=path,
        metavar="DIR",
        default=DEFAULT_DIRECTORY,
        help="the library; a new one gets the bundled multipliers too (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Read a table from a file and add it to the library in a folder."""
    from axopt.multipliers import add_to_library, import_multiplier

    try:
        multiplier = import_multiplier(
            options.file,
            name=options.name,
            signed=options.signed,
            power_mw=options.power,
            area_um2=options.area,
            delay_ns=options.delay,
            release=options.release,
            format=options.format,
        )
    except MissingFigureError as error:
        raise MissingFigureError(f"{error} (--power, --area, --delay)") from error
    directory = Path(options.to)
    prepare_library(directory, [multiplier])
    add_to_library(multiplier, directory)
    kind = "signed" if multiplier.signed else "unsigned"
    print_result(
        options,
        {**figures_of(multiplier), "library": str(directory)},
        f"{multiplier.key} ({kind}, MAE {multiplier.metrics.mae:.4g}) is in {directory};"
        f" search it with --library {directory}",
    )
    return 0


def _importers_epilog() -> str:
    from axopt.multipliers import IMPORTERS, describe_formats

    return (
        f"Formats: {describe_formats(IMPORTERS)}. Rows of a .npy table are the first operand, "
        "columns the second, both in numeric order: -128..127 or 0..255. Power, area and delay "
        "are needed where the file does not state them."
    )
