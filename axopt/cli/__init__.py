"""The command line: ``python -m axopt <command>``, or ``axopt <command>`` once installed.

Each command is a module of this package with ``add_arguments(parser)`` and
``run(options) -> int``. Only the module of the command that is asked for is imported, and it
imports torch, numpy and the rooms inside ``run``, so that help is instant.

Exit codes: 0, 1 (failed), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM).
"""

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from axopt import __version__
from axopt.cli.arguments import Parser, sentence
from axopt.cli.console import calm_streams, complain, logged_to_stderr, one_line
from axopt.cli.interrupts import as_exceptions, message_of
from axopt.errors import AxoptError

__all__ = ["main"]

COMMANDS = {
    "search": "find which multiplier each layer should use, write the Pareto front",
    "sensitivity": "show what each multiplier costs in each layer of a model",
    "retrain": "train a model with its multipliers, write weights and assignment",
    "evaluate": "measure one assignment of multipliers to layers on the test split",
    "export": "write one point of a front to a file: JSON, CSV, Verilog, ...",
    "report": "write the table, plots and page of a run again",
    "multipliers": "list, show, import, generate, check and export multipliers",
    "bench": "measure the speed and memory of emulation on this machine",
    "doctor": "check this installation: kernels, tables, threads, weights",
}

OK, FAILED, BAD_INPUT = 0, 1, 2

_FAULTS_OF_THE_MACHINE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.EAGAIN,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after ``axopt``; those of the process by default.

    Returns:
        The exit code.

    Example:
        >>> from axopt.cli import main
        >>> main(["--version"])
        axopt ...
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # Read when torch loads its OpenMP runtime. Threads that spin while they wait for work slow
    # a search on a machine with other load down tenfold; on an idle one they win little.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    calm_streams()
    try:
        code = _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _run(words: list[str]) -> int:
    """Run the command; turn an exception into one line and an exit code."""
    name = " ".join(["axopt", *[word for word in words if word in COMMANDS][:1]])
    try:
        with as_exceptions(name):
            return _run_command(words)
    except KeyboardInterrupt as interrupt:
        message, code = message_of(interrupt)
        print(f"{name}: {one_line(message)}", file=sys.stderr)
        return code


def _run_command(words: list[str]) -> int:
    """Run the command; turn an exception other than an interrupt into a line and a code."""
    try:
        options = _build_parser(words).parse_args(words)
    except SystemExit as done:  # argparse: it has shown the help or the message
        return int(done.code or OK)
    try:
        with logged_to_stderr(options):
            return int(options.execute(options))
    except BrokenPipeError:
        raise
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        message, code = _explain(error)
        complain(options, message)
        return code


def _build_parser(words: Sequence[str]) -> Parser:
    parser = Parser(
        prog="axopt",
        description="Find which approximate multiplier each layer of a PyTorch model should use.",
        epilog="axopt <command> --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"axopt {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="<command>", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=sentence(summary))
        if name in words:
            module = importlib.import_module(f"axopt.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(execute=module.run)
    return parser


def _explain(error: Exception) -> tuple[str, int]:
    """Return the message for the user and the exit code of an error."""
    if isinstance(error, AxoptError):
        return str(error), FAILED if _blames_the_machine(error) else BAD_INPUT
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{one_line(repr(error.filename))}: " if error.filename is not None else ""
        return f"{where}{error.strerror}", FAILED if _blames_the_machine(error) else BAD_INPUT
    if isinstance(error, MemoryError):
        return "out of memory", FAILED
    return (
        f"internal error: {type(error).__name__}: {error} (--debug shows where; please report it)",
        FAILED,
    )


def _blames_the_machine(error: BaseException | None) -> bool:
    """Return whether the cause is the machine, such as a full disk, and not the input."""
    import sqlite3

    while error is not None:
        if isinstance(error, sqlite3.OperationalError):
            return True
        if isinstance(error, OSError) and error.errno in _FAULTS_OF_THE_MACHINE:
            return True
        error = error.__cause__
    return False
