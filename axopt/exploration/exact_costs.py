"""Objectives that are known exactly of every point, for many points at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from axopt.exploration.space import SearchSpace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def padded(values: Sequence[Sequence[float]]) -> Floats:
    """Return one row a gene, ``(genes, options)``; NaN where a gene has no such option.

    Example:
        >>> padded([[1.0, 2.0], [3.0]]).tolist()
        [[1.0, 2.0], [3.0, nan]]
    """
    width = max(len(of_gene) for of_gene in values)
    return np.array([[*of_gene, *[np.nan] * (width - len(of_gene))] for of_gene in values])


class ExactCosts:
    """What `SearchSpace.known` says exactly.

    Args:
        space: The search space.
        n_objectives: Number of objectives.

    Attributes:
        tables: Objective -> the values of the options, ``(genes, options)``.
        combines: Objective -> how values of genes make the objective: "sum", "max", "distinct".
    """

    def __init__(self, space: SearchSpace, n_objectives: int) -> None:
        exact = [k for k in space.known if k.exact and k.objective < n_objectives]
        self.tables = {known.objective: padded(known.values) for known in exact}
        self.combines = {known.objective: known.combine for known in exact}

    def of(self, objective: int, points: Ints) -> Floats:
        """Return one objective of points ``(n, genes)``, ``(n,)``."""
        table = self.tables[objective]
        chosen = table[np.arange(len(table)), points]
        if self.combines[objective] == "max":
            return np.asarray(chosen.max(1))
        if self.combines[objective] == "distinct":
            return n_distinct(chosen)
        return np.asarray(chosen.sum(1))


def n_distinct(values: npt.NDArray[np.float64] | Ints) -> Floats:
    """Return the number of distinct values of each row, ``(n,)`` float64."""
    ordered = np.sort(values, axis=1)
    return np.asarray(1.0 + (np.diff(ordered, axis=1) != 0).sum(1))
