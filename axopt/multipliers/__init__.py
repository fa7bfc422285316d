"""What a circuit computes and what it costs: multipliers, their errors, libraries and files."""

from axopt.multipliers.checks import check_library, check_multiplier
from axopt.multipliers.formats import (
    BrokenQuadrantWarning,
    export_multiplier,
    import_multiplier,
)
from axopt.multipliers.library import MultiplierLibrary, add_to_library, load_library
from axopt.multipliers.metrics import ErrorMetrics
from axopt.multipliers.multiplier import Multiplier

__all__ = [
    "BrokenQuadrantWarning",
    "ErrorMetrics",
    "Multiplier",
    "MultiplierLibrary",
    "add_to_library",
    "check_library",
    "check_multiplier",
    "export_multiplier",
    "import_multiplier",
    "load_library",
]
