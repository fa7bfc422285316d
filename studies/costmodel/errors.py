"""Errors of estimates."""

from __future__ import annotations

import numpy as np

from studies.costmodel.published import Floats


def errors_pct(estimates: Floats, figures: Floats) -> dict[str, float]:
    """Return median, 90 % quantile and mean of relative errors in %, and the rank correlation."""
    relative = 100 * (estimates / figures - 1)
    ranks = [_ranks(values) for values in (estimates, figures)]
    return {
        "median": float(np.median(np.abs(relative))),
        "p90": float(np.quantile(np.abs(relative), 0.9)),
        "bias": float(relative.mean()),
        "spearman": float(np.corrcoef(ranks)[0, 1]),
    }


def _ranks(values: Floats) -> Floats:
    """Return ranks; equal values share their mean rank."""
    _, of_value, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[of_value]
    return ranks
