"""Choose the few multipliers that serve a network best, by the front that they make possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from axopt.design.statistics import Floats
from axopt.exploration import AdditivePoint, additive_front

WORST_SQUARE = 0.09
"""Squared relative distance of outputs, 30 %, beyond which a network is of no use."""

_BINS = 256
_MAX_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Outlook:
    """What every multiplier does in every layer, as sums over layers.

    Attributes:
        errors: ``(layers, multipliers)`` float64: squared relative distance of the network's
            outputs that the multiplier adds in the layer.
        costs: ``(layers, multipliers)`` float64: power that it adds, relative to the exact
            multiplier in all layers.
    """

    errors: Floats
    costs: Floats

    def front(self, columns: Sequence[int], bins: int = _BINS) -> list[AdditivePoint]:
        """Return the front of distance and power with some of the multipliers."""
        chosen = list(columns)
        return additive_front(list(self.errors[:, chosen]), list(self.costs[:, chosen]), bins=bins)

    def value(self, columns: Sequence[int], power: float | None) -> float:
        """Return how bad the front with some of the multipliers is; smaller is better.

        Args:
            columns: The multipliers.
            power: Relative power at which the squared distance counts; None for the mean over
                all powers from 0 to 1, where distances beyond `WORST_SQUARE` count as that.
        """
        front = self.front(columns)
        if power is not None:
            within = [point.error for point in front if point.cost <= power * (1 + 1e-9)]
            # out of reach: the less power the better
            return within[-1] if within else WORST_SQUARE * 1e6 * (1 + front[0].cost)
        area, at, error = 0.0, 0.0, WORST_SQUARE
        for point in front:
            area += error * (min(point.cost, 1.0) - at)
            at, error = min(point.cost, 1.0), min(point.error, WORST_SQUARE)
        return area + error * (1.0 - at)

    def used(self, columns: Sequence[int], count: int) -> list[int]:
        """Return the multipliers that occur most in the front of all ``columns``.

        Args:
            columns: The multipliers.
            count: Most of them to return.
        """
        uses: Counter[int] = Counter()
        for point in self.front(columns, bins=1024):
            if point.error <= WORST_SQUARE:
                uses.update(columns[gene] for gene in point.genes)
        ordered = sorted(uses, key=lambda column: (-uses[column], column))
        return ordered[:count]


def choose(
    outlook: Outlook, candidates: Sequence[int], always: int, count: int, power: float | None
) -> list[int]:
    """Return the candidates with the best front, by forward selection and exchanges.

    Args:
        outlook: What multipliers do in the layers.
        candidates: Columns of ``outlook`` to choose from.
        always: The column of the exact multiplier, which every front has.
        count: How many to choose.
        power: See `Outlook.value`.

    Returns:
        At most ``count`` columns, by falling cost; fewer if more do not improve the front.
    """
    chosen: list[int] = []
    value = outlook.value([always], power)
    while len(chosen) < count:
        found = _improved(outlook, candidates, always, chosen, value, power)
        if found is None:
            break
        column, value = found
        chosen.append(column)
    for _ in range(_MAX_ROUNDS):
        before = value
        for column in list(chosen):
            rest = [other for other in chosen if other != column]
            found = _improved(outlook, candidates, always, rest, value, power)
            if found is not None:
                chosen, value = [*rest, found[0]], found[1]
        if value >= before:
            break
    total = outlook.costs.sum(0)
    return sorted(chosen, key=lambda column: (-total[column], column))


def _improved(
    outlook: Outlook,
    candidates: Sequence[int],
    always: int,
    chosen: Sequence[int],
    value: float,
    power: float | None,
) -> tuple[int, float] | None:
    """Return the candidate whose addition is better than ``value`` by most, and its value."""
    free = [column for column in candidates if column not in chosen and column != always]
    values = [outlook.value([always, *chosen, column], power) for column in free]
    if not values or min(values) >= value * (1 - 1e-9):
        return None
    best = int(np.argmin(values))
    return free[best], values[best]
