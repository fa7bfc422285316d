"""Files in which tools exchange product tables: one module a format."""

from axopt.multipliers.formats.exchange import (
    describe_formats,
    export_multiplier,
    import_multiplier,
    read_many_tables,
    read_tables,
)
from axopt.multipliers.formats.interpretation import BrokenQuadrantWarning
from axopt.multipliers.formats.registry import (
    IMPORTERS,
    TABLE_WRITERS,
    Imported,
    Importer,
    TableWarning,
    TableWriter,
    read_table_file,
    register_importer,
    register_table_writer,
)

__all__ = [
    "IMPORTERS",
    "TABLE_WRITERS",
    "BrokenQuadrantWarning",
    "Imported",
    "Importer",
    "TableWarning",
    "TableWriter",
    "describe_formats",
    "export_multiplier",
    "import_multiplier",
    "read_many_tables",
    "read_table_file",
    "read_tables",
    "register_importer",
    "register_table_writer",
]
