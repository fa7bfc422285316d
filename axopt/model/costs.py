"""What an assignment costs: power, area and delay of the multipliers.

Only multipliers count; adders, memory and control are not in the library's figures. Power is the
MAC-weighted mean over the layers, relative to a named exact multiplier: the definition of
[Mrazek2019], there over convolution layers only (`Cost.rel_power_conv`).

.. [Mrazek2019] V. Mrazek et al., "ALWANN: Automatic Layer-Wise Approximation of Deep Neural
   Network Accelerators without Retraining", ICCAD 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axopt.errors import ArgumentError
from axopt.model.emulated_model import EmulatedModel, check_emulated
from axopt.multipliers import Multiplier, load_library


@dataclass(frozen=True)
class Cost:
    """Figures of one assignment.

    Attributes:
        rel_power: MAC-weighted mean power of the multipliers over that of the reference.
        rel_power_conv: The same over convolution layers only; 1.0 if there are none.
        power_mw_macs: Sum over layers of MACs x mW, proportional to energy at a fixed clock.
        rel_area: MAC-weighted mean area over that of the reference.
        delay_ns: Largest critical-path delay of a multiplier in use.
        reference: Key of the exact multiplier that the ratios refer to.
        macs: Layer name -> multiplications for one sample.
        coverage: Emulated share of all multiplications of one sample, 0..1.
    """

    rel_power: float
    rel_power_conv: float
    power_mw_macs: float
    rel_area: float
    delay_ns: float
    reference: str
    macs: dict[str, int]
    coverage: float


def cost(emulated: EmulatedModel, *, reference: Multiplier | None = None) -> Cost:
    """Cost of the multipliers that ``emulated`` uses now.

    Args:
        emulated: A model made by `prepare`.
        reference: The multiplier that ratios refer to; by default the bundled exact one, signed if
            any layer uses a signed multiplier, else unsigned.

    Raises:
        ArgumentError: If the reference has no power or area.
    """
    check_emulated(emulated)
    infos = emulated.layers()
    used = [layer.multiplier for layer in emulated.emulated_layers.values()]
    if reference is None:
        reference = load_library().exact(signed=any(m.signed for m in used))
    if reference.power_mw <= 0 or reference.area_um2 <= 0:
        raise ArgumentError(
            f"`reference` must have positive power and area, got {reference.key} with "
            f"{reference.power_mw} mW and {reference.area_um2} um2."
        )
    macs = [info.macs for info in infos]
    convolution_macs = [
        n if layer.convolves else 0
        for n, layer in zip(macs, emulated.emulated_layers.values(), strict=True)
    ]
    power = [m.power_mw for m in used]
    return Cost(
        rel_power=_relative(power, reference.power_mw, macs),
        rel_power_conv=_relative(power, reference.power_mw, convolution_macs),
        power_mw_macs=_weighted(power, macs),
        rel_area=_relative([m.area_um2 for m in used], reference.area_um2, macs),
        delay_ns=max(m.delay_ns for m in used),
        reference=reference.key,
        macs={info.name: info.macs for info in infos},
        coverage=emulated.coverage,
    )


def _weighted(values: Sequence[float], macs: Sequence[int]) -> float:
    return sum(v * n for v, n in zip(values, macs, strict=True))


def _relative(values: Sequence[float], reference: float, macs: Sequence[int]) -> float:
    """Weighted mean over the reference; exactly 1 where all values are the reference's."""
    if not any(macs):
        return 1.0
    return _weighted(values, macs) / _weighted([reference] * len(macs), macs)
