"""Means of figures over the layers of a model, and intervals of those that are estimates."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.multipliers import Multiplier

Interval = tuple[float, float]


def intervals_of(
    used: Sequence[Multiplier],
    powers: Sequence[float],
    exact: Sequence[float],
    reference: Multiplier,
    macs: Sequence[int],
    convolution_macs: Sequence[int],
) -> dict[str, Interval]:
    """Return the intervals of `Cost`, for its figures that depend on an estimate.

    Args:
        used: The multiplier of each layer.
        powers: Its power in the layer, in mW. It may differ from its figure by a factor, and so
            do the ends of its interval.
        exact: Power of the reference in the layer, in mW.
        reference: The multiplier that ratios refer to.
        macs: Multiplications of each layer.
        convolution_macs: The same, 0 for layers that are no convolutions.
    """
    found = {}
    power = [_scaled(m, p) for m, p in zip(used, powers, strict=True)]
    if _estimated(used, macs, "power_mw"):
        found["rel_power"] = _means(power, exact, macs)
    if _estimated(used, convolution_macs, "power_mw"):
        found["rel_power_conv"] = _means(power, exact, convolution_macs)
    if _estimated(used, macs, "area_um2"):
        area = [_ends(m, "area_um2") for m in used]
        found["rel_area"] = _means(area, [reference.area_um2] * len(used), macs)
    if _estimated(used, [1] * len(used), "delay_ns"):
        lows, highs = zip(*(_ends(m, "delay_ns") for m in used), strict=True)
        found["delay_ns"] = (max(lows), max(highs))
    return found


def _estimated(used: Sequence[Multiplier], weights: Sequence[int], figure: str) -> bool:
    return any(n and figure in m.intervals for m, n in zip(used, weights, strict=True))


def _ends(multiplier: Multiplier, figure: str) -> Interval:
    """Return the interval of a figure; of a published one, twice the figure."""
    value = getattr(multiplier, figure)
    return multiplier.intervals.get(figure, (value, value))


def _scaled(multiplier: Multiplier, power: float) -> Interval:
    """Return the interval of the power in a layer."""
    low, high = _ends(multiplier, "power_mw")
    figure = multiplier.power_mw
    return (low, high) if figure == power else (power * low / figure, power * high / figure)


def _means(ends: Sequence[Interval], exact: Sequence[float], macs: Sequence[int]) -> Interval:
    lows, highs = zip(*ends, strict=True)
    return relative(lows, exact, macs), relative(highs, exact, macs)


def weighted(values: Sequence[float], macs: Sequence[int]) -> float:
    """Return the sum of the values times the multiplications of their layers."""
    return sum(v * n for v, n in zip(values, macs, strict=True))


def relative(values: Sequence[float], reference: Sequence[float], macs: Sequence[int]) -> float:
    """Return the weighted mean over the reference's; exactly 1 if all values are the same."""
    exact = weighted(reference, macs)
    if exact == 0:  # no multiplications, or none that switches anything
        return 1.0
    return weighted(values, macs) / exact
