"""How much hypervolume points would add to a front, for many points at once.

The space that a front does not dominate is cut into boxes once. What a point adds is the sum over
the boxes of what lies behind it, so the work for n points is one array expression.

.. [Couckuyt2014] Couckuyt, Deschrijver and Dhaene, "Fast calculation of multiobjective probability
   of improvement and expected improvement criteria for Pareto optimization", Journal of Global
   Optimization 60, 2014: the decomposition into boxes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from axopt.exploration.front import non_dominated

Floats = npt.NDArray[np.float64]

_CELLS = 2_000_000
"""Most numbers of one intermediate array."""

_AT_ONCE = 16


class FreeSpace:
    """What no point of a front dominates, up to a corner.

    Args:
        front: Objectives ``(n, m)``, minimised; dominated points are allowed.
        corner: The worst point of interest, ``(m,)``.

    Example:
        >>> free = FreeSpace(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
        >>> free.gains(np.array([[1.5, 1.5], [2.0, 2.0], [0.0, 0.0]])).tolist()
        [0.25, 0.0, 6.0]
    """

    def __init__(self, front: Floats, corner: Floats) -> None:
        inside = front[(front < corner).all(1)]
        self._lower, self._upper = _boxes(inside[non_dominated(inside)], corner)

    def gains(self, points: Floats) -> Floats:
        """Return what each point would add to the hypervolume.

        Args:
            points: Objectives ``(n, m)``.

        Returns:
            ``(n,)``.
        """
        found = np.empty(len(points))
        rows = max(1, _CELLS // max(1, self._upper.size))
        for start in range(0, len(points), rows):
            part = points[start : start + rows, None, :]
            behind = self._upper - np.maximum(self._lower, part)
            found[start : start + rows] = np.maximum(behind, 0).prod(2).sum(1)
        return found


def best_together(points: Floats, front: Floats, corner: Floats, count: int) -> list[int]:
    """Return the points to add to a front, each the one that adds most after those before.

    What a point adds only falls while the front grows. So most points need not be looked at
    again: those whose gain was smaller before than that of the best now.

    Args:
        points: Objectives ``(n, m)``.
        front: Objectives ``(k, m)``.
        corner: The worst point of interest, ``(m,)``.
        count: Most points to return.

    Returns:
        Rows of ``points``; fewer than ``count`` if no other adds anything.

    Example:
        >>> points = np.array([[1.0, 3.0], [2.0, 2.0], [2.1, 1.9]])
        >>> best_together(points, np.empty((0, 2)), np.array([4.0, 4.0]), 2)
        [1, 0]
    """
    chosen: list[int] = []
    free = FreeSpace(front, corner)
    gains = free.gains(points)
    fresh = np.ones(len(points), np.bool_)
    while len(chosen) < count and len(points):
        best = int(gains.argmax())
        if gains[best] <= 0:
            break
        if fresh[best]:
            chosen.append(best)
            front = np.concatenate([front, points[best : best + 1]])
            free = FreeSpace(front, corner)
            gains[best] = 0.0
            fresh[:] = False
        else:
            stale = np.flatnonzero(~fresh & (gains > 0))
            again = stale[np.argsort(-gains[stale], kind="stable")[:_AT_ONCE]]
            gains[again] = free.gains(points[again])
            fresh[again] = True
    return chosen


def _boxes(front: Floats, corner: Floats) -> tuple[Floats, Floats]:
    """Return lower and upper corners of boxes, ``(b, m)`` each.

    Between two values of the last objective, what is free is free of the points before.
    """
    if front.shape[1] == 1:
        upper = np.append(front[:, 0], corner[0]).min()
        return np.full((1, 1), -np.inf), np.full((1, 1), upper)
    front = front[np.argsort(front[:, -1], kind="stable")]
    if front.shape[1] == 2:
        lower, upper = np.full((2, len(front) + 1, 2), -np.inf)
        upper[:, 0] = np.minimum.accumulate(np.append(corner[0], front[:, 0]))
        upper[:, 1] = np.append(front[:, 1], corner[1])
        lower[1:, 1] = front[:, 1]
        return lower, upper
    bounds = np.concatenate([[-np.inf], front[:, -1], corner[-1:]])
    lowers, uppers = [], []
    for count, (low, high) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        if high > low:
            section = front[:count, :-1]
            if section.shape[1] > 1:
                section = section[non_dominated(section)]
            lower, upper = _boxes(section, corner[:-1])
            lowers.append(np.column_stack([lower, np.full(len(lower), low)]))
            uppers.append(np.column_stack([upper, np.full(len(upper), high)]))
    return np.concatenate(lowers), np.concatenate(uppers)
