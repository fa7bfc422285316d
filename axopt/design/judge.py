"""What is expected of multipliers in the layers of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from axopt.corrections import exact_strides
from axopt.design.selection import Outlook
from axopt.design.statistics import Floats, LayerStatistics
from axopt.multipliers import Multiplier


@dataclass(frozen=True, eq=False)
class Judge:
    """The data of a network by which multipliers are judged.

    Attributes:
        exact: The exact multiplier, which powers are relative to.
        layers: Names of the layers.
        at_exact: ``(layers,)`` expected relative squared error of each layer with exact products,
            which quantisation causes.
        slopes: ``(layers,)`` squared relative distance of the network's outputs per relative
            squared error of the layer.
        macs: ``(layers,)`` shares of the multiplications.
    """

    exact: Multiplier
    layers: Sequence[str]
    at_exact: Floats
    slopes: Floats
    macs: Floats

    def outlook(self, multipliers: Sequence[Multiplier], errors: Floats) -> Outlook:
        """Return what multipliers do in the layers, and the exact one in the last column.

        Args:
            multipliers: The multipliers.
            errors: ``(layers, multipliers)`` their expected relative squared errors.
        """
        relative = [m.power_mw / self.exact.power_mw for m in (*multipliers, self.exact)]
        with_exact = np.column_stack([errors, self.at_exact])
        return Outlook(self._distances(with_exact), np.multiply.outer(self.macs, relative))

    def rows(self, multipliers: Sequence[Multiplier], errors: Floats) -> list[dict[str, object]]:
        """Return the figures of each multiplier; arguments as for `outlook`."""
        distances = np.sqrt(self._distances(errors).sum(0))
        rows = []
        for number, multiplier in enumerate(multipliers):
            power = multiplier.power_mw
            low, high = multiplier.intervals.get("power_mw", (power, power))
            figures: dict[str, object] = {
                "multiplier": multiplier.name,
                "structure": "",
                "power_mw": power,
                "power_mw_low": low,
                "power_mw_high": high,
                "rel_power": power / self.exact.power_mw,
                "distance_pct": 100 * float(distances[number]),
            }
            of_layers = 100 * np.sqrt(errors[:, number])
            figures |= {
                f"error_pct {layer}": float(error)
                for layer, error in zip(self.layers, of_layers, strict=True)
            }
            rows.append(figures)
        return rows

    def _distances(self, errors: Floats) -> Floats:
        found: Floats = self.slopes[:, None] * np.maximum(errors - self.at_exact[:, None], 0.0)
        return found


def expected_errors(
    statistics: Mapping[str, LayerStatistics], multipliers: Sequence[Multiplier]
) -> Floats:
    """Return the expected relative squared errors of layers with any multipliers.

    Args:
        statistics: Data of the layers.
        multipliers: The multipliers, of any widths; the better operand order counts. A narrow one
            makes the quantisers of the layer narrow.

    Returns:
        ``(layers, multipliers)``.
    """
    return np.array([[_error(s, m) for m in multipliers] for s in statistics.values()])


def _error(statistics: LayerStatistics, multiplier: Multiplier) -> float:
    least = np.inf
    for swap in (False,) if multiplier.is_commutative else (False, True):
        table = multiplier.code_table.T if swap else multiplier.code_table
        of_operands, *exact = (
            pair[::-1] if swap else pair
            for pair in (multiplier.strides, *exact_strides(multiplier))
        )
        tried = [of_operands]
        for a, w in exact:
            tried += [(a, of_operands[1]), (of_operands[0], w), (a, w)]
        least = min(least, statistics.error_of_table(table, list(dict.fromkeys(tried))))
    return float(least)
