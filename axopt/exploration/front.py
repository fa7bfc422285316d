"""Pareto fronts and the hypervolume they dominate. All objectives are minimised."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError


def non_dominated(F: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Mark the points that no other point dominates.

    A point dominates another if it is no worse in every objective and better in one. Of equal
    points only the first is marked.

    Args:
        F: Objective values, ``(n, m)`` float64, minimised; n may be 0.

    Returns:
        ``(n,)`` bool mask.

    Raises:
        ArgumentError: If ``F`` is not 2-D, has no column, or holds NaN or infinity.

    Example:
        >>> from axopt.exploration import non_dominated
        >>> non_dominated([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0]]).tolist()
        [True, True, False]
    """
    points = _checked_points(F)
    mask = np.zeros(len(points), dtype=np.bool_)
    front = np.empty((0, points.shape[1]))
    # In lexicographic order only an earlier point can dominate a later one; lexsort is stable,
    # so of equal points the first comes first.
    order = np.lexsort(points.T[::-1])
    if points.shape[1] == 2:  # the least second value so far tells it
        second = points[order, 1]
        least_before = np.minimum.accumulate(np.concatenate([[np.inf], second]))[:-1]
        mask[order[second < least_before]] = True
        return mask
    for index in order:
        if not (front <= points[index]).all(axis=1).any():
            mask[index] = True
            front = np.vstack([front, points[index]])
    return mask


def hypervolume(F: npt.ArrayLike, reference: Sequence[float]) -> float:
    """Return the volume that ``F`` dominates, bounded by ``reference``.

    Points that are not better than the reference in every objective add nothing. Computed
    exactly: a sweep for two objectives, slices along the last objective for more.

    Args:
        F: Objective values, ``(n, m)`` float64, minimised; dominated points are allowed.
        reference: The worst corner, ``m`` finite values.

    Returns:
        The volume, 0.0 for no points.

    Raises:
        ArgumentError: If ``F`` is not 2-D or not finite, or ``reference`` does not fit it.

    Example:
        >>> from axopt.exploration import hypervolume
        >>> hypervolume([[1.0, 2.0], [2.0, 1.0]], reference=(3.0, 3.0))
        3.0
    """
    points = _checked_points(F)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != (points.shape[1],):
        raise ArgumentError(
            f"`reference` must have shape ({points.shape[1]},), got {corner.shape}."
        )
    if not np.isfinite(corner).all():
        raise ArgumentError(f"`reference` must be finite, got {corner.tolist()}.")
    inside = points[(points < corner).all(axis=1)]
    return _volume(inside[non_dominated(inside)], corner)


def _checked_points(F: npt.ArrayLike) -> npt.NDArray[np.float64]:
    points = np.asarray(F, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] == 0:
        raise ArgumentError(f"`F` must have shape (n, m) with m >= 1, got {points.shape}.")
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        raise ArgumentError(f"`F` must be finite, row {bad[0]} is {points[bad[0]].tolist()}.")
    return points


def _volume(front: npt.NDArray[np.float64], corner: npt.NDArray[np.float64]) -> float:
    """Return the hypervolume of mutually non-dominated points, all better than ``corner``."""
    if len(front) == 0:
        return 0.0
    if front.shape[1] == 1:
        return float(corner[0] - front[:, 0].min())
    front = front[np.argsort(front[:, -1], kind="stable")]
    depths = np.diff(np.append(front[:, -1], corner[-1]))
    if front.shape[1] == 2:  # sorted by the second objective, the first one falls
        return math.fsum((corner[0] - front[:, 0]) * depths)
    slices = []
    for count, depth in enumerate(depths, start=1):
        section = front[:count, :-1]
        slices.append(depth * _volume(section[non_dominated(section)], corner[:-1]))
    return math.fsum(slices)
