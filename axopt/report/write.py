"""From a record to the files that a user sees."""

import os
from collections.abc import Mapping
from pathlib import Path

from axopt.errors import ArgumentError
from axopt.files import write_atomically
from axopt.report.page import report_html
from axopt.report.plot import pareto_png
from axopt.report.record import RunRecord
from axopt.report.table import front_csv


def write_report(
    record: RunRecord,
    out: str | os.PathLike[str],
    *,
    assignments: Mapping[str, str] | None = None,
) -> None:
    """Write ``front.csv``, ``pareto.png`` and ``report.html`` into the run folder.

    Everything is made before the first file is written, and each file is replaced atomically.
    The same record and assignments give the same CSV and HTML, byte for byte.

    Args:
        record: The run.
        out: The run folder, which must exist.
        assignments: JSON text by file name relative to ``out``, for embedding in the page. By
            default the assignment files of the front that lie under ``out`` are read.

    Raises:
        ArgumentError: If ``out`` is not a folder.
        OSError: If a file cannot be read or written.
    """
    out = Path(out)
    if not out.is_dir():
        raise ArgumentError(f"`out` must be an existing folder, got {str(out)!r}.")
    if assignments is None:
        assignments = _read_assignments(record, out)
    contents = {
        "front.csv": front_csv(record).encode(),
        "pareto.png": pareto_png(record),
        "report.html": report_html(record, assignments).encode(),
    }
    for name, content in contents.items():
        write_atomically(out / name, content)


def _read_assignments(record: RunRecord, out: Path) -> dict[str, str]:
    names = [point.assignment for point in record.front if point.assignment]
    return {name: (out / name).read_text("utf-8") for name in names if (out / name).is_file()}
