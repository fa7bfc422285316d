"""What hardware cost is a sum of: counts of cells, toggles, and loads on the longest path."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from axopt.circuits.activity import Activity
from axopt.circuits.adders import find_adders
from axopt.circuits.simplify import Simplified

POWER_FEATURES = ("products", "gates", "xor_load", "glitches")
"""Settled toggles of conjunctions of two operand bits, settled toggles of other conjunctions,
settled toggles of exclusive ors times their loads, and glitches of all gates."""

AREA_FEATURES = ("full_adders", "shared_full_adders", "half_adders", "xors", "products", "gates")
"""Numbers of adders, and of the gates outside them."""

DELAY_FEATURES = ("products", "gates", "load")
"""Conjunctions of two operand bits, other gates, and the gates' loads, on the longest path."""


def power_features(simple: Simplified, activity: Activity) -> npt.NDArray[np.float64]:
    """Return the values of `POWER_FEATURES`, ``(4,)``."""
    settled = activity.settled[simple.first_gate :]
    load = simple.load[simple.first_gate :]
    xor, product = _kinds(simple)
    return np.array(
        [
            settled[product].sum(),
            settled[~product & ~xor].sum(),
            (settled * load)[xor].sum(),
            activity.glitches[simple.first_gate :].sum(),
        ]
    )


def area_features(simple: Simplified) -> npt.NDArray[np.float64]:
    """Return the values of `AREA_FEATURES`, ``(6,)``."""
    adders = find_adders(simple)
    xor, product = _kinds(simple)
    other = np.array(adders.other, np.int64) - simple.first_gate
    xors, products = int(xor[other].sum()), int(product[other].sum())
    gates = len(other) - xors - products
    counts = [adders.full, adders.shared, adders.half, xors, products, gates]
    return np.array(counts, np.float64)


def delay_features(
    simple: Simplified, coefficients: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the values of `DELAY_FEATURES`, ``(3,)``, on the path that takes longest.

    Args:
        simple: The gates.
        coefficients: Delay per unit of each feature, ``(3,)``, in ns.
    """
    xor, product = _kinds(simple)
    own = np.zeros((simple.n_signals, len(DELAY_FEATURES)))
    own[simple.first_gate :] = np.stack(
        [product, ~product, simple.load[simple.first_gate :]], axis=1
    )
    delays = own @ coefficients
    arrival = [0.0] * simple.n_signals
    before = [0] * simple.n_signals
    for signal, gate in enumerate(simple.gates, simple.first_gate):
        before[signal] = max(gate.x >> 1, gate.y >> 1, key=arrival.__getitem__)
        arrival[signal] = arrival[before[signal]] + float(delays[signal])
    signal = max((output >> 1 for output in simple.outputs), key=arrival.__getitem__)
    total = np.zeros(len(DELAY_FEATURES))
    while signal >= simple.first_gate:
        total += own[signal]
        signal = before[signal]
    return total


def _kinds(simple: Simplified) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which gates are exclusive ors, and which conjunctions of two operand bits."""
    limit = 2 * simple.first_gate
    xor = np.array([gate.xor for gate in simple.gates], bool)
    of_bits = np.array([gate.x < limit and gate.y < limit for gate in simple.gates], bool)
    return xor, of_bits & ~xor


def weighted(features: npt.NDArray[np.float64], coefficients: Mapping[str, float]) -> float:
    """Return the sum of features times their coefficients, which are in the features' order."""
    return float(features @ np.array(list(coefficients.values())))
