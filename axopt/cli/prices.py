"""What commands say of the hardware cost of an assignment."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from axopt.cli.console import inform

if TYPE_CHECKING:
    from axopt.model import Cost, EmulatedModel
    from axopt.multipliers import Multiplier


def cost_under_data(
    options: argparse.Namespace, emulated: EmulatedModel, reference: Multiplier | None
) -> Cost | None:
    """Return the cost with power under each layer's own data.

    Returns:
        None, and a line on stderr that says why, if a multiplier has no gate list.
    """
    from axopt.errors import CircuitError
    from axopt.model import cost

    try:
        return cost(emulated, reference=reference, power="activity")
    except CircuitError as error:
        inform(options, f"power under data is not known: {error}")
        return None


def power_text(price: Cost, under_data: Cost | None) -> str:
    """Return relative power, the published one and that under data if it is known."""
    text = f"{price.rel_power:.4f} of {price.reference}{estimate_mark(price, 'rel_power')}"
    return text if under_data is None else f"{text}, {under_data.rel_power:.4f} under data"


def estimate_mark(price: Cost, name: str) -> str:
    """Return what marks an estimate: the word and its interval."""
    if name not in price.intervals:
        return ""
    low, high = price.intervals[name]
    return f" (estimate, {low:.4f}..{high:.4f})"
