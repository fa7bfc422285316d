"""The points of a report: measured on samples that the search never saw, or as trials say."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from torch import Tensor

from axopt import report
from axopt.data import Split
from axopt.evaluation import Evaluation, paired_drop
from axopt.exploration import Genes, SearchOutcome, State, Trial
from axopt.model import Assignment, cost
from axopt.problem.candidate import Candidate
from axopt.problem.objectives import POWER_UNDER_DATA, Measured
from axopt.problem.problem import AssignmentProblem


class HeldOut:
    """Measures points of a problem on the test split, each once.

    Args:
        problem: Turns genes into candidates and measures them.
        test: The samples to measure on.
        source: How model and data are named, kept in every assignment.
        outcome: The search.
        on_point: Called after each measurement with the number done and that of all.
        front: The points of the front to measure; all by default.

    Attributes:
        exact: The exact multiplier in every layer, untreated.
        baseline: The exact multiplier with the treatment of the front; ``drop`` is against it.
        uniform: The uniform assignments, labelled with their multiplier; swapped orders are left
            out. Layers that may not have the multiplier have the nearest one in power.
        front: The front that the search saw, by falling power.
        assignments: File name, relative to the run folder -> assignment, of the front's points.
        notes: Nothing: all is measured.
        remarks: Nothing; a search adds how it went.
    """

    def __init__(
        self,
        problem: AssignmentProblem,
        test: Split,
        source: Mapping[str, Any],
        outcome: SearchOutcome,
        on_point: Callable[[int, int], None] | None = None,
        front: Sequence[Trial] | None = None,
    ) -> None:
        self.assignments: dict[str, Assignment] = {}
        self.notes: list[str] = []
        self.remarks: list[str] = []
        self._problem = problem
        self._test = test
        self._source = source
        self._on_point = on_point
        self._known: dict[Genes, tuple[report.Point, Measured, Tensor]] = {}
        uniform = {g: o for g, o in problem.uniform().items() if not o.swap}
        front = sorted_front(outcome.front if front is None else front)
        exact = [genes for genes in uniform if problem.is_exact(genes)]
        n_genes = len(uniform.keys() | {trial.genes for trial in front})
        seen = seen_baseline(problem, outcome)
        self._n_points = n_genes + problem.treats + (not exact) + (seen is None)
        self._n_done = 0
        self._baseline: Tensor | None = None
        self.exact, self.baseline = self._measure_baselines(exact, seen)
        self.uniform = [self._of(genes, o.multiplier.key)[0] for genes, o in uniform.items()]
        self.front = self._front(front)

    def _measure_baselines(
        self, exact: Sequence[Genes], seen: Evaluation | None
    ) -> tuple[report.Point, report.Point]:
        """Measure the exact multiplier untreated and treated.

        Args:
            exact: Its genes.
            seen: Its quality on the validation split with the treatment, None if unknown.
        """
        problem = self._problem
        treated = problem.candidate(exact[0]) if exact else problem.exact(treated=True)
        measured, samples = problem.measured(treated, self._test)
        self._told()
        self._baseline = samples
        point = self._with_drop(point_of(measured, "baseline", "test"), samples)
        if seen is None:
            seen = problem.measured(treated, problem.split)[0].quality
            self._told()
        point = replace(point, validation=quality_of(seen))
        for genes in exact:
            self._known[genes] = (point, measured, samples)
        if not problem.treats:
            point = replace(point, label="exact")  # one point is both
            return point, point
        plain, samples = problem.measured(problem.exact(treated=False), self._test)
        self._told()
        return self._with_drop(point_of(plain, "exact", "test"), samples), point

    def _front(self, trials: Sequence[Trial]) -> list[report.Point]:
        points, objectives, kept = [], [], {}
        for index, trial in enumerate(trials):
            label = f"point-{index:02d}"
            point, measured, kept[label] = self._of(trial.genes, label)
            seen = Evaluation(**trial.info["quality"])
            file = f"assignments/{label}.json"
            self.assignments[file] = measured.candidate.assignment(
                self._problem.emulated,
                source=self._source,
                metrics=metrics_of(self._problem, seen, point, len(self._test)),
                cost=asdict(measured.cost),
            )
            points.append(
                replace(
                    point,
                    assignment=file,
                    validation=quality_of(seen),
                    validation_divergence=trial.info.get("divergence"),
                )
            )
            error = self._problem.metric.error(point.quality)
            objectives.append((error, *self._problem.objectives(measured)[1:]))
        marked = [
            replace(point, dominated=any(_dominates(other, values) for other in objectives))
            for point, values in zip(points, objectives, strict=True)
        ]
        alike = self._alike([point.label for point in marked if not point.dominated], kept)
        return [replace(point, alike=alike.get(point.label, "")) for point in marked]

    def _alike(self, labels: Sequence[str], kept: Mapping[str, Tensor]) -> dict[str, str]:
        """Return the points that the samples cannot tell apart from the next, with its label.

        Args:
            labels: Points of the front that are not dominated, by falling power.
            kept: What the metric kept of each sample of a point.
        """
        if self._problem.metric.interval is None:
            return {}
        found = {}
        for label, following in pairwise(labels):
            drop = paired_drop(self._problem.metric, kept[following], kept[label])
            if drop.low <= 0 <= drop.high:
                found[label] = following
        return found

    def _of(self, genes: Genes, label: str) -> tuple[report.Point, Measured, Tensor]:
        if genes not in self._known:
            candidate = self._problem.candidate(genes)
            measured, samples = self._problem.measured(candidate, self._test)
            point = self._with_drop(point_of(measured, label, "test"), samples)
            self._known[genes] = (point, measured, samples)
            self._told()
        point, measured, samples = self._known[genes]
        return replace(point, label=label), measured, samples

    def _told(self) -> None:
        self._n_done += 1
        if self._on_point is not None:
            self._on_point(self._n_done, self._n_points)

    def _with_drop(self, point: report.Point, samples: Tensor) -> report.Point:
        """Return the point with its drop against the baseline on the same samples."""
        if self._baseline is None:
            return point
        drop = paired_drop(self._problem.metric, samples, self._baseline)
        return replace(point, drop=drop.value, drop_low=drop.low, drop_high=drop.high)


class AsSeen:
    """Points as the trials of an interrupted search say, without measuring on the test split.

    The exact multiplier alone is measured, on the validation split, unless a trial says it or it
    takes too long. Corrections are settled again, and assignments made, while time is left.

    Args:
        problem: Turns genes into candidates.
        source: How model and data are named, kept in every assignment.
        outcome: What is known of the search; at least one trial is complete.
        front: The trials of its front.
        seconds: How long this may take, about.

    Attributes:
        exact: The exact multiplier, untreated; the baseline if measuring it takes too long.
        baseline: The exact multiplier with the treatment of the front; None if no trial has it.
        uniform: The uniform assignments that were evaluated.
        front: The front so far, by falling power.
        assignments: File name -> assignment, of the points that time was left for.
        notes: Sentences on what is not as in a finished run.
        remarks: Nothing.
    """

    def __init__(
        self,
        problem: AssignmentProblem,
        source: Mapping[str, Any],
        outcome: SearchOutcome,
        front: Sequence[Trial],
        seconds: float,
    ) -> None:
        self.assignments: dict[str, Assignment] = {}
        self.remarks: list[str] = []
        self.notes = ["Qualities are those of the validation split, which the search has seen."]
        self._problem = problem
        self._source = source
        self._deadline = time.monotonic() + seconds
        complete = [t for t in outcome.trials if t.state is State.COMPLETE]
        by_genes = {trial.genes: trial for trial in complete}
        options = {g: o for g, o in problem.uniform().items() if g in by_genes and not o.swap}
        self.uniform = [
            self._point(by_genes[genes], option.multiplier.key)
            for genes, option in options.items()
        ]
        exact = [self._point(by_genes[g], "baseline") for g in options if problem.is_exact(g)]
        self.baseline = exact[0] if exact else None
        self.exact = self._exact(complete)
        self.front = self._front(sorted_front(front))

    def _exact(self, complete: Sequence[Trial]) -> report.Point:
        if self.baseline is not None:
            slow = max(trial.seconds for trial in complete) > self._deadline - time.monotonic()
            if not self._problem.treats or slow:
                if self._problem.treats:
                    self.notes.append("The exact multiplier without corrections is not measured.")
                    return self.baseline
                self.baseline = replace(self.baseline, label="exact")  # one point is both
                return self.baseline
        measured, _ = self._problem.measured(
            self._problem.exact(treated=False), self._problem.split
        )
        return point_of(measured, "exact", "validation")

    def _front(self, trials: Sequence[Trial]) -> list[report.Point]:
        points = []
        for index, trial in enumerate(trials):
            label = f"point-{index:02d}"
            point = self._point(trial, label)
            if self._problem.reestimate is None and time.monotonic() < self._deadline:
                file = f"assignments/{label}.json"
                seen = Evaluation(**trial.info["quality"])
                candidate = self._problem.candidate(trial.genes)
                candidate.apply_(self._problem.emulated)
                figures = cost(self._problem.emulated, reference=self._problem.reference)
                self.assignments[file] = candidate.assignment(
                    self._problem.emulated,
                    source=self._source,
                    metrics=metrics_of(self._problem, seen),
                    cost=asdict(figures),
                )
                point = replace(point, assignment=file, layers=layers_of(candidate))
            points.append(point)
        return points

    def _point(self, trial: Trial, label: str) -> report.Point:
        candidate = self._problem.candidate(trial.genes, treated=False)
        candidate.apply_(self._problem.emulated)
        figures = cost(self._problem.emulated, reference=self._problem.reference)
        seen = Evaluation(**trial.info["quality"])
        measured = Measured(candidate, self._problem.emulated, figures, seen, self._problem.metric)
        point = point_of(measured, label, "validation")
        values = dict(zip(self._problem.objective_names, trial.objectives, strict=True))
        return replace(
            point,
            validation=quality_of(seen),
            divergence=trial.info.get("divergence"),
            validation_divergence=trial.info.get("divergence"),
            rel_power_activity=values.get(POWER_UNDER_DATA),
        )


def seen_baseline(problem: AssignmentProblem, outcome: SearchOutcome) -> Evaluation | None:
    """Return the quality of the exact multiplier on the validation split, if a trial has it."""
    for trial in outcome.trials:
        if trial.state is State.COMPLETE and problem.is_exact(trial.genes):
            return Evaluation(**trial.info["quality"])
    return None


def sorted_front(front: Sequence[Trial]) -> list[Trial]:
    """Return the front's trials by falling power."""
    return sorted(front, key=lambda t: (-t.info["rel_power"], t.objectives, t.number))


def point_of(measured: Measured, label: str, split: str) -> report.Point:
    """Return a measured candidate as a point of the report."""
    under_data = measured.cost_under_data
    return report.Point(
        label=label,
        split=split,
        quality=measured.quality.value,
        quality_low=measured.quality.low,
        quality_high=measured.quality.high,
        rel_power=measured.cost.rel_power,
        rel_area=measured.cost.rel_area,
        delay_ns=measured.cost.delay_ns,
        rel_power_activity=None if under_data is None else under_data.rel_power,
        divergence=measured.divergence,
        layers=layers_of(measured.candidate),
        intervals={n: i for n, i in measured.cost.intervals.items() if n in report.ESTIMATES},
    )


def layers_of(candidate: Candidate) -> tuple[report.LayerOption, ...]:
    """Return what each layer gets as values of the report."""
    return tuple(report.LayerOption(s.multiplier.key, s.swap) for s in candidate.layers.values())


def metrics_of(
    problem: AssignmentProblem,
    seen: Evaluation,
    point: report.Point | None = None,
    n_test: int = 0,
) -> dict[str, Any]:
    """Return the section ``metrics`` of an assignment."""
    metrics = {
        "metric": seen.metric,
        "unit": problem.metric.unit,
        "validation": asdict(seen),
    }
    if point is not None:
        metrics["test"] = {
            "value": point.quality,
            "low": point.quality_low,
            "high": point.quality_high,
            "n": n_test,
        }
    return metrics


def quality_of(evaluation: Evaluation) -> report.Quality:
    """Return an evaluation as the report's plain value."""
    return report.Quality(evaluation.value, evaluation.low, evaluation.high)


def _dominates(other: Sequence[float], values: Sequence[float]) -> bool:
    """Return whether ``other`` is nowhere worse and somewhere better."""
    return other != values and all(a <= b for a, b in zip(other, values, strict=True))
