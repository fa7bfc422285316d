"""Output of the command line: results on stdout; progress, warnings and errors on stderr."""

import argparse
import contextlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Self, TextIO


def calm_streams() -> None:
    """Print characters that the terminal's encoding lacks as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def one_line(text: str) -> str:
    """Return ``text`` with line breaks and control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def complain(options: argparse.Namespace, message: str) -> None:
    """Print one line on stderr: the command and the error."""
    print(f"axopt {options.command}: {one_line(message)}", file=sys.stderr)


def inform(options: argparse.Namespace, message: str) -> None:
    """Print a line of progress on stderr, unless ``--quiet``."""
    if not options.quiet:
        print(one_line(message), file=sys.stderr, flush=True)


def print_result(options: argparse.Namespace, result: object, text: str) -> None:
    """Print ``result`` as JSON where ``--json`` asks for it, else ``text``."""
    if options.json:
        text = json.dumps(result, indent=2, allow_nan=False)
    if text:
        print(text)


def as_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table: the first column flush left, the others flush right."""
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


@contextlib.contextmanager
def logged_to_stderr(options: argparse.Namespace) -> Iterator[None]:
    """Show the library's log and warnings as lines on stderr while a command runs.

    Warnings of other packages are for developers and are shown with ``python -W`` only.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(options.command))
    logger = logging.getLogger("axopt")
    level = logger.level
    logger.setLevel(logging.WARNING if options.quiet else logging.INFO)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
                warnings.filterwarnings("always", module=r"axopt(\.|$)")

            def show(
                message: Warning | str,
                category: type[Warning],
                filename: str,
                lineno: int,
                file: TextIO | None = None,
                line: str | None = None,
            ) -> None:
                logger.warning("%s", message)

            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _OneLine(logging.Formatter):
    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def format(self, record: logging.LogRecord) -> str:
        message = one_line(record.getMessage())
        if record.levelno < logging.WARNING:
            return message
        return f"axopt {self._command}: {record.levelname.lower()}: {message}"


class Progress:
    """A bar on a terminal, a line every 10 s elsewhere, nothing with ``--quiet``.

    Call it with the number of steps done and of all.
    """

    EVERY_S = 10.0

    def __init__(self, options: argparse.Namespace, title: str) -> None:
        self._quiet = options.quiet
        self._title = title
        self._bar: Any = None
        self._reported = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Show that ``done`` of ``total`` steps are done.

        Args:
            done: Steps done.
            total: All steps.
            text: A line that says more than the two numbers.
        """
        if self._quiet:
            return
        if sys.stderr.isatty():
            self._draw(done, total, text)
        elif done == total or time.monotonic() - self._reported >= self.EVERY_S:
            self._reported = time.monotonic()
            print(f"{self._title}: {text or f'{done} of {total}'}", file=sys.stderr, flush=True)

    def _draw(self, done: int, total: int, text: str) -> None:
        if self._bar is None:
            from tqdm import tqdm

            form = "{desc}: {percentage:3.0f} %|{bar:20}| {postfix}" if text else None
            self._bar = tqdm(desc=self._title, total=total, file=sys.stderr, bar_format=form)
        self._bar.total = total
        if text:
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)
