"""The figures of a multiplier, as every action prints them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier


MARK = "*"
"""Marks an estimated figure."""


def kind_of(multiplier: Multiplier) -> str:
    """Return ``signed`` or ``unsigned``, with the widths of the operands if one is narrow."""
    kind = "signed" if multiplier.signed else "unsigned"
    widths = f" {multiplier.bits_a}x{multiplier.bits_w}"
    return kind + widths if multiplier.is_narrow else kind


def figures_of(multiplier: Multiplier) -> dict[str, Any]:
    """Return key, kind, hardware figures and errors for ``--json``.

    ``intervals`` is there if a hardware figure is an estimate: lowest and highest by its name.
    """
    return {
        "multiplier": multiplier.key,
        "signed": multiplier.signed,
        "power_mw": multiplier.power_mw,
        "area_um2": multiplier.area_um2,
        "delay_ns": multiplier.delay_ns,
        "bits_a": multiplier.bits_a,
        "bits_w": multiplier.bits_w,
        **({"intervals": dict(multiplier.intervals)} if multiplier.is_estimated else {}),
        "metrics": asdict(multiplier.metrics),
        "digest": multiplier.digest,
    }
