"""Limits of objectives: what algorithms that know none are told of points beyond them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Limits = Sequence[float | None]
"""Worst value of interest of every objective, None for no limit."""


class Penalty:
    """Makes points beyond limits worse than those within them.

    Every objective of such a point grows by its range among the points given, times one more than
    the sum of the excesses, which are in units of the ranges too. So a point within the limits
    dominates it if it is within the ranges, and of two points beyond them the one with the
    smaller excess is preferred. Values are a pure function of the objectives.

    Args:
        limits: One limit an objective.
        seen: Objectives that tell the ranges, ``(n, objectives)``.

    Example:
        >>> penalty = Penalty((0.5, None), [(0.0, 2.0), (1.0, 0.0)])
        >>> penalty(np.array([[0.25, 1.0], [0.75, 0.5]])).tolist()
        [[0.25, 1.0], [2.0, 3.0]]
    """

    def __init__(self, limits: Limits, seen: Sequence[Sequence[float]]) -> None:
        self._limits = np.array([np.inf if limit is None else limit for limit in limits])
        ranges = np.ptp(np.array(seen, np.float64), axis=0) if len(seen) else 0.0
        self._ranges = np.where(ranges > 0, ranges, 1.0) * np.ones(len(self._limits))

    def __call__(self, objectives: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the objectives, ``(n, objectives)``, with the penalty of each point."""
        excess = np.maximum(objectives - self._limits, 0.0) / self._ranges
        total = excess.sum(axis=1, keepdims=True)
        return np.where(total > 0, objectives + self._ranges * (1.0 + total), objectives)
