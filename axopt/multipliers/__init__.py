"""Multipliers: product tables with their hardware figures, errors, libraries and files."""

from axopt.multipliers.checks import check_library, check_multiplier
from axopt.multipliers.formats import (
    IMPORTERS,
    TABLE_WRITERS,
    BrokenQuadrantWarning,
    Imported,
    Importer,
    TableWarning,
    TableWriter,
    describe_formats,
    export_multiplier,
    import_multiplier,
    read_many_tables,
    read_table_file,
    read_tables,
    register_importer,
    register_table_writer,
)
from axopt.multipliers.library import (
    MultiplierLibrary,
    add_to_library,
    bundled_directory,
    load_library,
    loaded_directories,
)
from axopt.multipliers.metrics import ErrorMetrics
from axopt.multipliers.multiplier import Multiplier
from axopt.multipliers.pictures import COMPARED, compare_picture, error_picture

__all__ = [
    "COMPARED",
    "compare_picture",
    "error_picture",
    "IMPORTERS",
    "TABLE_WRITERS",
    "BrokenQuadrantWarning",
    "ErrorMetrics",
    "Imported",
    "Importer",
    "Multiplier",
    "MultiplierLibrary",
    "TableWarning",
    "TableWriter",
    "add_to_library",
    "bundled_directory",
    "check_library",
    "check_multiplier",
    "describe_formats",
    "export_multiplier",
    "import_multiplier",
    "load_library",
    "loaded_directories",
    "read_many_tables",
    "read_table_file",
    "read_tables",
    "register_importer",
    "register_table_writer",
]
