"""The points of a front that are reported, where it has more than a reader wants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from axopt.exploration import Trial
from axopt.exploration.gains import best_together

_MARGIN = 0.05
"""Part of the range of an objective by which the worst point of interest is beyond the front."""


def thinned(front: Sequence[Trial], most: int | None) -> tuple[list[Trial], list[str]]:
    """Return at most ``most`` points of a front that keep most of its hypervolume.

    The best point of each objective stays. Then each point is taken that adds most to the
    hypervolume, on the samples of the search.

    Args:
        front: Trials that do not dominate each other.
        most: Most points, at least 2; None for all.

    Returns:
        The points, in their order, and a sentence that says how many are left out, if any are.
    """
    if most is None or len(front) <= most:
        return list(front), []
    values = np.array([trial.objectives for trial in front])
    ends = list(dict.fromkeys(values.argmin(0).tolist()))[:most]
    corner = values.max(0) + _MARGIN * np.maximum(np.ptp(values, axis=0), 1e-12)
    others = [place for place in range(len(front)) if place not in ends]
    more = best_together(values[others], values[ends], corner, most - len(ends))
    kept = sorted([*ends, *(others[place] for place in more)])
    return [front[place] for place in kept], [
        f"{len(kept)} of the {len(front)} points of the front are reported, those that keep most "
        "of its hypervolume."
    ]
