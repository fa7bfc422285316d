"""The figures of a multiplier, as every action prints them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier


def figures_of(multiplier: Multiplier) -> dict[str, Any]:
    """Return key, kind, hardware figures and errors for ``--json``."""
    return {
        "multiplier": multiplier.key,
        "signed": multiplier.signed,
        "power_mw": multiplier.power_mw,
        "area_um2": multiplier.area_um2,
        "delay_ns": multiplier.delay_ns,
        "metrics": asdict(multiplier.metrics),
        "digest": multiplier.digest,
    }
