"""Measures the front again on validation samples that the search has not seen."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from axopt.data import Split
from axopt.errors import ArgumentError
from axopt.exploration import Trial, non_dominated
from axopt.problem.problem import AssignmentProblem

_logger = logging.getLogger(__name__)


def further_samples(validation: Split, used: int | None, count: int | None) -> Split | None:
    """Return validation samples beyond those of the search, None if none are asked for.

    Args:
        validation: The whole split.
        used: Number of samples that the search uses; None for all.
        count: Number of further samples, None for none.

    Raises:
        ArgumentError: If there are not so many.
    """
    if count is None:
        return None
    first = len(validation) if used is None else used
    if first + count > len(validation):
        raise ArgumentError(
            "`confirm_samples` and `validation_samples` must be at most the "
            f"{len(validation)} validation samples together, got {count} and {first}."
        )
    return validation.take(first + count).select(slice(first, None))


def confirmed(
    problem: AssignmentProblem, front: Sequence[Trial], split: Split
) -> tuple[list[Trial], str]:
    """Return the points of a front that no other dominates on further samples.

    Args:
        problem: What was searched.
        front: The front on the samples of the search.
        split: The further samples.

    Returns:
        The points that stay, in their order, and a sentence that says how many fell out.
    """
    _logger.info("measuring %d points again on %d more validation samples", len(front), len(split))
    objectives = []
    for trial in front:
        measured, _ = problem.measured(problem.candidate(trial.genes), split)
        objectives.append(problem.objectives(measured))
    stays = non_dominated(objectives).tolist() if objectives else []
    kept = [trial for trial, stay in zip(front, stays, strict=True) if stay]
    fell = len(front) - len(kept)
    return kept, (
        f"The front was measured again on {len(split):,} validation samples that the search had "
        f"not seen: {fell} of its {len(front)} points were dominated there and "
        f"{'is' if fell == 1 else 'are'} left out."
    )
