"""Caps on drop and power: where a search looks, and which of its points are its front."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.evaluation import Evaluation
from axopt.exploration import SearchOutcome, State, Trial, non_dominated
from axopt.problem.objectives import DIVERGENCE
from axopt.problem.problem import AssignmentProblem

MARGIN = 1.5
"""Factor on the first objective's limit: what it says of the drop is uncertain, and points just
beyond a cap help to find those just within it."""


class Caps:
    """Caps on the drop and the power of points.

    The drop is measured against the exact multiplier with the same treatment, on the validation
    split. The first objective gets a limit from the trials of the seeds: the value at which their
    drop, fitted as a function that never falls, reaches the cap, with a margin.

    Args:
        problem: What is searched. It has the limit of the power.
        max_drop: Largest drop, in the metric's unit; None for any.
        max_power: Largest relative power; None for any.
    """

    def __init__(
        self, problem: AssignmentProblem, max_drop: float | None, max_power: float | None
    ) -> None:
        self._problem = problem
        self._max_drop = max_drop
        self._max_power = max_power
        self._exact: Evaluation | None = None

    def limits(self, trials: Sequence[Trial]) -> tuple[float | None, ...]:
        """Return the worst value of interest of every objective.

        Args:
            trials: The trials of the seeds.
        """
        first, *others = self._problem.space.limits or [None] * len(self._problem.objective_names)
        return (self._first_limit(trials) if self._max_drop is not None else first, *others)

    def front(self, outcome: SearchOutcome) -> tuple[list[Trial], list[str]]:
        """Return the front of the trials within the caps; of none, the nearest trial.

        Args:
            outcome: The trials.

        Returns:
            The front, and sentences on what its reader must know.
        """
        complete = [trial for trial in outcome.trials if trial.state is State.COMPLETE]
        if not complete or (self._max_drop is None and self._max_power is None):
            return list(outcome.front), []
        excesses = [self._excess(trial, complete) for trial in complete]
        within = [t for t, excess in zip(complete, excesses, strict=True) if excess <= 0]
        if within:
            mask = non_dominated([trial.objectives for trial in within])
            return [trial for trial, kept in zip(within, mask, strict=True) if kept], []
        nearest = complete[excesses.index(min(excesses))]
        return [nearest], [self._note(nearest, complete)]

    def _first_limit(self, seeds: Sequence[Trial]) -> float | None:
        complete = [trial for trial in seeds if trial.state is State.COMPLETE]
        metric, cap = self._problem.metric, self._max_drop or 0.0
        name = self._problem.objective_names[0]
        if name == metric.error_name:
            return metric.error(self._exact_quality(complete).value) + cap
        pairs = [(trial.objectives[0], self._drop(trial, complete)) for trial in complete]
        if name == DIVERGENCE:
            pairs.append((0.0, 0.0))  # the exact network itself
        limit = value_at(pairs, cap)
        return None if limit is None else MARGIN * limit

    def _excess(self, trial: Trial, trials: Sequence[Trial]) -> float:
        """Return how far a trial is beyond the caps, in units of the caps."""
        excess = 0.0
        if self._max_drop is not None:
            over = self._drop(trial, trials) - self._max_drop
            excess += max(0.0, over - 1e-9) / (self._max_drop or 1.0)
        if self._max_power is not None:
            excess += max(0.0, self._power(trial) - self._max_power - 1e-9) / self._max_power
        return excess

    def _drop(self, trial: Trial, trials: Sequence[Trial]) -> float:
        exact = self._exact_quality(trials).value
        difference = exact - float(trial.info["quality"]["value"])
        return difference if self._problem.metric.higher_is_better else -difference

    def _power(self, trial: Trial) -> float:
        return trial.objectives[self._problem.power_objective]

    def _exact_quality(self, trials: Sequence[Trial]) -> Evaluation:
        """Return the quality of the exact multiplier, measured if no trial has it."""
        if self._exact is None:
            exact = [t for t in trials if self._problem.is_exact(t.genes)]
            if exact:
                self._exact = Evaluation(**exact[0].info["quality"])
            else:
                problem = self._problem
                treated = problem.exact(treated=True)
                self._exact = problem.measured(treated, problem.split)[0].quality
        return self._exact

    def _note(self, nearest: Trial, trials: Sequence[Trial]) -> str:
        unit = self._problem.metric.unit
        said, has = [], []
        if self._max_drop is not None:
            said.append(f"a drop of at most {self._max_drop:g} {unit}".rstrip())
            has.append(f"drop {self._drop(nearest, trials):.2f} {unit}".rstrip())
        if self._max_power is not None:
            said.append(f"at most {self._max_power:g} of the power")
            has.append(f"power {self._power(nearest):.3f}")
        return (
            f"No evaluated assignment has {' and '.join(said)} on the validation split; the "
            f"nearest one is shown: {', '.join(has)}."
        )


def value_at(pairs: Sequence[tuple[float, float]], cap: float) -> float | None:
    """Return where a function of noisy values, which never falls, reaches a cap.

    Args:
        pairs: Positions and values, in any order. They are fitted by least squares among the
            functions that never fall, and joined by straight lines.
        cap: The value looked for.

    Returns:
        The last position with at most that value; None if the last value is at most ``cap``. The
        first position if the first value is above.

    Example:
        >>> value_at([(0.0, 0.0), (0.25, 1.5), (0.5, 0.5), (1.0, 3.0)], cap=2.0)
        0.75
        >>> value_at([(0.0, 0.0), (0.1, 0.5)], cap=2.0) is None
        True
    """
    ordered = sorted(pairs)
    blocks: list[tuple[float, int]] = []  # mean and number of neighbours with one fitted value
    for _, value in ordered:
        mean, number = value, 1
        while blocks and blocks[-1][0] >= mean:
            before, count = blocks.pop()
            mean = (mean * number + before * count) / (number + count)
            number += count
        blocks.append((mean, number))
    fitted = [mean for mean, number in blocks for _ in range(number)]
    positions = [position for position, _ in ordered]
    if not fitted or fitted[-1] <= cap:
        return None
    above = next(i for i, value in enumerate(fitted) if value > cap)
    if above == 0:
        return positions[0]
    share = (cap - fitted[above - 1]) / (fitted[above] - fitted[above - 1])
    return positions[above - 1] + share * (positions[above] - positions[above - 1])
