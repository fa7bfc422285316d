"""What a running search tells: its hypervolume, its speed, and what it saves so far."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from axopt.exploration import State, Store, Trial, VolumeHistory
from axopt.problem.objectives import DIVERGENCE
from axopt.problem.problem import AssignmentProblem

WORST_DIVERGENCE = 0.2
"""Divergence from which on a point is of no interest: about 5 to 6 pp of top-1 on CIFAR-10."""

WORST_ERROR_PP = 10.0
"""Percentage points of error above the best seed's that are of no interest."""

MARGIN = 1.1
"""Factor on the largest cost of a seed, for costs that are not relative."""

USUAL_DROP = 1.0
"""Largest drop of a metric in % at which savings are stated, unless another is asked for."""

RECENT = 50
"""Number of the last evaluations whose duration tells the time left."""


@dataclass(frozen=True)
class Progress:
    """How far a search is, after one of its evaluations.

    Attributes:
        trial: The evaluation.
        number: Number of evaluations so far, those of earlier runs included.
        budget: Number of evaluations that were asked for.
        hypervolume: Hypervolume of the front so far; None before all seeds were evaluated.
        seconds: Duration of this run so far.
        per_second: Recent evaluations a second; None after the first one.
        max_drop: Largest drop that ``best_saving`` allows, in the metric's unit; None if it has
            no usual one.
        best_saving: Largest share of the power saved, 0..1, by an evaluation whose quality on the
            validation split is at most ``max_drop`` worse than the exact network's; None if there
            is none.

    Example:
        >>> from axopt.exploration import State, Trial
        >>> trial = Trial(119, (0, 1), State.COMPLETE, (0.01, 0.4), {}, None, 0.3)
        >>> print(Progress(trial, 120, 200, 0.1523, 41.0, 3.2, 1.0, 0.713))
        120 of 200, 3.2 evaluations/s, 25 s left, hypervolume 0.1523, 71.3 % saved at a drop <= 1
    """

    trial: Trial
    number: int
    budget: int
    hypervolume: float | None
    seconds: float
    per_second: float | None = None
    max_drop: float | None = None
    best_saving: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """Time until the budget is spent, if evaluations take as long as recent ones."""
        return None if not self.per_second else (self.budget - self.number) / self.per_second

    def __str__(self) -> str:
        parts = [f"{self.number} of {self.budget}"]
        if self.per_second and self.seconds_left is not None:
            parts.append(f"{self.per_second:.3g} evaluations/s")
            if self.number < self.budget:
                parts.append(f"{_duration(self.seconds_left)} left")
        if self.hypervolume is not None:
            parts.append(f"hypervolume {self.hypervolume:.4g}")
        if self.best_saving is not None and self.max_drop is not None:
            parts.append(f"{100 * self.best_saving:.1f} % saved at a drop <= {self.max_drop:g}")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


class Watch:
    """Follows a search, trial by trial.

    The reference point of the hypervolume is settled once, when all seeds were evaluated, and kept
    in the store.

    Args:
        problem: What is searched.
        store: The store of the search; its trials are those of earlier runs.
        budget: Number of evaluations that were asked for.
        n_seeds: Number of distinct seeds, see `corner_of`.
        max_drop: Largest drop at which savings are stated; by default 1 for metrics in %.
        listeners: Called with the state of the search after each new evaluation.
        limits: Trials of the seeds -> worst value of interest of every objective; those of the
            problem's space by default.
    """

    def __init__(
        self,
        problem: AssignmentProblem,
        store: Store,
        budget: int,
        n_seeds: int,
        max_drop: float | None = None,
        listeners: Sequence[Callable[[Progress], object]] = (),
        limits: Callable[[Sequence[Trial]], Sequence[float | None]] | None = None,
    ) -> None:
        self._limits = limits
        usual = USUAL_DROP if problem.metric.unit == "%" else None
        self._problem = problem
        self._store = store
        self._budget = budget
        self._n_seeds = n_seeds
        self._listeners = tuple(listeners)
        self._max_drop = usual if max_drop is None else max_drop
        self._trials: list[Trial] = []
        self._history: VolumeHistory | None = None
        self._exact: float | None = None
        self._exact_genes = next(filter(problem.is_exact, problem.uniform()), None)
        self._waiting: list[tuple[float, float]] = []  # quality and saving, until exact is known
        self._best: float | None = None
        self._started = time.monotonic()
        self._times: deque[float] = deque(maxlen=RECENT + 1)
        for trial in store.trials():
            self._add(trial)

    @property
    def corner(self) -> tuple[float, ...] | None:
        """The reference point of the hypervolume; None until it is settled."""
        return None if self._history is None else self._history.corner

    def __call__(self, trial: Trial) -> None:
        """Tell the listeners how far the search is after its next trial."""
        self._times.append(time.monotonic())
        self._add(trial)
        span = self._times[-1] - self._times[0]
        progress = Progress(
            trial=trial,
            number=trial.number + 1,
            budget=self._budget,
            hypervolume=None if self._history is None else self._history.values[-1],
            seconds=self._times[-1] - self._started,
            per_second=(len(self._times) - 1) / span if span > 0 else None,
            max_drop=self._max_drop,
            best_saving=self._best,
        )
        for listener in self._listeners:
            listener(progress)

    def _add(self, trial: Trial) -> None:
        self._trials.append(trial)
        self._note_saving(trial)
        if self._history is not None:
            self._history.add(trial)
            return
        found = corner_of(self._problem, self._trials, self._n_seeds, self._limits)
        if found is not None:
            corner = self._store.settle("reference point of the hypervolume", list(found))
            self._history = VolumeHistory(corner, self._trials)

    def _note_saving(self, trial: Trial) -> None:
        quality = trial.info.get("quality", {}).get("value")
        if trial.state is not State.COMPLETE or quality is None or self._max_drop is None:
            return
        if self._exact is None and trial.genes == self._exact_genes:
            self._exact = quality
        self._waiting.append((quality, 1 - trial.info["rel_power"]))
        if self._exact is None:
            return
        sign = 1 if self._problem.metric.higher_is_better else -1
        for value, saving in self._waiting:
            allowed = sign * (self._exact - value) <= self._max_drop + 1e-9
            if allowed and (self._best is None or saving > self._best):
                self._best = saving
        self._waiting.clear()


def corner_of(
    problem: AssignmentProblem,
    trials: Sequence[Trial],
    n_seeds: int,
    limits: Callable[[Sequence[Trial]], Sequence[float | None]] | None = None,
) -> tuple[float, ...] | None:
    """Return the reference point of the hypervolume: the worst value of interest an objective.

    The limits of the space come first. Otherwise it is the largest value among the seeds (the
    uniform assignments and others that a search begins with), but at most 0.2 for a divergence and
    at most 10 pp above the smallest for an error in %. A cost relative to the exact multiplier has
    1, a number of distinct multipliers one more than is possible, and any other cost 1.1 times its
    largest value among the seeds.

    Args:
        problem: What is searched.
        trials: The first trials of the search.
        n_seeds: Number of distinct seeds, which the search evaluates first.
        limits: Trials of the seeds -> limit of every objective, in place of those of the space.

    Returns:
        One value an objective; None while seeds are missing, or if all failed.
    """
    seeds = trials[:n_seeds]
    rows = [trial.objectives for trial in seeds if trial.state is State.COMPLETE]
    if len(seeds) < n_seeds or not rows:
        return None
    given = problem.space.limits if limits is None else limits(seeds)
    settled = given or (None,) * len(problem.objective_names)
    columns = zip(*rows, strict=True)
    return tuple(
        _worst(problem, position, values) if limit is None else limit
        for position, (limit, values) in enumerate(zip(settled, columns, strict=True))
    )


def _worst(problem: AssignmentProblem, position: int, seeds: Sequence[float]) -> float:
    """Return the worst value of interest of an objective without a limit."""
    name, worst = problem.objective_names[position], max(seeds)
    if position == 0:
        if name == DIVERGENCE:
            return min(worst, WORST_DIVERGENCE)
        return min(worst, min(seeds) + WORST_ERROR_PP) if problem.first_unit == "%" else worst
    if name.startswith("rel_"):
        return 1.0
    known = problem.space.known_of(position)
    if known is not None and known.combine == "distinct":
        options = len({kind for of_gene in known.values for kind in of_gene})
        return min(len(known.values), options, problem.max_multipliers or options) + 1.0
    return MARGIN * worst
