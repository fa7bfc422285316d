"""``axopt export``: a point of a front for other programs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.cli.arguments import add_common, add_library, figure, integer, path
from axopt.cli.console import print_result
from axopt.errors import ArgumentError, RunExistsError
from axopt.export import BUILT_IN, exporter_for, get_exporter, list_exporters

if TYPE_CHECKING:
    from axopt.export import ExportInput
    from axopt.report import ChosenPoint, RunRecord

MAX_POINT = 99_999


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "source",
        type=path,
        help="a run folder with --point, --max-drop or --knee, or the file of an assignment",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--point", type=integer(0, MAX_POINT), metavar="N", help="number of the point in the front"
    )
    which.add_argument(
        "--max-drop",
        type=figure,
        metavar="DROP",
        help="the point of the largest saving among those that lose at most DROP against the "
        "exact multiplier, in the metric's unit, on the validation split",
    )
    which.add_argument(
        "--knee",
        action="store_true",
        help="the knee of the front: beyond it, saving costs more quality than before",
    )
    parser.add_argument("--out", type=path, metavar="FILE", help="the file or folder to write")
    parser.add_argument("--format", choices=list_exporters(), help=_format_help())
    parser.add_argument(
        "--to",
        nargs=2,
        metavar=("FORMAT", "OUT"),
        help="short for --format FORMAT --out OUT: --to verilog hardware/",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace an existing file, or the files of a folder"
    )
    add_library(parser)
    add_common(parser)


def _format_help() -> str:
    """Describe axopt's own formats; the packages that offer others are not imported for this."""
    own = "; ".join(f"{name}: {get_exporter(name).summary}" for name in BUILT_IN)
    return f"{own} (default: by the suffix of FILE)".replace("%", "%%")


def run(options: argparse.Namespace) -> int:
    """Check the assignment and write it."""
    from axopt.export import write_export

    kind, out = _target(options)
    given, source, chosen = _input(options)
    given = replace(given, library=options.library)
    try:
        write_export(given, out, format=kind, force=options.force)
    except RunExistsError as error:
        raise RunExistsError(str(error).replace("`force`", "--force")) from error
    result: dict[str, Any] = {"assignment": str(source), "file": str(out), "format": kind}
    said = f"{source} is in {out}"
    if chosen is not None:
        result["chosen"] = _chosen_as_json(chosen)
        said = f"{chosen}\n{said}"
    print_result(options, result, said)
    return 0


def _target(options: argparse.Namespace) -> tuple[str, Path]:
    """Return the format, and the file or folder to write."""
    if options.to is not None:
        if options.out is not None or options.format is not None:
            raise ArgumentError(
                "`--to` names format and file; it excludes `--format` and `--out`."
            )
        kind, out = options.to
        if not out:
            raise ArgumentError("`--to` must name a file or folder after the format, got ''.")
        return get_exporter(kind).name, Path(out)
    if options.out is None:
        raise ArgumentError("`--out` must be given: the file or folder to write.")
    return options.format or _format_of(options.out), options.out


def _format_of(out: Path) -> str:
    try:
        return exporter_for(out).name
    except ArgumentError as error:
        raise ArgumentError(f"`--out`, or give `--format`: {error}") from error


def _input(options: argparse.Namespace) -> tuple[ExportInput, Path, ChosenPoint | None]:
    """Load the assignment, and the record of the run that it is from."""
    from axopt.export import ExportInput
    from axopt.model import Assignment
    from axopt.study import RunFolder

    source: Path = options.source
    flag = _flag_of(options)
    if not source.is_dir():
        if flag is not None:
            raise ArgumentError(f"`{flag}` goes with a run folder, {source} is none.")
        return ExportInput(Assignment.load(source)), source, None
    if flag is None:
        raise ArgumentError(
            f"`--point`, `--max-drop` or `--knee` must be given, {source} is a folder."
        )
    if flag != "--point":
        return _chosen(options, RunFolder(source).record())
    name = f"assignments/point-{options.point:02}.json"
    if not (source / name).is_file():
        raise ArgumentError(f"`--point`: there is no {source / name}.")
    assignment = Assignment.load(source / name)
    if not (source / "record.json").exists():  # a folder with assignments alone
        return ExportInput(assignment), source / name, None
    record = RunFolder(source).record()
    point = next((point for point in record.front if point.assignment == name), None)
    return ExportInput(assignment, record, point), source / name, None


def _flag_of(options: argparse.Namespace) -> str | None:
    """Return the flag that says which point of a run is meant."""
    if options.knee:
        return "--knee"
    if options.max_drop is not None:
        return "--max-drop"
    return None if options.point is None else "--point"


def _chosen(
    options: argparse.Namespace, record: RunRecord
) -> tuple[ExportInput, Path, ChosenPoint]:
    """Choose a point of a run and load its assignment."""
    from axopt.export import ExportInput
    from axopt.model import Assignment
    from axopt.report import best_point, knee_point

    try:
        chosen = (
            knee_point(record) if options.knee else best_point(record, max_drop=options.max_drop)
        )
    except ArgumentError as error:
        raise ArgumentError(f"{options.source}: {error}") from error
    file = options.source / chosen.point.assignment
    if not chosen.point.assignment or not file.is_file():
        raise ArgumentError(f"{options.source}: there is no assignment of {chosen.point.label}.")
    return ExportInput(Assignment.load(file), record, chosen.point), file, chosen


def _chosen_as_json(chosen: ChosenPoint) -> dict[str, Any]:
    point = chosen.point
    return {
        "point": point.label,
        "rule": chosen.rule,
        "validation_drop": chosen.validation_drop,
        "drop": point.drop,
        "drop_low": point.drop_low,
        "drop_high": point.drop_high,
        "rel_power": point.rel_power,
    }
