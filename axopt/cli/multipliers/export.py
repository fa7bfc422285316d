"""``axopt multipliers export``."""

from __future__ import annotations

import argparse

from axopt.cli.arguments import Parser, add_library, path, word
from axopt.cli.console import print_result
from axopt.cli.multipliers.options import library_of
from axopt.errors import RunExistsError


def add_arguments(parser: Parser) -> None:
    """Add the options of this action."""
    parser.later_epilog = _writers_epilog
    parser.add_argument("name", type=word, help="mul8s_1L2H or v2022/mul8s_1L2J")
    parser.add_argument("file", type=path, help="the file to write, in a format named below")
    parser.add_argument(
        "--format", type=word, help="format of the file (default: that of its suffix)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    add_library(parser)


def run(options: argparse.Namespace) -> int:
    """Write the table of a multiplier to a file."""
    from axopt.multipliers import export_multiplier

    multiplier = library_of(options)[options.name]
    if options.file.exists() and not options.force:
        raise RunExistsError(f"{options.file}: exists already; --force replaces it.")
    export_multiplier(multiplier, options.file, format=options.format)
    result = {"multiplier": multiplier.key, "file": str(options.file)}
    print_result(options, result, f"{multiplier.key} is in {options.file}")
    return 0


def _writers_epilog() -> str:
    from axopt.multipliers import TABLE_WRITERS, describe_formats

    return f"Formats: {describe_formats(TABLE_WRITERS)}."
