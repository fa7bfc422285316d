"""Survival of AGE-MOEA-II, which estimates the shape of the front. Importing this imports pymoo.

pymoo has AGE-MOEA-II too, but needs a compiler for its loops (``numba``); these few arrays need
none. The first front is scaled to 0..1 between the ideal point and the intercepts of the plane
through its corners, and described as a unit sphere of the norm ``L_p``. A point counts by its
distances along that sphere to the two nearest points that were chosen before, over its own norm
(pymoo: over the norms of the points chosen before).

.. [Panichella2022] Panichella, "An improved Pareto front modeling algorithm for large-scale
   many-objective optimization", GECCO 2022, https://doi.org/10.1145/3512290.3528732.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.survival import Survival
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

Floats = npt.NDArray[np.float64]

_TINY = 1e-8


class AgeSurvival(Survival):  # type: ignore[misc]  # pymoo is untyped
    """Keeps whole fronts in their order, and of the front that does not fit the best scores."""

    def __init__(self) -> None:
        super().__init__(filter_infeasible=True)

    def _do(self, problem: Any, pop: Any, *_: Any, n_survive: int, **__: Any) -> Any:
        F = pop.get("F").astype(np.float64)
        fronts = NonDominatedSorting().do(F, n_stop_if_ranked=n_survive)
        ideal = F[fronts[0]].min(0)
        scale, curvature = np.ones(F.shape[1]), 1.0
        kept: list[int] = []
        for rank, front in enumerate(fronts):
            if rank == 0:
                scores, scale, curvature = front_scores(F[front] - ideal)
            else:
                lengths = np.linalg.norm((F[front] - ideal) / scale, curvature, axis=1)
                scores = 1 / np.maximum(lengths, _TINY)
            pop[front].set("rank", rank)
            for index, score in zip(front, scores, strict=True):
                pop[index].set("crowding", score)
            order = np.argsort(-scores, kind="stable")
            kept.extend(front[order[: n_survive - len(kept)]])
        return pop[kept]


def front_scores(front: Floats) -> tuple[Floats, Floats, float]:
    """Return how much each point of a first front counts, and the shape of the front.

    Args:
        front: Objectives less the ideal point, ``(n, m)``, not negative.

    Returns:
        Scores ``(n,)``, infinite for the corners; the unit of each objective ``(m,)``; and the
        exponent p of the norm.
    """
    n, m = front.shape
    if n <= m:
        return np.full(n, np.inf), _span(front), 1.0
    corners = _corners(front)
    scale = _intercepts(front[corners], front)
    scaled = front / scale
    lengths = np.linalg.norm(scaled, axis=1)
    lengths[corners] = np.inf
    p = _curvature(scaled[lengths.argmin()])
    norms = np.linalg.norm(scaled, p, axis=1)
    distances = geodesics(scaled, p) / np.where(norms < _TINY, 1, norms)[:, None]
    return _spread(distances, corners), scale, p


def _corners(front: Floats) -> npt.NDArray[np.int64]:
    """Return for each objective the point nearest to its axis, no point twice."""
    corners: list[int] = []
    for axis in np.eye(front.shape[1]) + 1e-6:
        along = front @ axis / (axis @ axis)
        away = np.square(front - along[:, None] * axis).sum(1)
        away[corners] = np.inf
        corners.append(int(away.argmin()))
    return np.array(corners)


def _span(front: Floats) -> Floats:
    worst = front.max(0)
    return np.where(worst == 0, 1.0, worst)


def _intercepts(corners: Floats, front: Floats) -> Floats:
    """Return where the plane through the corners meets the axes; the worst values if nowhere."""
    try:
        inverse = np.linalg.solve(corners, np.ones(len(corners)))
    except np.linalg.LinAlgError:
        return _span(front)
    if not np.isfinite(inverse).all() or (inverse <= 0).any():
        return _span(front)
    return np.asarray(1 / inverse)


def _curvature(point: Floats) -> float:
    """Return the p for which ``sum(point ** p) == 1``, by Newton's method, in 0.1..20."""
    logs = np.log(point[point > 0] + 1e-10)
    p = 1.0
    for _ in range(100):
        powers = np.exp(np.minimum(p * logs, 700))
        slope = (powers * logs).sum() / powers.sum() if len(logs) else 0.0
        if slope == 0:
            return 1.0
        change = np.log(powers.sum()) / slope
        p -= change
        if not np.isfinite(p):
            return 1.0
        if abs(change) <= 1e-3:
            break
    return 1.0 if p <= 0.1 else float(min(p, 20.0))


def geodesics(front: Floats, p: float) -> Floats:
    """Return distances along the unit sphere of ``L_p``, over the projected middle, ``(n, n)``."""
    on_sphere = _projected(front, p)
    if 0.95 < p < 1.05:  # flat
        distances = np.linalg.norm(on_sphere[:, None] - on_sphere, axis=2)
    else:
        middle = _projected((on_sphere[:, None] + on_sphere) / 2, p)
        half = np.linalg.norm(on_sphere[:, None] - middle, axis=2)
        distances = half + half.T
    return np.asarray(np.maximum(distances, _TINY))


def _projected(points: Floats, p: float) -> Floats:
    lengths = np.linalg.norm(points, p, axis=-1, keepdims=True)
    return np.asarray(points / np.where(lengths == 0, 1, lengths))


def _spread(distances: Floats, first: npt.NDArray[np.int64]) -> Floats:
    """Return the sum of the two least distances to the points chosen before, best point first.

    Args:
        distances: ``(n, n)``, the row is the point to choose.
        first: The points that are chosen at once; they get infinity.
    """
    scores = np.full(len(distances), np.inf)
    chosen = np.zeros(len(distances), np.bool_)
    chosen[first] = True
    while not chosen.all():
        rest = np.flatnonzero(~chosen)
        near = np.sort(distances[rest][:, chosen], axis=1)[:, :2].sum(1)
        best = int(near.argmax())
        scores[rest[best]] = near[best]
        chosen[rest[best]] = True
    return scores
