"""Optuna's Gaussian processes with an optimiser for categorical genes. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna

from axopt.exploration.space import Genes, SearchSpace

Floats = npt.NDArray[np.float64]

_MAX_STEPS = 8


class BatchedGPSampler(optuna.samplers.GPSampler):
    """`optuna.samplers.GPSampler` that compares many points at once, all of them unseen.

    Optuna names `_optimize_acqf` as the method to override for another optimiser.

    Args:
        space: The search space.
        is_unseen: Whether a point may be proposed.
        seed: Seeds every random decision.
        startup: Number of points before the processes are used.
        candidates: Number of random points that are compared for each proposal.
    """

    def __init__(
        self,
        space: SearchSpace,
        is_unseen: Callable[[Genes], bool],
        *,
        seed: int,
        startup: int,
        candidates: int,
    ) -> None:
        super().__init__(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        sizes = np.array(space.sizes, dtype=np.int64)
        self._free = sizes > 1  # Optuna leaves genes of one option out
        self._sizes = sizes[self._free]
        self._is_unseen = is_unseen
        self._candidates = candidates

    def _optimize_acqf(self, acqf: Any, best_params: Floats | None) -> Floats:
        """Return the best of random points, given ones and their neighbours, ``(genes,)``."""
        shape = (self._candidates, len(self._sizes))
        points = self._rng.rng.randint(0, self._sizes, size=shape).astype(np.float64)
        given = np.empty((0, len(self._sizes))) if best_params is None else best_params
        points = np.concatenate([points, given, *map(self._neighbours, given)])
        best, best_value = points[0], -np.inf
        for _ in range(_MAX_STEPS):
            points = points[[self._may_be_proposed(point) for point in points]]
            values = acqf.eval_acqf_no_grad(points) if len(points) else np.array([-np.inf])
            if values.max() <= best_value:
                break
            best, best_value = points[values.argmax()], values.max()
            points = self._neighbours(best)
        return np.asarray(best)

    def _may_be_proposed(self, point: Floats) -> bool:
        genes = np.zeros(len(self._free), np.int64)
        genes[self._free] = point
        return self._is_unseen(tuple(genes.tolist()))

    def _neighbours(self, point: Floats) -> Floats:
        """Return the points that differ from ``point`` in one gene, ``(n, genes)``."""
        found = []
        for gene, size in enumerate(self._sizes):
            others = np.repeat(point[None], size - 1, 0)
            others[:, gene] = np.delete(np.arange(size), int(point[gene]))
            found.append(others)
        return np.concatenate(found)
