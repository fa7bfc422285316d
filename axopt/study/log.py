"""The log of a search: lines of progress, appended to a file of the run folder."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from types import TracebackType

    from axopt.study.watching import Progress

_logger = logging.getLogger(__name__)


class SearchLog:
    r"""Appends at most one line a second to a file, and the last line when it is closed.

    A file that cannot be written is one warning; the search goes on.

    Args:
        path: The file; None to write nothing.

    Example:
        >>> from pathlib import Path
        >>> with SearchLog(Path("search.log")) as log:
        ...     log.write("a search begins")
        >>> Path("search.log").read_text().split("  ")[1]
        'a search begins\n'
    """

    EVERY_S = 1.0

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._written = 0.0
        self._pending: Progress | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = self._path.open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                _logger.warning("%s: cannot be written: %s", self._path, error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pending is not None:
            self.write(str(self._pending))
        if self._file is not None:
            self._file.close()
            self._file = None

    def note(self, progress: Progress) -> None:
        """Write how far the search is, if the last line is a second old."""
        self._pending = progress
        if time.monotonic() - self._written >= self.EVERY_S:
            self.write(str(progress))

    def write(self, line: str) -> None:
        """Write a line behind the time of day."""
        self._pending = None
        if self._file is None:
            return
        try:
            stamp = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            self._file.write(f"{stamp}  {line}\n")
        except (OSError, ValueError) as error:
            _logger.warning("%s: cannot be written: %s", self._path, error)
            self._file = None
        self._written = time.monotonic()
