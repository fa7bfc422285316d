"""Options that several actions on multipliers share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from axopt.cli.arguments import integer

if TYPE_CHECKING:
    from axopt.multipliers import MultiplierLibrary


def add_kind(parser: argparse.ArgumentParser, signed: str, unsigned: str) -> None:
    """Add ``--signed`` and ``--unsigned``, which set ``signed`` to True, False or None."""
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--signed", action="store_true", default=None, help=signed)
    kind.add_argument("--unsigned", action="store_false", dest="signed", help=unsigned)


def add_widths(parser: argparse.ArgumentParser) -> None:
    """Add ``--bits-a`` and ``--bits-w``, the widths of the operands."""
    width = integer(2, 8)
    for flag, operand in (("--bits-a", "first"), ("--bits-w", "second")):
        parser.add_argument(
            flag,
            type=width,
            metavar="N",
            help=f"only {operand} operands of N bits, 2..8; narrow ones are listed then",
        )


def library_of(options: argparse.Namespace, *, narrow: bool = True) -> MultiplierLibrary:
    """Return the library of ``--library``, by default all bundled multipliers.

    Args:
        options: The parsed arguments.
        narrow: Whether the bundled library has its narrow multipliers too.
    """
    from axopt.multipliers import load_library

    return load_library(options.library, narrow=narrow)
