"""The final figures: points measured on samples that the search never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from axopt import report
from axopt.data import Split
from axopt.evaluation import Evaluation
from axopt.exploration import Genes, SearchOutcome
from axopt.model import Assignment, assign_, current_assignment
from axopt.study.problem import AssignmentProblem


class HeldOut:
    """Measures points of a problem on the test split, each once.

    Args:
        problem: Turns genes into assignments.
        test: The samples to measure on.
        source: How model and data are named, kept in every assignment.
        outcome: The search that found the front.
        on_point: Called after each measurement with the number done and that of all.

    Attributes:
        assignments: File name, relative to the run folder -> assignment, of the front's points.
    """

    def __init__(
        self,
        problem: AssignmentProblem,
        test: Split,
        source: Mapping[str, Any],
        outcome: SearchOutcome,
        on_point: Callable[[int, int], None] | None = None,
    ) -> None:
        self.assignments: dict[str, Assignment] = {}
        self._problem = problem
        self._test = test
        self._source = source
        self._on_point = on_point
        self._front = sorted(
            outcome.front, key=lambda t: (-t.info["rel_power"], t.objectives, t.number)
        )
        self._uniform = {g: c for g, c in problem.uniform().items() if not c.swap}
        self._n_points = len(self._uniform.keys() | {trial.genes for trial in self._front})
        self._known: dict[Genes, report.Point] = {}

    def exact(self) -> report.Point:
        """The model with the reference circuit in every layer."""
        assign_(self._problem.emulated, self._problem.reference)
        return self._measured("exact")

    def uniform(self) -> list[report.Point]:
        """The uniform assignments, labelled with their circuit; swapped orders are left out."""
        return [self._of(genes, option.multiplier.key) for genes, option in self._uniform.items()]

    def front(self) -> list[report.Point]:
        """The front that the search saw, by falling power; fills `assignments`."""
        points = []
        for index, trial in enumerate(self._front):
            label = f"point-{index:02d}"
            point = self._of(trial.genes, label)
            seen = Evaluation(**trial.info["quality"])
            file = f"assignments/{label}.json"
            self._problem.apply(trial.genes)
            self.assignments[file] = self._assignment(point, seen)
            points.append(replace(point, assignment=file, validation=quality_of(seen)))
        return points

    def _of(self, genes: Genes, label: str) -> report.Point:
        if genes not in self._known:
            self._problem.apply(genes)
            self._known[genes] = self._measured(label)
            if self._on_point is not None:
                self._on_point(len(self._known), self._n_points)
        return replace(self._known[genes], label=label)

    def _measured(self, label: str) -> report.Point:
        figures = self._problem.cost()
        quality = self._problem.measure(self._test)
        layers = self._problem.emulated.layers()
        return report.Point(
            label=label,
            split="test",
            quality=quality.value,
            quality_low=quality.low,
            quality_high=quality.high,
            rel_power=figures.rel_power,
            rel_area=figures.rel_area,
            delay_ns=figures.delay_ns,
            layers=tuple(report.LayerOption(info.multiplier, info.swap) for info in layers),
        )

    def _assignment(self, point: report.Point, seen: Evaluation) -> Assignment:
        test = {
            "value": point.quality,
            "low": point.quality_low,
            "high": point.quality_high,
            "n": len(self._test),
        }
        figures = asdict(self._problem.cost())
        return current_assignment(
            self._problem.emulated,
            source=self._source,
            metrics={
                "metric": seen.metric,
                "unit": self._problem.metric.unit,
                "test": test,
                "validation": asdict(seen),
            },
            cost=figures,
        )


def quality_of(evaluation: Evaluation) -> report.Quality:
    """An evaluation as the report's plain value."""
    return report.Quality(evaluation.value, evaluation.low, evaluation.high)
