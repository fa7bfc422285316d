"""The front as a table and as CSV, and the layers of an assignment as CSV."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from axopt.errors import AssignmentError
from axopt.files import as_path, write_text_atomically
from axopt.report.record import ESTIMATES, Point, RunRecord

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "point": "object",
    "quality": "float64",
    "quality_low": "float64",
    "quality_high": "float64",
    "rel_power": "float64",
    "rel_area": "float64",
    "delay_ns": "float64",
    "assignment": "object",
    "split": "object",
    "drop": "float64",
    "drop_low": "float64",
    "drop_high": "float64",
    "dominated": "bool",
    "coverage": "float64",
    "alike": "bool",
}
"""Columns of the front's table with their types."""

ENDS = ("low", "high")

ESTIMATE_COLUMNS = {f"{name}_{end}": (name, i) for name in ESTIMATES for i, end in enumerate(ENDS)}
"""Columns behind the others if a cost is an estimate: its lowest and highest value."""

POWER_UNDER_DATA = "rel_power_activity"
"""Column behind those if a search minimised it."""

DIVERGENCES = ("divergence", "validation_divergence")
"""Last columns if they were measured."""

EXPORT_COLUMNS = ("layer", "multiplier", "digest", "swap")

# Spreadsheet programs run a cell that begins with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def front_table(record: RunRecord) -> "pd.DataFrame":
    """Return the front, one row per point, highest power first.

    Args:
        record: The run.

    Returns:
        A table with these columns: ``point`` (label), ``quality``, ``quality_low`` and
        ``quality_high`` (95 % interval, in the record's unit), ``rel_power`` and ``rel_area``
        (relative to the reference multiplier), ``delay_ns``, ``assignment`` (file name),
        ``split``, ``drop``, ``drop_low`` and ``drop_high`` (difference to the baseline with its
        95 % paired interval; NaN if not measured), ``dominated`` (bool), ``coverage`` (emulated
        share of the multiplications, the same in every row; NaN if unknown), ``alike`` (bool:
        whether the samples cannot tell the point apart from the next one of less power, dominated
        ones skipped).
        If a cost of a point is an estimate, ``rel_power_low``, ``rel_power_high``,
        ``rel_area_low``, ``rel_area_high``, ``delay_ns_low`` and ``delay_ns_high`` follow; NaN for
        published costs. If the search minimised it, ``rel_power_activity`` follows: relative power
        under the layers' own data. If they were measured, ``divergence`` (on ``split``) and
        ``validation_divergence`` are last.

    Example:
        >>> from axopt.report import example_record
        >>> table = front_table(example_record())
        >>> print(table[["point", "quality", "rel_power", "drop", "dominated"]])
              point  quality  rel_power  drop  dominated
        0  point-00     99.2       0.82   0.0      False
        1  point-01     98.6       0.71   0.6       True
        2  point-02     98.9       0.25   0.3      False
    """
    import pandas as pd  # takes 0.4 s, which `axopt --help` must not pay

    return pd.DataFrame(
        {
            name: pd.Series([_cell(record, point, name) for point in record.front], dtype=kind)
            for name, kind in _columns(record).items()
        }
    )


def _columns(record: RunRecord) -> dict[str, str]:
    estimated = any(point.intervals for point in record.front)
    under_data = any(point.rel_power_activity is not None for point in record.front)
    further = [
        *(ESTIMATE_COLUMNS if estimated else ()),
        *([POWER_UNDER_DATA] if under_data else ()),
        *(
            name
            for name in DIVERGENCES
            if any(getattr(point, name) is not None for point in record.front)
        ),
    ]
    return COLUMNS | dict.fromkeys(further, "float64")


def _cell(record: RunRecord, point: Point, name: str) -> str | float | bool | None:
    if name == "point":
        return point.label
    if name in ESTIMATE_COLUMNS:
        figure, end = ESTIMATE_COLUMNS[name]
        return float(point.intervals[figure][end]) if figure in point.intervals else None
    if name == POWER_UNDER_DATA or name in DIVERGENCES:
        figure_of_point: float | None = getattr(point, name)
        return figure_of_point
    value: str | float | bool | None
    value = record.coverage if name == "coverage" else getattr(point, name)
    if COLUMNS[name] == "bool":
        return bool(value)
    return float(value) if COLUMNS[name] == "float64" and value is not None else value


def front_csv(record: RunRecord) -> str:
    """Return `front_table` as CSV.

    Numbers read back as the same float64; those that were not measured are empty. ``dominated``
    and ``alike`` read ``true`` or ``false``. See `csv_text` for texts that look like formulas.
    """
    columns = list(_columns(record))
    rows = [[_cell(record, point, name) for name in columns] for point in record.front]
    return csv_text(columns, rows)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV that is safe to open in a spreadsheet program.

    Args:
        columns: Names of the columns.
        rows: Cells: texts, numbers, booleans (written as ``true`` and ``false``) or None (left
            empty). A text that a spreadsheet program would run as a formula gets a leading ``'``.

    Example:
        >>> print(csv_text(["layer", "swap"], [["conv1", True], ["=1+1", None]]), end="")
        layer,swap
        conv1,true
        '=1+1,
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | int):
        return repr(value)
    text = str(value)
    text = f"'{text}" if text.startswith(_FORMULA_STARTS) else text
    return text.replace("\r", "\n")  # the writer would not quote it


def assignment_csv(assignment: Mapping[str, Any]) -> str:
    """Return the layers of an assignment as CSV: ``layer, multiplier, digest, swap``.

    If a multiplier is narrow, ``bits_a`` and ``bits_w`` follow, the widths of its operands.

    Args:
        assignment: The parsed JSON of an assignment file. Rows keep the order of its layers.

    Raises:
        AssignmentError: If a field is missing or of the wrong type.

    Example:
        >>> layer = {"multiplier": "v1/mul8s_1L2H", "digest": "0f3a", "swap": False}
        >>> print(assignment_csv({"layers": {"conv1": layer}}), end="")
        layer,multiplier,digest,swap
        conv1,v1/mul8s_1L2H,0f3a,false
    """
    layers = assignment.get("layers")
    if not isinstance(layers, Mapping):
        raise AssignmentError(f"`layers` of an assignment must be an object, got {layers!r}.")
    rows = [(name, *_export_cells(name, layer)) for name, layer in layers.items()]
    widths = [_bits_of(name, layer) for name, layer in layers.items()]
    if all(bits == (8, 8) for bits in widths):
        return csv_text(EXPORT_COLUMNS, rows)
    wider = [(*row, *bits) for row, bits in zip(rows, widths, strict=True)]
    return csv_text((*EXPORT_COLUMNS, "bits_a", "bits_w"), wider)


def export_csv(assignment: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the layers of an assignment as CSV, see `assignment_csv`.

    Args:
        assignment: The parsed JSON of an assignment file. Rows keep the order of its layers.
        path: The file to write, atomically.

    Raises:
        AssignmentError: If a field is missing or of the wrong type.
        OSError: If ``path`` cannot be written.

    Example:
        >>> layer = {"multiplier": "v1/mul8s_1L2H", "digest": "0f3a", "swap": False}
        >>> export_csv({"layers": {"conv1": layer}}, "point.csv")
        >>> from pathlib import Path
        >>> print(Path("point.csv").read_text(), end="")
        layer,multiplier,digest,swap
        conv1,v1/mul8s_1L2H,0f3a,false
    """
    write_text_atomically(as_path(path, "path"), assignment_csv(assignment))


def _bits_of(name: str, layer: object) -> tuple[int, int]:
    match layer:
        case {"bits": [int(bits_a), int(bits_w)]}:
            return bits_a, bits_w
        case {"bits": bits}:
            raise AssignmentError(
                f"layer {name!r}: `bits` of an assignment must be two integers, got {bits!r}."
            )
    return 8, 8


def _export_cells(name: str, layer: object) -> tuple[str, str, bool]:
    match layer:
        case {"multiplier": str(multiplier), "digest": str(digest), "swap": bool(swap)}:
            return multiplier, digest, swap
    raise AssignmentError(
        f"layer {name!r} of an assignment must have `multiplier` and `digest` (strings) and "
        f"`swap` (true or false), got {layer!r}."
    )
