"""``axopt multipliers import``."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from axopt.cli.arguments import Parser, figure, path, word
from axopt.cli.console import print_result
from axopt.cli.multipliers.destination import prepare_library
from axopt.cli.multipliers.figures import figures_of
from axopt.cli.multipliers.options import add_kind
from axopt.errors import MissingFigureError

if TYPE_CHECKING:
    from axopt.circuits import ImportedLibrary

DEFAULT_DIRECTORY = "user_multipliers"


def add_arguments(parser: Parser) -> None:
    """Add the options of this action."""
    parser.later_epilog = _importers_epilog
    parser.add_argument(
        "file",
        type=path,
        help="a circuit or product table in a format named below, a folder of such files, or a"
        " .zip of them",
    )
    parser.add_argument(
        "--format", type=word, help="format of the file (default: that of its suffix)"
    )
    parser.add_argument(
        "--power", type=figure, metavar="MW", help="power in mW (default: see below)"
    )
    parser.add_argument(
        "--area", type=figure, metavar="UM2", help="area in um2 (default: see below)"
    )
    parser.add_argument(
        "--delay", type=figure, metavar="NS", help="delay in ns (default: see below)"
    )
    parser.add_argument(
        "--name", type=word, help="name in the library (default: that in the file, or the file's)"
    )
    parser.add_argument(
        "--release", type=word, default="user", help="release that it belongs to (default: user)"
    )
    add_kind(
        parser, "operands are -128..127", "operands are 0..255 (default: the smaller mean error)"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="rebuild the products of two negative operands that AdaPT's converter breaks",
    )
    parser.add_argument(
        "--to",
        type=path,
        metavar="DIR",
        default=DEFAULT_DIRECTORY,
        help="the library; a new one gets the bundled multipliers too (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Add the multipliers of a file, a folder or an archive to the library in a folder."""
    from axopt.circuits import import_library

    try:
        found = import_library(
            options.file,
            name=options.name,
            signed=options.signed,
            power_mw=options.power,
            area_um2=options.area,
            delay_ns=options.delay,
            release=options.release,
            format=options.format,
            repair=options.repair,
        )
    except MissingFigureError as error:
        raise MissingFigureError(f"{error} (--power, --area, --delay)") from error
    for note in _joined(found.notes):
        warnings.warn(note, UserWarning, stacklevel=1)
    directory = Path(options.to)
    prepare_library(directory, found.multipliers)
    found.save(directory)
    if len(found.multipliers) == 1 and not found.failures:
        _print_one(options, found, directory)
    else:
        _print_all(options, found, directory)
    return 1 if found.failures else 0


def _joined(notes: Sequence[str | Warning]) -> list[str]:
    """Return notes "file: text" as texts, those that many files share as one."""
    files_of: dict[str, list[str]] = {}
    joined = []
    for note in map(str, notes):
        file, colon, text = note.partition(": ")
        if colon:
            files_of.setdefault(text, []).append(file)
        else:
            joined.append(note)
    for text, (first, *others) in files_of.items():
        more = f" and {len(others)} more" if others else ""
        joined.append(f"{first}{more}: {text}")
    return joined


def _print_one(options: argparse.Namespace, found: ImportedLibrary, directory: Path) -> None:
    [multiplier] = found.multipliers
    kind = "signed" if multiplier.signed else "unsigned"
    estimated = " (estimated: " + ", ".join(multiplier.intervals) + ")"
    print_result(
        options,
        {**figures_of(multiplier), "library": str(directory)},
        f"{multiplier.key} ({kind}, MAE {multiplier.metrics.mae:.4g}) is in {directory}"
        f"{estimated if multiplier.is_estimated else ''}; search it with --library {directory}",
    )


def _print_all(options: argparse.Namespace, found: ImportedLibrary, directory: Path) -> None:
    estimated = sum(multiplier.is_estimated for multiplier in found.multipliers)
    lines = [f"cannot be read: {line}" for line in found.failures]
    summary = f"{len(found.multipliers)} multipliers are in {directory}"
    if found.merged:
        summary += f", {found.merged} files that repeat one are merged"
    if estimated:
        summary += f", {estimated} have estimated figures"
    if found.failures:
        summary += f", {len(found.failures)} cannot be read"
    lines.append(f"{summary}; search them with --library {directory}")
    result = {
        "multipliers": [multiplier.key for multiplier in found.multipliers],
        "merged": found.merged,
        "estimated": estimated,
        "failures": list(found.failures),
        "library": str(directory),
    }
    print_result(options, result, "\n".join(lines))


def _importers_epilog() -> str:
    from axopt.multipliers import IMPORTERS, describe_formats

    return (
        f"Formats: {describe_formats(IMPORTERS)}. Rows of a table are the first operand, columns "
        "the second, both in numeric order: -128..127 or 0..255; another order is recognised. "
        "Power, area and delay are those that the file states, else they are estimated from its "
        "gates; for a table they must be given. Of a folder the exit code is 0 if all was read, "
        "1 if a part was, 2 if nothing was."
    )
