"""Comparison of published error figures with those of the product tables."""

import math
from collections.abc import Mapping

from axopt.errors import LutFormatError
from axopt.multipliers.multiplier import Multiplier

# Figures are rounded or truncated to their last printed digit, and a few percentages were
# computed from such a figure: all 489 bundled entries are within 1.08 units.
_PRINTED_UNITS = 1.1
_PRINTED_RELATIVE = 1e-7  # large mean squared errors have eight digits


def check_multiplier(multiplier: Multiplier) -> list[str]:
    """Compare the published error figures of a multiplier with those of its table.

    Args:
        multiplier: A multiplier; figures that it does not publish are not compared.

    Returns:
        One sentence per figure that differs by more than its last printed digit allows.

    Example:
        >>> from dataclasses import replace
        >>> from axopt import load_library
        >>> exact = load_library().exact(signed=True)
        >>> check_multiplier(exact)
        []
        >>> check_multiplier(replace(exact, published={"mae": 1.0}))
        ['v1/mul8s_1KV8: published mae is 1, the table gives 0']
    """
    recomputed = multiplier.metrics.published_figures(multiplier.bits_a + multiplier.bits_w)
    return [
        f"{multiplier.key}: published {name} is {multiplier.published[name]:g}, "
        f"the table gives {recomputed[name]:g}"
        for name in differing_figures(recomputed, multiplier.published)
    ]


def differing_figures(recomputed: Mapping[str, float], stated: Mapping[str, float]) -> list[str]:
    """Return the names of stated error figures that differ by more than their last digit allows.

    Args:
        recomputed: What `ErrorMetrics.published_figures` of the table gives.
        stated: Figures by the same names.
    """
    return [
        name
        for name, value in stated.items()
        if abs(recomputed[name] - value) > _tolerance(name, value)
    ]


def check_library(library: Mapping[str, Multiplier]) -> dict[str, list[str]]:
    """Check every multiplier of a library, see `check_multiplier`.

    Args:
        library: A library. Tables that cannot be read or have another digest are problems too.

    Returns:
        Key -> its problems; an empty list where there are none.

    Example:
        >>> from axopt import load_library
        >>> check_library(load_library().select(names=["mul8s_1L2H"]))
        {'v1/mul8s_1L2H': []}
    """
    problems: dict[str, list[str]] = {}
    for key in library:
        try:
            problems[key] = check_multiplier(library[key])
        except LutFormatError as error:
            problems[key] = [str(error)]
    return problems


def _tolerance(name: str, stated: float) -> float:
    """Return how far a figure may be off.

    EvoApproxLib prints two significant digits below 10; above, it prints units (percentages:
    hundredths).
    """
    if stated == 0:
        return 0.0
    largest = 0.01 if name.endswith("_pct") else 1.0
    unit = min(largest, 10.0 ** (math.floor(math.log10(stated)) - 1))
    return max(_PRINTED_UNITS * unit, _PRINTED_RELATIVE * stated)
