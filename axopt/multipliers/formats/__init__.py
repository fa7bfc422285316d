"""Files in which tools exchange multiplication tables: one module a format."""

from axopt.multipliers.formats.adapt import BrokenQuadrantWarning
from axopt.multipliers.formats.exchange import export_multiplier, import_multiplier

__all__ = ["BrokenQuadrantWarning", "export_multiplier", "import_multiplier"]
