"""Assignments for other programs: one file format per module, found by name in a registry.

A format is added with `register_exporter`, by axopt itself, by a user's program or by an installed
package.
"""

from axopt.export.exporter import (
    BUILT_IN,
    EXPORTERS,
    Exporter,
    ExportInput,
    exporter_for,
    get_exporter,
    list_exporters,
    register_exporter,
)
from axopt.export.writing import export_bytes, write_export

__all__ = [
    "BUILT_IN",
    "EXPORTERS",
    "ExportInput",
    "Exporter",
    "export_bytes",
    "exporter_for",
    "get_exporter",
    "list_exporters",
    "register_exporter",
    "write_export",
]
