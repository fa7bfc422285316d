"""The parser, the types of arguments and the options that several commands share."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from axopt.cli.console import one_line
from axopt.errors import AxoptError

MAX_SAMPLES = 1_000_000_000
MAX_THREADS = 1024


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line.

    Attributes:
        later_epilog: Makes the text below the help when the help is shown: what it imports costs
            nothing otherwise.
        later_arguments: Adds arguments when words are parsed or the help is shown.
    """

    later_epilog: Callable[[], str] | None = None
    later_arguments: Callable[["Parser"], None] | None = None

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_formatter, **options)  # type: ignore[arg-type]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words, after the later arguments were added."""
        self._add_later_arguments()
        return super().parse_known_args(args, namespace)

    def _add_later_arguments(self) -> None:
        add, self.later_arguments = self.later_arguments, None
        if add is not None:
            try:
                add(self)
            except AxoptError as error:
                self.error(str(error))

    def format_help(self) -> str:
        """Return the help with the epilog as it is now."""
        self._add_later_arguments()
        if self.later_epilog is not None:
            self.epilog = self.later_epilog()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Exit with 2 and one line on stderr."""
        self.exit(2, f"{self.prog}: {one_line(message)}\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=30)


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return the argument type of integers in ``low..high``."""

    def convert(text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text) and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be an integer in {low}..{high}, got {text!r}")

    return convert


def figure(text: str) -> float:
    """Argument type of a finite number >= 0."""
    if re.fullmatch(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text):
        value = float(text)
        if value < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"must be a finite number >= 0, got {text!r}")


def path(text: str) -> Path:
    """Argument type of a path, existing or not."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be a path, got {text!r}")
    return Path(text)


def word(text: str) -> str:
    """Argument type of a name or spec: not empty, printable."""
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be a printable, non-empty text, got {text!r}")
    return text


def names(text: str) -> list[str]:
    """Argument type of a comma-separated list of names."""
    parts = [part.strip() for part in text.split(",")]
    if not text.isprintable() or not all(parts):
        raise argparse.ArgumentTypeError(f"must be names with commas between them, got {text!r}")
    return parts


def sentence(summary: str) -> str:
    """Return the one-line summary of a command as a sentence."""
    return summary[0].upper() + summary[1:] + "."


def add_common(parser: argparse.ArgumentParser, default: object = False) -> None:
    """Add the options that every command has."""
    group = parser.add_argument_group("output")
    for flag, said in (
        ("--json", "print the result as JSON"),
        ("--quiet", "no progress on stderr"),
        ("--debug", "show the traceback of an error"),
    ):
        group.add_argument(flag, action="store_true", default=default, help=said)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads",
        type=integer(1, MAX_THREADS),
        metavar="N",
        help="threads to compute with (default: what torch chooses)",
    )


def add_groups(group: argparse._ArgumentGroup, what: str) -> None:
    """Add ``--group``.

    Args:
        group: Takes the flag.
        what: What the layers of a group have in common, for the help text.
    """
    group.add_argument(
        "--group",
        dest="groups",
        type=names,
        action="append",
        metavar="PATTERN,...",
        help=f"layers that {what}, by name or pattern (layer1.*); repeatable",
    )


def add_library(parser: argparse.ArgumentParser) -> None:
    """Add ``--library``."""
    parser.add_argument(
        "--library",
        type=path,
        metavar="DIR",
        help="a multiplier library (default: the bundled EvoApprox8b)",
    )
