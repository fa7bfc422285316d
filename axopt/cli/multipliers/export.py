"""``axopt multipliers export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from axopt.cli.arguments import Parser, add_library, path, word
from axopt.cli.console import print_result
from axopt.cli.multipliers.options import library_of
from axopt.errors import (
    ArgumentError,
    CircuitError,
    LutFormatError,
    MissingPackageError,
    RunExistsError,
)

if TYPE_CHECKING:
    from axopt.circuits import Netlist
    from axopt.multipliers import Multiplier


def add_arguments(parser: Parser) -> None:
    """Add the options of this action."""
    parser.later_epilog = _writers_epilog
    parser.add_argument("name", type=word, help="mul8s_1L2H or v2022/mul8s_1L2J")
    parser.add_argument("file", type=path, help="the file to write, in a format named below")
    parser.add_argument(
        "--format", type=word, help="format of the file (default: that of its suffix)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        help="compare all products of the file with the table (default: where what it takes is"
        " installed; --check fails where it is not)",
    )
    add_library(parser)


def run(options: argparse.Namespace) -> int:
    """Write the table or the gates of a multiplier to a file, and compare the file."""
    from axopt.circuits import check_export, write_netlist
    from axopt.multipliers import export_multiplier

    multiplier = library_of(options)[options.name]
    if options.file.exists() and not options.force:
        raise RunExistsError(f"{options.file}: exists already; --force replaces it.")
    if _is_circuit(options.file, options.format):
        gates = _gates(multiplier, options.library)
        write_netlist(
            gates,
            options.file,
            name=multiplier.name,
            format=options.format,
            multiplier=multiplier,
        )
    else:
        export_multiplier(multiplier, options.file, format=options.format)
    checked_by, said = None, ""
    if options.check is not False:
        try:
            checked_by = check_export(
                options.file, multiplier, format=options.format, quick=not options.check
            )
            said = f"; all {multiplier.table.size:,} products checked ({checked_by})"
        except MissingPackageError as error:
            if options.check:
                raise
            said = f"; not checked: {error}"
    result = {
        "multiplier": multiplier.key,
        "file": str(options.file),
        "checked_by": checked_by,
    }
    print_result(options, result, f"{multiplier.key} is in {options.file}{said}")
    return 0


def _is_circuit(file: Path, format: str | None) -> bool:
    """Return whether a format writes gates; no format writes both gates and tables.

    Raises:
        ArgumentError: If there is no such format.
        LutFormatError: If no format has the suffix of the file.
    """
    from axopt.circuits import NETLIST_WRITERS
    from axopt.multipliers import TABLE_WRITERS

    circuits, tables = NETLIST_WRITERS.names(), TABLE_WRITERS.names()
    if format is not None:
        if format not in (*circuits, *tables):
            known = ", ".join(sorted((*circuits, *tables)))
            raise ArgumentError(f"`--format` must be one of {known}, got {format!r}.")
        return format in circuits
    of_circuits = {suffix for name in circuits for suffix in NETLIST_WRITERS[name].suffixes}
    of_tables = {suffix for name in tables for suffix in TABLE_WRITERS[name].suffixes}
    suffix = file.suffix.lower()
    if suffix not in of_circuits | of_tables:
        known = ", ".join(sorted(of_circuits | of_tables))
        raise LutFormatError(f"{file}: the suffix must be one of {known}; or give --format.")
    return suffix in of_circuits


def _gates(multiplier: Multiplier, library: Path | None) -> Netlist:
    from axopt.circuits import gates_of

    netlist = gates_of(multiplier, library)
    if netlist is None:
        raise CircuitError(
            f"{multiplier.key} has a table but no gate list, from which this format is written;"
            " multipliers that were imported from Verilog, BLIF or C, or generated, have one."
        )
    return netlist


def _writers_epilog() -> str:
    from axopt.circuits import NETLIST_WRITERS
    from axopt.multipliers import TABLE_WRITERS, describe_formats

    writers = [NETLIST_WRITERS[name] for name in NETLIST_WRITERS.names()]
    circuits = "; ".join(f"{w.name}: {w.title} ({', '.join(w.suffixes)})" for w in writers)
    return (
        f"Formats of tables: {describe_formats(TABLE_WRITERS)}. Formats of circuits, for"
        f" multipliers with a gate list: {circuits}. These are all formats that `import` reads."
    )
