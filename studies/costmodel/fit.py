r"""Fit the hardware-cost model of axopt.circuits to the published multipliers.

    python -m studies.costmodel.fit

Run it from the repository root. It writes axopt/circuits/cost_model.json, and the errors as
tables, CSV and a plot to studies/costmodel/results. It takes about a minute.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from axopt.circuits.cost import MODEL_FILE
from axopt.circuits.features import AREA_FEATURES, DELAY_FEATURES, POWER_FEATURES
from axopt.files import write_text_atomically
from axopt.multipliers.multiplier import FIGURES
from studies.costmodel.published import LIBRARY, Floats, Published, load_published

SIZE_LIMITS_MW = (0.01, 0.1)
"""Limits of the estimated power between size classes, each of which has its intervals."""

COVERAGE = 0.9
"""Share of the published figures within the intervals."""

PATH_ROUNDS = 8
"""How often longest paths and their coefficients follow from each other."""

FILES = [LIBRARY / "evoapprox8b.csv", LIBRARY / "evoapprox_narrow.csv"]


def fitted(features: Floats, figures: Floats) -> Floats:
    """Return non-negative coefficients with a small sum of absolute relative errors.

    Least squares of relative errors, repeated with weights ``1 / sqrt(|error|)``.
    """
    scale = 1 / figures
    coefficients = nnls(features * scale[:, None], figures * scale)[0]
    for _ in range(10):
        error = np.abs(features @ coefficients / figures - 1)
        weight = scale / np.sqrt(np.maximum(error, 0.02))
        coefficients = nnls(features * weight[:, None], figures * weight)[0]
    return coefficients


def fit_power(circuits: Sequence[Published]) -> Floats:
    """Return the coefficients of `POWER_FEATURES`."""
    return fitted(np.stack([c.power for c in circuits]), _figures(circuits, "power_mw"))


def fit_area(circuits: Sequence[Published]) -> Floats:
    """Return the coefficients of `AREA_FEATURES`."""
    return fitted(np.stack([c.area for c in circuits]), _figures(circuits, "area_um2"))


def fit_delay(circuits: Sequence[Published]) -> Floats:
    """Return the coefficients of `DELAY_FEATURES`.

    The coefficients decide which path is longest, and the longest paths decide the coefficients.
    """
    coefficients = np.array([0.03, 0.03, 0.015])
    for _ in range(PATH_ROUNDS):
        features = np.stack([c.delay(coefficients) for c in circuits])
        coefficients = (coefficients + fitted(features, _figures(circuits, "delay_ns"))) / 2
    return coefficients


FIT: dict[str, Callable[[Sequence[Published]], Floats]] = {
    "power_mw": fit_power,
    "area_um2": fit_area,
    "delay_ns": fit_delay,
}

NAMES = {"power_mw": POWER_FEATURES, "area_um2": AREA_FEATURES, "delay_ns": DELAY_FEATURES}


def features_of(figure: str, coefficients: Floats, circuits: Sequence[Published]) -> Floats:
    """Return the features of one figure, a row each; of delay, on the longest paths."""
    rows: dict[str, Callable[[Published], Floats]] = {
        "power_mw": lambda c: c.power,
        "area_um2": lambda c: c.area,
        "delay_ns": lambda c: c.delay(coefficients),
    }
    return np.stack([rows[figure](c) for c in circuits])


def left_out(figure: str, circuits: Sequence[Published], groups: Sequence[str]) -> Floats:
    """Return estimates of each circuit by a model fitted to the circuits of other groups."""
    estimates = np.zeros(len(circuits))
    labels = np.array(groups)
    for group in dict.fromkeys(groups):
        others = [c for c, label in zip(circuits, labels, strict=True) if label != group]
        mine = np.flatnonzero(labels == group)
        coefficients = FIT[figure](others)
        features = features_of(figure, coefficients, [circuits[i] for i in mine])
        estimates[mine] = features @ coefficients
    return estimates


def one_left_out(figure: str, circuits: Sequence[Published], coefficients: Floats) -> Floats:
    """Return estimates of each circuit by a model fitted to all others.

    The longest paths are those under ``coefficients``, which are fitted to all circuits.
    """
    features = features_of(figure, coefficients, circuits)
    figures = _figures(circuits, figure)
    estimates = np.zeros(len(circuits))
    for i in range(len(circuits)):
        others = np.arange(len(circuits)) != i
        estimates[i] = features[i] @ fitted(features[others], figures[others])
    return estimates


def _figures(circuits: Sequence[Published], figure: str) -> Floats:
    return np.array([c.figures[figure] for c in circuits])


def interval_ratios(
    circuits: Sequence[Published], estimates: dict[str, Floats]
) -> dict[str, list[list[float]]]:
    """Return quantiles of published figure by estimate for each figure and size class."""
    sizes = np.searchsorted(SIZE_LIMITS_MW, estimates["power_mw"], side="right")
    tail = (1 - COVERAGE) / 2
    ratios = {}
    for figure in FIGURES:
        ratio = _figures(circuits, figure) / estimates[figure]
        ratios[figure] = [
            np.quantile(ratio[sizes == size], [tail, 1 - tail]).round(3).tolist()
            for size in range(len(SIZE_LIMITS_MW) + 1)
        ]
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, nargs="+", default=FILES)
    parser.add_argument("--results", type=Path, default=Path("studies/costmodel/results"))
    arguments = parser.parse_args()
    from studies.costmodel import summarise

    circuits = load_published(arguments.figures)
    coefficients = {figure: FIT[figure](circuits) for figure in FIGURES}
    by_width = {f: left_out(f, circuits, [c.width for c in circuits]) for f in FIGURES}
    model = {
        "source": "python -m studies.costmodel.fit, from the figures and gate lists of "
        f"{len(circuits)} distinct multipliers in multiplier_lib (EvoApproxLib, 45 nm)",
        "coefficients": {
            f: dict(zip(NAMES[f], np.round(coefficients[f], 6).tolist(), strict=True))
            for f in FIGURES
        },
        "size_limits_mw": list(SIZE_LIMITS_MW),
        "ratios": interval_ratios(circuits, by_width),
    }
    write_text_atomically(MODEL_FILE, json.dumps(model, indent=2) + "\n")
    by_one = {f: one_left_out(f, circuits, coefficients[f]) for f in FIGURES}
    summarise.write(arguments.results, circuits, by_width, by_one)


if __name__ == "__main__":
    main()
