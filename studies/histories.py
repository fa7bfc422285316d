"""How fast search algorithms approach a front: hypervolume after every evaluation."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from axopt.exploration import (
    Genes,
    Problem,
    Store,
    create_algorithm,
    hypervolume,
    non_dominated,
    run_search,
)

Floats = npt.NDArray[np.float64]

SEEDED = ", seeded"
"""What labels of searches end in that begin with points that sensitivities predict."""


@dataclass(frozen=True)
class Run:
    """One search of one algorithm.

    Attributes:
        genes: The points in the order of their evaluation.
        objectives: ``(n, 2)`` float64, their objectives.
        seconds: CPU time of the whole search.
        stop_reason: See `axopt.exploration.SearchOutcome`.
    """

    genes: tuple[Genes, ...]
    objectives: Floats
    seconds: float
    stop_reason: str


def searched(
    problem: Problem,
    algorithm: str,
    *,
    seed: int,
    budget: int,
    seeds: Sequence[Genes],
    **options: bool | float | str,
) -> Run:
    """Search a problem and keep every evaluation.

    Args:
        problem: A problem with two objectives.
        algorithm: A name of `axopt.exploration.list_algorithms`.
        seed: Seed of the algorithm.
        budget: Distinct points to evaluate.
        seeds: Points that are evaluated first.
        **options: Options of the algorithm.
    """
    start = time.process_time()
    search = create_algorithm(algorithm, problem.space, n_objectives=2, seed=seed, **options)
    store = Store.in_memory()
    outcome = run_search(problem, search, store, budget=budget, seeds=seeds)
    return Run(
        tuple(trial.genes for trial in outcome.trials),
        np.array([trial.objectives for trial in outcome.trials]),
        time.process_time() - start,
        outcome.stop_reason,
    )


def hypervolumes(objectives: Floats, corner: Sequence[float]) -> Floats:
    """Return the hypervolume of the first 1, 2, ... n points.

    Args:
        objectives: ``(n, 2)`` float64.
        corner: The reference point.

    Returns:
        ``(n,)`` float64, never falling.
    """
    volumes = np.zeros(len(objectives))
    front, volume = np.empty((0, 2)), 0.0
    for number, point in enumerate(objectives):
        if (point < corner).all() and not (front <= point).all(axis=1).any():
            front = np.vstack([front, point])
            front = front[non_dominated(front)]
            volume = hypervolume(front, corner)
        volumes[number] = volume
    return volumes


def reached_at(volumes: Floats, share: float, target: float, before: float = 0.0) -> float:
    """Return after how many evaluations a share of a hypervolume is reached.

    Args:
        volumes: Hypervolume after every evaluation.
        share: 0..1.
        target: Hypervolume of the true front.
        before: Evaluations spent before the first one, such as those of sensitivities.

    Returns:
        The number of evaluations; infinity if the share is not reached.
    """
    reached = np.flatnonzero(volumes >= share * target)
    return float(reached[0] + 1 + before) if reached.size else float("inf")


def line_style(label: str, labels: Iterable[str]) -> dict[str, str]:
    """Return the arguments of a plot for an algorithm: seeded ones are dashed, in its colour.

    Args:
        label: Name of the algorithm, with ", seeded" where it is.
        labels: All labels of the plot.
    """
    names = sorted({other.removesuffix(SEEDED) for other in labels})
    number = names.index(label.removesuffix(SEEDED))
    return {"color": f"C{number % 10}", "linestyle": "--" if label.endswith(SEEDED) else "-"}
