"""The front as a table, and an assignment as one."""

import csv
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from axopt.errors import AssignmentError
from axopt.files import write_text_atomically
from axopt.report.record import RunRecord

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = ("point", "assignment", "split")
COLUMNS = (
    "point",
    "quality",
    "quality_low",
    "quality_high",
    "rel_power",
    "rel_area",
    "delay_ns",
    "assignment",
    "split",
)
EXPORT_COLUMNS = ("layer", "multiplier", "digest", "swap")


def front_table(record: RunRecord) -> "pd.DataFrame":
    """Return the front, one row a point, highest power first.

    Returns:
        The columns ``point, quality, quality_low, quality_high`` (in the record's unit),
        ``rel_power, rel_area`` (ratios to the reference circuit), ``delay_ns, assignment,
        split``. Numbers are float64, the others strings, also for an empty front.
    """
    import pandas as pd  # takes 0.4 s, which `axopt --help` must not pay

    return pd.DataFrame(
        {
            name: pd.Series(
                [getattr(point, "label" if name == "point" else name) for point in record.front],
                dtype="object" if name in TEXT_COLUMNS else "float64",
            )
            for name in COLUMNS
        }
    )


def front_csv(record: RunRecord) -> str:
    """Return `front_table` as CSV; every number reads back as the same float64."""
    text: str = front_table(record).to_csv(index=False, lineterminator="\n")
    return text


def export_csv(assignment: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the layers of an assignment as CSV: ``layer, multiplier, digest, swap``.

    Args:
        assignment: The parsed JSON of an assignment file. Rows keep the order of its layers.
        path: The file to write, atomically. ``swap`` reads ``true`` or ``false``, as in the JSON.

    Raises:
        AssignmentError: If a field is missing or of the wrong type.
        OSError: If ``path`` cannot be written.
    """
    layers = assignment.get("layers")
    if not isinstance(layers, Mapping):
        raise AssignmentError(f"`layers` of an assignment must be an object, got {layers!r}.")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(EXPORT_COLUMNS)
    for name, layer in layers.items():
        writer.writerow([name, *_export_cells(name, layer)])
    write_text_atomically(path, buffer.getvalue())


def _export_cells(name: str, layer: object) -> tuple[str, str, str]:
    match layer:
        case {"multiplier": str(multiplier), "digest": str(digest), "swap": bool(swap)}:
            return multiplier, digest, "true" if swap else "false"
    raise AssignmentError(
        f"layer {name!r} of an assignment must have `multiplier` and `digest` (strings) and "
        f"`swap` (true or false), got {layer!r}."
    )
