"""``axopt multipliers``: list, show, import, check and export multipliers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.cli.arguments import Parser, add_common, add_library, figure, path, sentence, word
from axopt.cli.console import as_table, print_result
from axopt.errors import MissingFigureError, RunExistsError

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier, MultiplierLibrary

METRICS = ("mae", "wce", "mre", "wcre", "ep", "mse", "bias")
DEFAULT_DIRECTORY = "user_multipliers"
LISTED = ("multiplier", "kind", "mW", "um2", "ns", "MAE", "WCE", "MRE %", "EP %", "bias")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of this command."""
    actions = parser.add_subparsers(dest="action", metavar="<action>", required=True)

    def action(name: str, summary: str, act: Callable[[argparse.Namespace], int]) -> Any:
        added = actions.add_parser(name, help=summary, description=sentence(summary))
        added.set_defaults(act=act)
        return added

    _add_list(action("list", "print figures and errors of the multipliers", list_))
    _add_show(action("show", "print everything about one multiplier", show))
    _add_import(action("import", "add a multiplier to a library of your own", import_))
    add_library(action("check", "compare tables with digests and published figures", check))
    _add_export(action("export", "write the table of a multiplier to a file", export))
    for added in actions.choices.values():
        add_common(added)


def _add_list(parser: argparse.ArgumentParser) -> None:
    _add_kind(parser, "only signed multipliers", "only unsigned multipliers")
    parser.add_argument("--release", type=word, help="only this release, such as v1")
    parser.add_argument(
        "--pareto", choices=METRICS, help="only the Pareto front of power and this error"
    )
    parser.add_argument("--degenerate", action="store_true", help="also those of constant output")
    add_library(parser)


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", type=word, help="mul8s_1L2H or v2022/mul8s_1L2J")
    add_library(parser)


def _add_import(parser: Parser) -> None:
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
    _add_kind(
        parser, "operands are -128..127", "operands are 0..255 (default: the smaller mean error)"
    )
    parser.add_argument(
        "--to",
        type=path,
        metavar="DIR",
        default=DEFAULT_DIRECTORY,
        help="the library; a new one gets the bundled multipliers too (default: %(default)s)",
    )


def _add_export(parser: Parser) -> None:
    parser.later_epilog = _writers_epilog
    parser.add_argument("name", type=word, help="mul8s_1L2H or v2022/mul8s_1L2J")
    parser.add_argument("file", type=path, help="the file to write, in a format named below")
    parser.add_argument(
        "--format", type=word, help="format of the file (default: that of its suffix)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    add_library(parser)


def _importers_epilog() -> str:
    from axopt.multipliers import IMPORTERS, describe_formats

    return (
        f"Formats: {describe_formats(IMPORTERS)}. Rows of a .npy table are the first operand, "
        "columns the second, both in numeric order: -128..127 or 0..255. Power, area and delay "
        "are needed where the file does not state them."
    )


def _writers_epilog() -> str:
    from axopt.multipliers import TABLE_WRITERS, describe_formats

    return f"Formats: {describe_formats(TABLE_WRITERS)}."


def _add_kind(parser: argparse.ArgumentParser, signed: str, unsigned: str) -> None:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--signed", action="store_true", default=None, help=signed)
    kind.add_argument("--unsigned", action="store_false", dest="signed", help=unsigned)


def run(options: argparse.Namespace) -> int:
    """Run the action."""
    return int(options.act(options))


def list_(options: argparse.Namespace) -> int:
    """Print one row per multiplier."""
    chosen = _library(options).select(
        signed=options.signed,
        release=options.release,
        pareto=options.pareto,
        degenerate=options.degenerate,
    )
    rows = [_row(multiplier) for multiplier in chosen.values()]
    print_result(options, [_figures(m) for m in chosen.values()], as_table(LISTED, rows))
    return 0


def show(options: argparse.Namespace) -> int:
    """Print figures, errors, structure and source of one multiplier."""
    from axopt.kernels import explain, plan

    library = _library(options)
    multiplier = library[options.name]
    result = {
        **_figures(multiplier),
        "rank": multiplier.rank,
        "commutative": multiplier.is_commutative,
        "degenerate": multiplier.is_degenerate,
        "aliases": [k for k in library.aliases(multiplier.key) if k != multiplier.key],
        "plan": explain(plan(multiplier.table)),
        "published": dict(multiplier.published),
        "source": multiplier.source,
    }
    print_result(options, result, _as_lines(result))
    return 0


def import_(options: argparse.Namespace) -> int:
    """Read a table from a file and add it to the library in a folder."""
    from axopt.multipliers import add_to_library, import_multiplier, load_library

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
    if not (directory.is_dir() and any(directory.glob("*.csv"))):
        load_library().with_multiplier(multiplier)  # refuses a taken name before writing
        load_library().save(directory)
    add_to_library(multiplier, directory)
    kind = "signed" if multiplier.signed else "unsigned"
    print_result(
        options,
        {**_figures(multiplier), "library": str(directory)},
        f"{multiplier.key} ({kind}, MAE {multiplier.metrics.mae:.4g}) is in {directory};"
        f" search it with --library {directory}",
    )
    return 0


def check(options: argparse.Namespace) -> int:
    """Print the multipliers whose tables do not give their figures; 1 if there are any."""
    from axopt.multipliers import check_library

    problems = {key: found for key, found in check_library(_library(options)).items() if found}
    lines = [line for found in problems.values() for line in found]
    count = len(_library(options))
    lines.append(f"{count - len(problems)} of {count} multipliers agree with their figures")
    result = {"checked": count, "problems": problems}
    print_result(options, result, "\n".join(lines))
    return 1 if problems else 0


def export(options: argparse.Namespace) -> int:
    """Write the table of a multiplier to a file."""
    from axopt.multipliers import export_multiplier

    multiplier = _library(options)[options.name]
    if options.file.exists() and not options.force:
        raise RunExistsError(f"{options.file}: exists already; --force replaces it.")
    export_multiplier(multiplier, options.file, format=options.format)
    result = {"multiplier": multiplier.key, "file": str(options.file)}
    print_result(options, result, f"{multiplier.key} is in {options.file}")
    return 0


def _library(options: argparse.Namespace) -> MultiplierLibrary:
    from axopt.multipliers import load_library

    return load_library(options.library)


def _figures(multiplier: Multiplier) -> dict[str, Any]:
    return {
        "multiplier": multiplier.key,
        "signed": multiplier.signed,
        "power_mw": multiplier.power_mw,
        "area_um2": multiplier.area_um2,
        "delay_ns": multiplier.delay_ns,
        "metrics": asdict(multiplier.metrics),
        "digest": multiplier.digest,
    }


def _row(multiplier: Multiplier) -> list[str]:
    errors = multiplier.metrics
    return [
        multiplier.key,
        "signed" if multiplier.signed else "unsigned",
        f"{multiplier.power_mw:.4g}",
        f"{multiplier.area_um2:.1f}",
        f"{multiplier.delay_ns:.2f}",
        f"{errors.mae:.4g}",
        f"{errors.wce:.0f}",
        f"{errors.mre:.3g}",
        f"{errors.ep:.2f}",
        f"{errors.bias:.4g}",
    ]


def _as_lines(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number:.6g}" for key, number in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        text = str(value).replace("\n", "\n" + " " * 12) or "-"
        lines.append(f"{name:12}{text}")
    return "\n".join(lines)
