"""CSV: the layers of an assignment as a table."""

from dataclasses import asdict

from axopt.export.exporter import ExportInput, register_exporter
from axopt.report import assignment_csv


@register_exporter(
    "csv",
    suffix=".csv",
    summary="one row per layer: its name, multiplier, table digest and operand order",
)
def csv_table(given: ExportInput) -> str:
    """Return the columns ``layer, multiplier, digest, swap``, in the order of the layers."""
    layers = {name: asdict(layer) for name, layer in given.assignment.layers.items()}
    return assignment_csv({"layers": layers})
