"""``axopt export``: a point of a front for other programs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from axopt.cli.arguments import add_common, integer, path
from axopt.cli.console import print_result
from axopt.errors import ArgumentError, RunExistsError

FORMATS = ("json", "csv")
MAX_POINT = 99_999


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "source", type=path, help="a run folder with --point, or the file of an assignment"
    )
    parser.add_argument(
        "--point", type=integer(0, MAX_POINT), metavar="N", help="number of the point in the front"
    )
    parser.add_argument("--out", type=path, metavar="FILE", required=True)
    parser.add_argument("--format", choices=FORMATS, help="(default: the suffix of FILE)")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Check the assignment and write it."""
    from axopt.model import Assignment
    from axopt.report import export_csv

    kind = _format(options)
    source = _assignment_file(options)
    assignment = Assignment.load(source)
    if options.out.exists() and not options.force:
        raise RunExistsError(f"{options.out}: exists already; --force replaces it.")
    if kind == "csv":
        layers = {name: asdict(layer) for name, layer in assignment.layers.items()}
        export_csv({"layers": layers}, options.out)
    else:
        assignment.save(options.out)
    result = {"assignment": str(source), "file": str(options.out), "format": kind}
    print_result(options, result, f"{source} is in {options.out}")
    return 0


def _format(options: argparse.Namespace) -> str:
    kind = options.format or options.out.suffix[1:]
    if kind not in FORMATS:
        raise ArgumentError(
            f"`--out` must end in .json or .csv where `--format` is not given, got {options.out}."
        )
    return str(kind)


def _assignment_file(options: argparse.Namespace) -> Path:
    source: Path = options.source
    if not source.is_dir():
        if options.point is not None:
            raise ArgumentError(f"`--point` goes with a run folder, {source} is none.")
        return source
    if options.point is None:
        raise ArgumentError(f"`--point` must be given, {source} is a folder.")
    file = source / "assignments" / f"point-{options.point:02}.json"
    if not file.is_file():
        raise ArgumentError(f"`--point`: there is no {file}.")
    return file
