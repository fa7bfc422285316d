"""Fronts of problems whose two objectives are sums over genes, by dynamic programming.

The hardware cost of an assignment is a sum over its layers. The divergence that approximate
multipliers cause is nearly one: errors of different layers are nearly independent. Where both
objectives are sums, the whole front follows from one pass over the genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError
from axopt.exploration.front import non_dominated
from axopt.exploration.space import Genes

Floats = npt.NDArray[np.float64]

BINS = 4096
"""Default number of levels that costs are rounded to."""


@dataclass(frozen=True)
class AdditivePoint:
    """A point of the front of an additive problem.

    Attributes:
        genes: The option of every gene.
        error: Sum of the errors of these options.
        cost: Sum of their costs.

    Example:
        >>> AdditivePoint((0, 1), error=0.5, cost=2.0).genes
        (0, 1)
    """

    genes: Genes
    error: float
    cost: float


def additive_front(
    errors: Sequence[npt.ArrayLike], costs: Sequence[npt.ArrayLike], *, bins: int = BINS
) -> list[AdditivePoint]:
    """Return the front of error and cost where both are sums over genes.

    Costs are rounded to ``bins`` levels while the front is searched, so a returned point can be
    worse than the true optimum at its cost by what half a level of every gene is worth. Error and
    cost of the points are not rounded.

    Args:
        errors: For every gene the error of each option, ``(options,)``, finite.
        costs: For every gene the cost of each option, same shapes, finite.
        bins: Number of levels, 2..65,536.

    Returns:
        Points that do not dominate each other, by rising cost.

    Raises:
        ArgumentError: If the arrays do not fit each other or are not finite.

    Example:
        >>> front = additive_front([[0, 1], [0, 3]], [[2, 1], [2, 1]])
        >>> [(point.genes, point.error, point.cost) for point in front]
        [((1, 1), 4.0, 2.0), ((1, 0), 1.0, 3.0), ((0, 0), 0.0, 4.0)]
    """
    genes, sums = front_arrays(_checked(errors, costs, bins), bins)
    return [
        AdditivePoint(tuple(options), error, cost)
        for options, (error, cost) in zip(genes.tolist(), sums.tolist(), strict=True)
    ]


def front_arrays(
    tables: Sequence[tuple[Floats, Floats]], bins: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the genes ``(n, genes)`` and the two sums ``(n, 2)`` of the front, by rising cost.

    Args:
        tables: Errors and costs of the options of each gene, finite.
        bins: See `additive_front`.
    """
    low = sum(cost.min() for _, cost in tables)
    high = sum(cost.max() for _, cost in tables)
    unit = (high - low) / (bins - 1) or 1.0
    # a level more for each gene, because every gene rounds
    best = np.full(bins + len(tables), np.inf)
    best[0] = 0.0
    highest = 0  # no level above it is reached yet
    choices = []
    for error, cost in tables:
        steps = np.rint((cost - cost.min()) / unit).astype(np.int64)
        reached = best[: highest + 1]
        highest += int(steps.max())
        least = np.full(len(best), np.inf)
        chosen = np.zeros(highest + 1, np.int32)
        # an option that another dominates is in no optimum
        for option in np.flatnonzero(non_dominated(np.stack([error, cost], 1))):
            now = slice(steps[option], steps[option] + len(reached))
            through = reached + error[option]
            np.copyto(chosen[now], option, where=through < least[now])
            np.minimum(least[now], through, out=least[now])
        choices.append((chosen, steps))
        best = least
    genes = _traced(np.flatnonzero(np.isfinite(best)), choices)
    sums = np.zeros((len(genes), 2))
    for gene, options in enumerate(genes.T):  # in this order, as a sum over one point's genes
        for kind in (0, 1):
            sums[:, kind] += tables[gene][kind][options]
    kept = np.flatnonzero(non_dominated(sums))
    by_cost = kept[np.argsort(sums[kept, 1], kind="stable")]
    return genes[by_cost], sums[by_cost]


def _traced(
    levels: npt.NDArray[np.int64],
    choices: Sequence[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]],
) -> npt.NDArray[np.int64]:
    """Return the options of the points that have the least error at levels of cost.

    Args:
        levels: The levels, ``(n,)``.
        choices: For each gene the best option at every level, and the steps of its options.

    Returns:
        ``(n, genes)``.
    """
    genes = np.empty((len(levels), len(choices)), np.int64)
    for gene in reversed(range(len(choices))):
        chosen, steps = choices[gene]
        genes[:, gene] = chosen[levels]
        levels = levels - steps[genes[:, gene]]
    return genes


def _checked(
    errors: Sequence[npt.ArrayLike], costs: Sequence[npt.ArrayLike], bins: int
) -> list[tuple[Floats, Floats]]:
    if not 2 <= bins <= 65536:
        raise ArgumentError(f"`bins` must be in 2..65536, got {bins}.")
    if len(errors) != len(costs) or not errors:
        raise ArgumentError(
            f"`errors` and `costs` must hold the same genes, got {len(errors)} and {len(costs)}."
        )
    tables = []
    for gene, (error, cost) in enumerate(zip(errors, costs, strict=True)):
        table = np.asarray(error, np.float64), np.asarray(cost, np.float64)
        if table[0].ndim != 1 or table[0].shape != table[1].shape or not table[0].size:
            raise ArgumentError(
                f"`errors[{gene}]` and `costs[{gene}]` must have one shape (options,), got "
                f"{table[0].shape} and {table[1].shape}."
            )
        if not (np.isfinite(table[0]).all() and np.isfinite(table[1]).all()):
            raise ArgumentError(f"`errors[{gene}]` and `costs[{gene}]` must be finite.")
        tables.append(table)
    return tables
