"""Write table, picture and page of a record into a run folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from axopt.errors import ArgumentError, ReportError
from axopt.files import as_path, read_bytes, write_atomically
from axopt.report.history import history_png
from axopt.report.page import MAX_EMBEDDED_CHARACTERS, report_html
from axopt.report.plot import pareto_png
from axopt.report.record import RunRecord
from axopt.report.table import front_csv

MAX_EMBEDDED_BYTES = 4 * MAX_EMBEDDED_CHARACTERS  # UTF-8 takes at most 4 bytes per character


def write_report(
    record: RunRecord,
    out: str | os.PathLike[str],
    *,
    assignments: Mapping[str, str] | None = None,
) -> None:
    """Write ``front.csv``, ``pareto.png``, ``history.png`` and ``report.html`` into a run folder.

    ``history.png`` is written if the record has hypervolumes.

    All contents are made before the first file is written, and each file is replaced atomically.
    The same record and assignments give the same CSV and HTML, byte for byte.

    Args:
        record: The run.
        out: The run folder, which must exist.
        assignments: File name relative to ``out`` -> JSON text, embedded in the page. By default
            the assignment files of the front are read from ``out``.

    Raises:
        ArgumentError: If ``out`` is not a folder.
        ReportError: If an assignment file is not a JSON object in UTF-8.
        OSError: If a file cannot be read or written.

    Example:
        >>> import os, tempfile
        >>> from axopt.report import example_record
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(example_record(), folder)
        ...     sorted(os.listdir(folder))
        ['front.csv', 'pareto.png', 'report.html']
    """
    out = as_path(out, "out")
    if not out.is_dir():
        raise ArgumentError(f"`out` must be an existing folder, got {str(out)!r}.")
    if assignments is None:
        assignments = _read_assignments(record, out)
    contents = {
        "front.csv": front_csv(record).encode(),
        "pareto.png": pareto_png(record),
        **({"history.png": history_png(record)} if record.hypervolumes else {}),
        "report.html": report_html(record, assignments).encode(),
    }
    for name, content in contents.items():
        write_atomically(out / name, content)


def _read_assignments(record: RunRecord, out: Path) -> dict[str, str]:
    """Read the assignment files of the front, unless they are too large to be embedded."""
    names = [point.assignment for point in record.front if point.assignment]
    files = {name: out / name for name in names if (out / name).exists()}
    if sum(file.stat().st_size for file in files.values()) > MAX_EMBEDDED_BYTES:
        return {}
    return {name: _read(file) for name, file in files.items()}


def _read(file: Path) -> str:
    """Return the text of an assignment file; refuse what no program could read again."""
    try:
        text = read_bytes(file, limit=MAX_EMBEDDED_BYTES).decode("utf-8")
        document = json.loads(text)
    except UnicodeDecodeError as error:
        raise ReportError(f"{file}: must be UTF-8, {error}.") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{file}: must be JSON: {error}.") from error
    if not isinstance(document, dict):
        raise ReportError(f"{file}: must be a JSON object, got a {type(document).__name__}.")
    return text
