"""The hardware cost of an assignment: power, area and delay of its multipliers.

Adders, memory and control are not included, as the library's figures have none. Power is the mean
over the layers, weighted by multiplications, relative to a named exact multiplier. This is the
definition of [Mrazek2019], which counts convolution layers only (`Cost.rel_power_conv`).

.. [Mrazek2019] V. Mrazek et al., "ALWANN: Automatic Layer-Wise Approximation of Deep Neural
   Network Accelerators without Retraining", ICCAD 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from axopt.errors import ArgumentError
from axopt.model.emulated_model import EmulatedModel, check_emulated
from axopt.model.estimates import intervals_of, relative, weighted
from axopt.multipliers import Multiplier, load_library

POWERS = ("published", "activity")
"""What power may be: see `cost`."""


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
        power: "published", or "activity" if power is that under the layers' own data.
        layer_power_mw: Layer name -> power of its multiplier in mW.
        intervals: Lowest and highest value of ``rel_power``, ``rel_power_conv``, ``rel_area`` and
            ``delay_ns`` where a multiplier in use has an estimated figure. All estimates are then
            at the same end of their intervals, which is the widest interval possible.

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
    power: str = "published"
    layer_power_mw: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


def cost(
    emulated: EmulatedModel, *, reference: Multiplier | None = None, power: str = "published"
) -> Cost:
    """Return the hardware cost of the multipliers that ``emulated`` uses now.

    Args:
        emulated: A model made by `prepare`.
        reference: Multiplier that ratios refer to; by default the bundled exact one, signed if
            any layer uses a signed multiplier, else unsigned.
        power: "published" for the multipliers' figures, which assume uniformly distributed
            operands. "activity" for their power under each layer's own data: the figure times the
            ratio of two estimates from the multiplier's gates, with the layer's codes and with
            uniform ones; the reference has its own codes. Successive operands count as
            independent. The first call simulates for about 10 ms a layer.

    Raises:
        ArgumentError: If ``emulated`` was not made by `prepare`, the reference has no power
            or area, or ``power`` is unknown.
        CircuitError: If ``power`` is "activity" and a multiplier has no gate list, see
            `axopt.circuits.register_netlists`.
        CalibrationError: If ``power`` is "activity" and a layer was never calibrated.

    Example:
        >>> import torch, axopt
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), torch.rand(16, 8))
        >>> axopt.assign_(emulated, "mul8s_1L1G")
        >>> found = cost(emulated)
        >>> round(found.rel_power, 3), found.macs, found.coverage
        (0.296, {'0': 32}, 1.0)
        >>> under_data = cost(emulated, power="activity")
        >>> 0 < under_data.layer_power_mw["0"] < 0.2, under_data.power
        (True, 'activity')
    """
    check_emulated(emulated)
    if power not in POWERS:
        raise ArgumentError(f"`power` must be one of {list(POWERS)}, got {power!r}.")
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
    powers, exact = _powers(emulated, reference, power)
    return Cost(
        rel_power=relative(powers, exact, macs),
        rel_power_conv=relative(powers, exact, convolution_macs),
        power_mw_macs=weighted(powers, macs),
        rel_area=relative([m.area_um2 for m in used], [reference.area_um2] * len(used), macs),
        delay_ns=max(m.delay_ns for m in used),
        reference=reference.key,
        macs={info.name: info.macs for info in infos},
        coverage=emulated.coverage,
        power=power,
        layer_power_mw={info.name: p for info, p in zip(infos, powers, strict=True)},
        intervals=intervals_of(used, powers, exact, reference, macs, convolution_macs),
    )


def _powers(
    emulated: EmulatedModel, reference: Multiplier, power: str
) -> tuple[list[float], list[float]]:
    """Return the power of each layer's multiplier and of the reference in its place, in mW."""
    layers = emulated.emulated_layers.values()
    if power == "published":
        return [layer.multiplier.power_mw for layer in layers], [reference.power_mw] * len(layers)
    from axopt.layers.powers import LayerPowers  # gate lists, which most programs never need

    found = [LayerPowers.of(layer) for layer in layers]
    return [p.power_mw() for p in found], [p.reference_mw(reference) for p in found]
