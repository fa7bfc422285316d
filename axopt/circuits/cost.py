"""Estimate power, area and delay of a gate list, with a model fitted to published circuits.

The model is fitted to the 45 nm figures of EvoApproxLib's multipliers; `studies/costmodel` holds
the script, the errors and the definition. An estimate is for choosing among multipliers: the
figures do not include adders, memory and control.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from axopt.circuits.activity import Floats, activity
from axopt.circuits.features import (
    AREA_FEATURES,
    DELAY_FEATURES,
    POWER_FEATURES,
    area_features,
    delay_features,
    power_features,
    weighted,
)
from axopt.circuits.netlist import Netlist
from axopt.circuits.simplify import simplify
from axopt.multipliers.multiplier import FIGURES

MODEL_FILE = Path(__file__).with_name("cost_model.json")
"""The fitted model; `studies/costmodel/fit.py` writes it."""

_FEATURES = {
    "power_mw": POWER_FEATURES,
    "area_um2": AREA_FEATURES,
    "delay_ns": DELAY_FEATURES,
}


@dataclass(frozen=True)
class HardwareEstimate:
    """Estimated figures of one multiplier.

    Attributes:
        power_mw: Power in mW with uniformly distributed, independent operands, as published
            figures assume.
        area_um2: Area in um2.
        delay_ns: Delay of the longest path in ns.
        intervals: Figure name -> lowest and highest value. Of the published circuits of a width
            that the model was not fitted to, 90 % have a figure within such an interval.

    Example:
        >>> from axopt.circuits import generate
        >>> sorted(estimate(generate("exact", bits_a=2, bits_w=2)).intervals)
        ['area_um2', 'delay_ns', 'power_mw']
    """

    power_mw: float
    area_um2: float
    delay_ns: float
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class CostModel:
    """A fitted model.

    Attributes:
        coefficients: Figure -> feature -> figure per unit of the feature; see
            `axopt.circuits.features`.
        size_limits_mw: Upper limits of the estimated power of all size classes but the last.
        ratios: Figure -> for each size class, the 5 % and 95 % quantiles of published figure by
            estimate.
    """

    coefficients: Mapping[str, Mapping[str, float]]
    size_limits_mw: tuple[float, ...]
    ratios: Mapping[str, tuple[tuple[float, float], ...]]

    def figures(self, netlist: Netlist) -> dict[str, float]:
        """Return the estimated figures of a netlist by their names."""
        simple = simplify(netlist)
        if not simple.gates:
            return dict.fromkeys(FIGURES, 0.0)
        delays = self.coefficients["delay_ns"]
        features = {
            "power_mw": power_features(simple, activity(netlist)),
            "area_um2": area_features(simple),
            "delay_ns": delay_features(simple, np.array(list(delays.values()))),
        }
        return {name: weighted(features[name], self.coefficients[name]) for name in FIGURES}

    def estimate(self, netlist: Netlist) -> HardwareEstimate:
        """Return the estimated figures of a netlist with their intervals."""
        figures = self.figures(netlist)
        size = int(np.searchsorted(self.size_limits_mw, figures["power_mw"], side="right"))
        ratios = {name: self.ratios[name][size] for name in FIGURES}
        intervals = {
            name: (figures[name] * low, figures[name] * high)
            for name, (low, high) in ratios.items()
        }
        return HardwareEstimate(**figures, intervals=intervals)


@cache
def cost_model() -> CostModel:
    """Return the model that the package brings.

    Example:
        >>> list(cost_model().coefficients["power_mw"])
        ['products', 'gates', 'xor_load', 'glitches']
    """
    stored = json.loads(MODEL_FILE.read_text(encoding="utf-8"))
    return CostModel(
        coefficients={
            name: {feature: float(stored["coefficients"][name][feature]) for feature in features}
            for name, features in _FEATURES.items()
        },
        size_limits_mw=tuple(stored["size_limits_mw"]),
        ratios={
            name: tuple((float(low), float(high)) for low, high in stored["ratios"][name])
            for name in FIGURES
        },
    )


def estimate(netlist: Netlist) -> HardwareEstimate:
    """Estimate power, area and delay of a multiplier from its gates.

    The result depends on the netlist only. It takes about 10 ms for 8-bit operands.

    Args:
        netlist: The gates of the multiplier.

    Returns:
        Figures in mW, um2 and ns for 45 nm, comparable to the published ones of the bundled
        library, and an interval for each. A netlist without gates has no cost.

    Raises:
        CircuitError: If the netlist has more than 20,000 gates.

    Example:
        >>> from axopt.circuits import load_netlists
        >>> found = estimate(load_netlists()["v1/mul8s_1L1G"])  # published: 0.126 mW, 284.9 um2
        >>> round(found.power_mw, 2), round(found.area_um2, -1), round(found.delay_ns, 1)
        (0.13, 270.0, 0.9)
        >>> low, high = found.intervals["power_mw"]
        >>> low < 0.126 < high
        True
    """
    return cost_model().estimate(netlist)


def activity_power_mw(
    netlist: Netlist, share_a: Floats | None = None, share_w: Floats | None = None
) -> float:
    """Estimate the power of a multiplier whose operands are distributed as given.

    Successive operands are independent of each other, as are the two operands. Data in memory
    order may repeat or change slowly, which takes less power.

    Args:
        netlist: The gates of the multiplier.
        share_a: How often each value of the first operand occurs, ``(2**bits_a,)`` float64 in
            numeric order, with sum 1. None: equally often.
        share_w: The same for the second operand, ``(2**bits_w,)``.

    Returns:
        Power in mW. With equally frequent operands it equals ``estimate(netlist).power_mw``.

    Raises:
        CircuitError: If shares have another shape, are negative or not finite, or do not sum to 1,
            or if the netlist has more than 20,000 gates.

    Example:
        >>> import numpy as np
        >>> from axopt.circuits import load_netlists
        >>> netlist = load_netlists()["v1/mul8u_1JFF"]  # exact, unsigned
        >>> small = np.where(np.arange(256) < 16, 1 / 16, 0.0)  # first operands 0..15
        >>> round(activity_power_mw(netlist, small) / estimate(netlist).power_mw, 1)
        0.4
    """
    simple = simplify(netlist)
    if not simple.gates:
        return 0.0
    features = power_features(simple, activity(netlist, share_a, share_w))
    return weighted(features, cost_model().coefficients["power_mw"])
