"""Options that several actions on multipliers share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axopt.multipliers import MultiplierLibrary


def add_kind(parser: argparse.ArgumentParser, signed: str, unsigned: str) -> None:
    """Add ``--signed`` and ``--unsigned``, which set ``signed`` to True, False or None."""
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--signed", action="store_true", default=None, help=signed)
    kind.add_argument("--unsigned", action="store_false", dest="signed", help=unsigned)


def library_of(options: argparse.Namespace) -> MultiplierLibrary:
    """Return the library of ``--library``."""
    from axopt.multipliers import load_library

    return load_library(options.library)
