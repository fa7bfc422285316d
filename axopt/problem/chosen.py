"""Which objectives a search minimises, and what they are for single samples."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from torch import Tensor

from axopt.errors import ArgumentError
from axopt.evaluation import METRICS, Metric
from axopt.problem.objectives import DIVERGENCE, ERROR, OBJECTIVES, Objective, of_metric
from axopt.problem.parts import ValuesOf


def checked_costs(costs: Sequence[str], first: str) -> tuple[str, ...]:
    """Return the names of the objectives beside the first one.

    Args:
        costs: Names of all that are minimised beside it; the first one may be among them.
        first: Name of the first one.

    Raises:
        ArgumentError: If it is one name, or a name is unknown or listed twice.
    """
    if isinstance(costs, str):
        raise ArgumentError(f"`objectives` must be a list of names, got {costs!r}.")
    for name in costs:
        OBJECTIVES[name]  # raises, with near misses
    if len(set(costs)) != len(costs):
        raise ArgumentError(f"`objectives` must be distinct, got {list(costs)}.")
    return tuple(name for name in costs if name != first)


def first_objective(name: str, metric: Metric) -> tuple[Objective, tuple[Metric, ...]]:
    """Return the objective that comes first, and the metrics that it needs beside the task's.

    Args:
        name: Name of an objective or of a metric.
        metric: The metric of the task.

    Raises:
        ArgumentError: If there is neither an objective nor a metric of that name.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name], ()
    if name == metric.name:
        return OBJECTIVES[ERROR], ()
    if name in METRICS:
        return of_metric(METRICS[name]), (METRICS[name],)
    try:
        return OBJECTIVES[name], ()  # raises, with near misses
    except ArgumentError as error:
        raise ArgumentError(
            f"`objective` must be an objective or a metric, got {name!r}: {error}"
        ) from None


def values_of(objective: Objective, metric: Metric, others: Sequence[Metric]) -> ValuesOf | None:
    """Return how an objective follows for single samples from what observers kept.

    Args:
        objective: The first objective of a search.
        metric: The metric of the task, which the first observer keeps.
        others: The metrics that the next observers keep. The last observer keeps divergences.

    Returns:
        The function; None if the objective is no mean over samples.
    """
    if objective.name == DIVERGENCE:
        return operator.itemgetter(-1)
    if others:
        return _errors_of(others[0], 1)
    return _errors_of(metric, 0) if objective.name == ERROR else None


def _errors_of(metric: Metric, observer: int) -> ValuesOf | None:
    """Return the error of a metric of each sample, None if the error is no mean of these.

    Args:
        metric: The metric.
        observer: Number of its observer.
    """
    best = 100.0 if metric.higher_is_better else 0.0
    shares = metric.of_all is None and metric.interval == "wilson" and metric.unit == "%"
    if not shares or metric.best != best:
        return None

    def errors(kept: Sequence[Tensor]) -> Tensor:
        share = kept[observer].double()
        return 1e2 * (1 - share if metric.higher_is_better else share)

    return errors
