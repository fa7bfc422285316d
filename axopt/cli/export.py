"""``axopt export``: a point of a front for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from axopt.cli.arguments import add_common, integer, path
from axopt.cli.console import print_result
from axopt.errors import ArgumentError, RunExistsError
from axopt.export import BUILT_IN, exporter_for, get_exporter, list_exporters

if TYPE_CHECKING:
    from axopt.export import ExportInput

MAX_POINT = 99_999


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "source", type=path, help="a run folder with --point, or the file of an assignment"
    )
    parser.add_argument(
        "--point", type=integer(0, MAX_POINT), metavar="N", help="number of the point in the front"
    )
    parser.add_argument(
        "--out", type=path, metavar="FILE", required=True, help="the file to write"
    )
    parser.add_argument("--format", choices=list_exporters(), help=_format_help())
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    add_common(parser)


def _format_help() -> str:
    """Describe axopt's own formats; the packages that offer others are not imported for this."""
    own = "; ".join(f"{name}: {get_exporter(name).summary}" for name in BUILT_IN)
    return f"{own} (default: by the suffix of FILE)".replace("%", "%%")


def run(options: argparse.Namespace) -> int:
    """Check the assignment and write it."""
    from axopt.export import write_export

    kind = options.format or _format_of(options.out)
    given, source = _input(options)
    if options.out.exists() and not options.force:
        raise RunExistsError(f"{options.out}: exists already; --force replaces it.")
    write_export(given, options.out, format=kind, force=options.force)
    result = {"assignment": str(source), "file": str(options.out), "format": kind}
    print_result(options, result, f"{source} is in {options.out}")
    return 0


def _format_of(out: Path) -> str:
    try:
        return exporter_for(out).name
    except ArgumentError as error:
        raise ArgumentError(f"`--out`, or give `--format`: {error}") from error


def _input(options: argparse.Namespace) -> tuple[ExportInput, Path]:
    """Load the assignment, and the record of the run that it is from."""
    from axopt.export import ExportInput
    from axopt.model import Assignment
    from axopt.study import RunFolder

    source: Path = options.source
    if not source.is_dir():
        if options.point is not None:
            raise ArgumentError(f"`--point` goes with a run folder, {source} is none.")
        return ExportInput(Assignment.load(source)), source
    if options.point is None:
        raise ArgumentError(f"`--point` must be given, {source} is a folder.")
    name = f"assignments/point-{options.point:02}.json"
    if not (source / name).is_file():
        raise ArgumentError(f"`--point`: there is no {source / name}.")
    assignment = Assignment.load(source / name)
    if not (source / "record.json").exists():  # a folder with assignments alone
        return ExportInput(assignment), source / name
    record = RunFolder(source).record()
    point = next((point for point in record.front if point.assignment == name), None)
    return ExportInput(assignment, record, point), source / name
