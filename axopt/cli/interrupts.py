"""Ctrl-C and SIGTERM: the first one is an exception, the second one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM was received; handled like Ctrl-C, with another exit code."""


@contextlib.contextmanager
def as_exceptions(name: str) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into an exception while a command runs.

    A command can then leave its results in order. A second signal ends the process at once, and
    so does the first one while a module is being imported: an exception there may be swallowed,
    and nothing was begun that could be left in order. What was committed to a store or written to
    a file is safe either way. A signal that the process ignores, as one in the background may,
    stays ignored.

    Args:
        name: What the message starts with: the program and its command.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    base = sys._getframe()
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received or _is_importing(frame, base):
            with contextlib.suppress(OSError):  # stderr may be closed
                os.write(2, f"{name}: {word_of(number)}\n".encode())
            os._exit(128 + number)
        received.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def word_of(number: int) -> str:
    """Return what a signal does to a command."""
    return "interrupted" if number == signal.SIGINT else "terminated"


def message_of(interrupt: KeyboardInterrupt) -> tuple[str, int]:
    """Return the line for the user, with the notes of the exception, and the exit code."""
    terminated = isinstance(interrupt, Terminated)
    word = word_of(signal.SIGTERM if terminated else signal.SIGINT)
    notes = getattr(interrupt, "__notes__", [])
    return "; ".join([word, *notes]), TERMINATED if terminated else INTERRUPTED


def _is_importing(frame: FrameType | None, base: FrameType) -> bool:
    """Return whether a module is being imported below the command."""
    while frame is not None and frame is not base:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
