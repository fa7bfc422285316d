"""Points near a front: mutations, crossovers and neighbours, and the choice of the best."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def neighbours(points: Ints, sizes: Ints) -> Ints:
    """Return all points that differ from one of ``points`` in one gene, ``(n, genes)``.

    Example:
        >>> neighbours(np.array([[0, 1]]), np.array([2, 2])).tolist()
        [[1, 1], [0, 0]]
    """
    found = []
    for gene, size in enumerate(sizes):
        for option in range(size):
            changed = points[points[:, gene] != option]
            changed = changed.copy()
            changed[:, gene] = option
            found.append(changed)
    return np.concatenate(found)


def mutated(points: Ints, sizes: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Return copies of random points with one or two genes changed, ``(count, genes)``.

    Half of the changes are steps of at most two options, half are any option.
    """
    chosen = points[rng.integers(len(points), size=count)].copy()
    rows = np.arange(count)
    for changes in (np.ones(count, np.bool_), rng.random(count) < 0.5):
        genes = rng.integers(points.shape[1], size=count)
        steps = rng.integers(1, 3, size=count) * rng.choice([-1, 1], size=count)
        near = np.clip(chosen[rows, genes] + steps, 0, sizes[genes] - 1)
        far = rng.integers(0, sizes[genes])
        value = np.where(rng.random(count) < 0.5, near, far)
        chosen[rows, genes] = np.where(changes, value, chosen[rows, genes])
    return chosen


def crossed(points: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Return uniform crossovers of points near each other in their order, ``(count, genes)``."""
    first = rng.integers(len(points), size=count)
    second = np.clip(first + rng.integers(-4, 5, size=count), 0, len(points) - 1)
    from_first = rng.random((count, points.shape[1])) < rng.uniform(0.2, 0.8, (count, 1))
    return np.asarray(np.where(from_first, points[first], points[second]), np.int64)


def distinct(points: Ints) -> Ints:
    """Return the points without repetitions, in the order of their first occurrence.

    Rows are compared by 64-bit hashes.
    """
    _, first = np.unique(hashed(points), return_index=True)
    return np.asarray(points[np.sort(first)])


def hashed(points: Ints) -> Ints:
    """Return a 64-bit hash of each point, ``(n,)``.

    Args:
        points: ``(n, genes)``.
    """
    factors = np.random.default_rng(0).integers(1, 1 << 62, points.shape[1]) | 1
    return np.asarray(points @ factors)


def thinned(points: Ints, count: int) -> Ints:
    """Return at most ``count`` points, evenly spaced in their order, the ends included."""
    if len(points) <= count:
        return points
    return np.asarray(points[np.linspace(0, len(points) - 1, count).round().astype(int)])
