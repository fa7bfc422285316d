"""Does a multiplier do what its authors say?"""

import math
from collections.abc import Mapping

from axopt.errors import LutFormatError
from axopt.multipliers.multiplier import Multiplier

# Figures are rounded or truncated to their last printed digit, and a few percentages were
# computed from such a figure: all 99 EvoApprox8b entries are within 1.08 units.
_PRINTED_UNITS = 1.1
_PRINTED_RELATIVE = 1e-7  # large mean squared errors have eight digits


def check_multiplier(multiplier: Multiplier) -> list[str]:
    """Compare the published figures with those recomputed from the table.

    Returns:
        One sentence a problem, none where all agree or nothing is published.
    """
    recomputed = multiplier.metrics.published_figures()
    return [
        f"{multiplier.key}: published {name} is {stated:g}, the table gives {recomputed[name]:g}"
        for name, stated in multiplier.published.items()
        if abs(recomputed[name] - stated) > _tolerance(name, stated)
    ]


def check_library(library: Mapping[str, Multiplier]) -> dict[str, list[str]]:
    """Check every multiplier, tables that cannot be read or have another digest included.

    Returns:
        The problems of each key, an empty list where it is fine.
    """
    problems: dict[str, list[str]] = {}
    for key in library:
        try:
            problems[key] = check_multiplier(library[key])
        except LutFormatError as error:
            problems[key] = [str(error)]
    return problems


def _tolerance(name: str, stated: float) -> float:
    """Return how far a figure may be off, from the digits that EvoApproxLib prints.

    Two significant digits below 10, and down to 1 (percentages: 0.01) above.
    """
    if stated == 0:
        return 0.0
    largest = 0.01 if name.endswith("_pct") else 1.0
    unit = min(largest, 10.0 ** (math.floor(math.log10(stated)) - 1))
    return max(_PRINTED_UNITS * unit, _PRINTED_RELATIVE * stated)
