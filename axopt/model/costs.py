"""The hardware cost of an assignment: power, area and delay of its multipliers.

Adders, memory and control are not included, as the library's figures have none. Power is the mean
over the layers, weighted by multiplications, relative to a named exact multiplier. This is the
definition of [Mrazek2019], which counts convolution layers only (`Cost.rel_power_conv`).

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
        rel_power: Mean power of the multipliers, weighted by multiplications, divided by the
            power of the reference.
        rel_power_conv: The same over convolution layers only; 1.0 if there are none.
        power_mw_macs: Sum over layers of MACs x mW, proportional to energy at a fixed clock.
        rel_area: Mean area, likewise.
        delay_ns: Largest critical-path delay of a multiplier in use, in ns.
        reference: Key of the exact multiplier that the ratios refer to.
        macs: Layer name -> multiplications for one sample.
        coverage: Emulated share of all multiplications of one sample, 0..1.

    Example:
        >>> import torch, axopt
        >>> found = axopt.cost(axopt.prepare(torch.nn.Linear(8, 4), torch.rand(16, 8)))
        >>> found.rel_power, found.macs
        (1.0, {'0': 32})
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
    """Return the hardware cost of the multipliers that ``emulated`` uses now.

    Args:
        emulated: A model made by `prepare`.
        reference: Multiplier that ratios refer to; by default the bundled exact one, signed if
            any layer uses a signed multiplier, else unsigned.

    Raises:
        ArgumentError: If ``emulated`` was not made by `prepare`, or the reference has no power
            or area.

    Example:
        >>> import torch, axopt
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), torch.rand(16, 8))
        >>> axopt.assign_(emulated, "mul8s_1L1G")
        >>> found = cost(emulated)
        >>> round(found.rel_power, 3), found.macs, found.coverage
        (0.296, {'0': 32}, 1.0)
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
    """Return the weighted mean over the reference; exactly 1 if all values are the reference's."""
    if not any(macs):
        return 1.0
    return _weighted(values, macs) / _weighted([reference] * len(macs), macs)
