"""JSON: the file that axopt itself reads."""

from axopt.export.exporter import ExportInput, register_exporter


@register_exporter("json", suffix=".json", summary="the assignment with all its parameters")
def json_text(given: ExportInput) -> str:
    """Return the assignment as ``axopt evaluate --assignment`` reads it."""
    return given.assignment.to_json()
