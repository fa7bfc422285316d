"""What a search returns, and the record that its report is made from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from axopt import report
from axopt.data import Dataset, Split
from axopt.evaluation import Evaluation
from axopt.exploration import SearchOutcome, Trial, VolumeHistory
from axopt.problem.problem import AssignmentProblem
from axopt.study.config import SearchConfig
from axopt.study.folder import RunFolder
from axopt.study.held_out import AsSeen, HeldOut, quality_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from axopt.sensitivities import Sensitivity

_SHOWN = ("point", "quality", "quality_low", "quality_high", "rel_power", "drop", "dominated")


class Front(pd.DataFrame):
    """The front as a table whose text has the main columns, whatever the terminal's width."""

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame  # parts of the table are plain ones

    def __repr__(self) -> str:
        shown = [name for name in _SHOWN if name in self.columns]
        with pd.option_context("display.width", 100, "display.max_columns", None):
            return repr(pd.DataFrame(self)[shown])


class _Chooses:
    """Chooses points of a front on the validation split, and draws it."""

    record: report.RunRecord

    def best(
        self, *, max_drop: float | None = None, max_power: float | None = None
    ) -> report.ChosenPoint:
        """Choose the point of the largest saving, or of the smallest drop, within caps.

        The caps hold on the validation split; the point has its figures on the test split.

        Args:
            max_drop: Largest drop against the exact multiplier with the same treatment, in the
                metric's unit. The point of the largest saving within the caps is chosen.
            max_power: Largest relative power. Without ``max_drop``, the point of the smallest
                drop is chosen.

        Returns:
            The point; its text says how it was chosen.

        Raises:
            ArgumentError: If neither cap is given, no point is within them, or the run is of an
                earlier version and has no validation quality of the exact multiplier.
        """
        return report.best_point(self.record, max_drop=max_drop, max_power=max_power)

    def knee(self) -> report.ChosenPoint:
        """Choose the knee of the front: beyond it, saving costs more quality than before.

        It is farthest below the line between the ends of the front, in axes of relative power and
        drop on the validation split that are scaled to 0..1.

        Raises:
            ArgumentError: If no point is below that line, or the run has no validation qualities.
        """
        return report.knee_point(self.record)

    def plot(self) -> Figure:
        """Draw the front as in pareto.png.

        Returns:
            A figure that notebooks show; `savefig` writes it to a file.
        """
        return report.pareto_figure(self.record)


@dataclass(frozen=True)
class LoadedRun(_Chooses):
    """A run folder that was read again.

    Attributes:
        front: One row a point, as in front.csv.
        record: Everything the report shows.
        out: The run folder.

    Example:
        >>> from axopt.study import LoadedRun
        >>> list(LoadedRun.__dataclass_fields__)
        ['front', 'record', 'out']
    """

    front: pd.DataFrame
    record: report.RunRecord
    out: Path

    def __repr__(self) -> str:
        return "\n".join([*_lines(self.record, self.front), f"run folder: {self.out}"])


def load_run(path: str | os.PathLike[str]) -> LoadedRun:
    """Read what a search wrote into a run folder.

    Args:
        path: The folder.

    Returns:
        Its front and record, with `best`, `knee` and `plot` as `axopt.search` returns them.

    Raises:
        ArgumentError: If there is no finished or interrupted run.
        ReportError: If its record is damaged.

    Example:
        >>> from pathlib import Path
        >>> from axopt.report import example_record
        >>> from axopt.study import load_run
        >>> Path("run").mkdir()
        >>> size = Path("run/record.json").write_text(example_record().to_json())
        >>> load_run("run").best(max_drop=0.5).point.label
        'point-02'
    """
    folder = RunFolder(path)
    record = folder.record()
    return LoadedRun(Front(report.front_table(record)), record, folder.path)


@dataclass(frozen=True)
class SearchResult(_Chooses):
    """What a search found; its text is the front and how the search went, on one screen.

    `best`, `knee` and `plot` choose a point of the front and draw it.

    Attributes:
        front: One row a point, as in front.csv: quality on the test split with its interval.
        record: Everything the report shows.
        outcome: Counts and the reason why the search stopped.
        out: The run folder, None if none was asked for.
        sensitivities: What was measured before the first evaluation, None if nothing was.

    Example:
        >>> from axopt.study import SearchResult
        >>> list(SearchResult.__dataclass_fields__)
        ['front', 'record', 'outcome', 'out', 'sensitivities']
    """

    front: pd.DataFrame
    record: report.RunRecord
    outcome: SearchOutcome
    out: Path | None
    sensitivities: Sensitivity | None = None

    def __repr__(self) -> str:
        record, outcome = self.record, self.outcome
        lines = [
            *_lines(record, self.front),
            f"{len(outcome.trials)} trials by {record.algorithm}, {outcome.n_failed} failed; "
            f"stopped: {outcome.stop_reason}",
            *record.notes,
            *record.remarks,
        ]
        if self.out is not None:
            lines.append(f"run folder: {self.out}")
        return "\n".join(lines)


def _lines(record: report.RunRecord, front: pd.DataFrame) -> list[str]:
    """Return the front and what it is measured on as lines of a text."""
    baseline = record.reference_point
    return [
        f"{record.title}: {len(record.front)} points, {record.metric} on "
        f"{record.n_samples} {record.exact.split} samples",
        repr(front),
        f"baseline: {baseline.quality:.2f} {record.unit}".rstrip()
        + f" with {record.reference} everywhere",
    ]


def record_of(
    problem: AssignmentProblem,
    points: HeldOut | AsSeen,
    outcome: SearchOutcome,
    config: SearchConfig,
    *,
    data: Dataset,
    test: Split,
    source: Mapping[str, Any],
    seconds: float,
    float_quality: Evaluation | None,
    corner: Sequence[float] | None,
) -> report.RunRecord:
    """Return the record of a search, finished or interrupted.

    Args:
        problem: What was searched.
        points: The points of the report.
        outcome: The trials.
        config: The settings.
        data: The data set, for its names.
        test: The test samples.
        source: How model and data are named.
        seconds: Duration of the run.
        float_quality: Quality of the float model on the test split, if known.
        corner: The reference point of the hypervolume, if it is settled.
    """
    emulated = problem.emulated
    model = str(source.get("model") or type(emulated.module).__name__)
    partial = isinstance(points, AsSeen)
    ran = "exhaustive" if outcome.exhaustive else config.algorithm
    return report.RunRecord(
        title=f"{model} on {data.name}",
        model=model,
        data=data.spec,
        metric=problem.metric.name,
        unit=problem.metric.unit,
        metric_title=problem.metric.title,
        higher_is_better=problem.metric.higher_is_better,
        n_validation=len(problem.split),
        n_test=len(test),
        algorithm=ran,
        algorithm_asked=config.algorithm if ran != config.algorithm else None,
        options=dict(config.algorithm_options),
        seed=config.seed,
        budget=config.evaluations,
        n_evaluated=len(outcome.trials),
        n_cached=outcome.n_cached,
        n_failed=outcome.n_failed,
        stop_reason=outcome.stop_reason,
        seconds=seconds,
        reference=problem.reference.key,
        layers=tuple(report.Layer(info.name, info.kind, info.macs) for info in emulated.layers()),
        exact=points.exact,
        baseline=points.baseline,
        float_quality=None if float_quality is None or partial else quality_of(float_quality),
        uniform=tuple(points.uniform),
        front=tuple(points.front),
        trials=tuple(map(_trial_row, outcome.trials)),
        coverage=emulated.coverage,
        left_out=tuple(report.LeftOut(name, n) for name, n in emulated.left_out.items()),
        multipliers=_multipliers(problem),
        notes=(*notes_on(problem, outcome, config), *points.notes),
        partial=partial,
        objectives=problem.objective_names,
        corner=tuple(corner or ()),
        hypervolumes=tuple(VolumeHistory(corner, outcome.trials).values) if corner else (),
    )


def _multipliers(problem: AssignmentProblem) -> tuple[report.UsedMultiplier, ...]:
    """Return the reference and the multipliers to choose from, each once."""
    found = {m.key: m for m in (problem.reference, *(o.multiplier for o in problem.options))}
    rows = []
    for multiplier in found.values():
        low, high = multiplier.intervals.get("power_mw", (None, None))
        rows.append(
            report.UsedMultiplier(
                multiplier.key,
                multiplier.signed,
                multiplier.bits_a,
                multiplier.bits_w,
                multiplier.power_mw,
                low,
                high,
            )
        )
    return tuple(rows)


def notes_on(
    problem: AssignmentProblem, outcome: SearchOutcome, config: SearchConfig
) -> list[str]:
    """Return sentences on how the search differs from what its settings suggest."""
    notes = []
    restricted = problem.restricted
    if restricted:
        notes.append(
            f"Not all multipliers are allowed in {', '.join(restricted)}: where that of a uniform "
            "assignment is not, the layer has the nearest one in power."
        )
    if outcome.exhaustive and config.algorithm != "exhaustive":
        notes.append(
            f"The space has {problem.space.n_points} points, no more than the budget of the first "
            f"run: it is searched exhaustively. {config.algorithm} was asked for."
        )
    elif 0 < len(outcome.trials) <= outcome.learns_after:
        n_uniform = len(problem.uniform())
        which = (
            "The only trial is a uniform or random assignment"
            if len(outcome.trials) == 1
            else f"All {len(outcome.trials)} trials are uniform or random assignments"
        )
        notes.append(
            f"{which}: {config.algorithm} starts to learn after {outcome.learns_after} "
            f"({n_uniform} uniform ones included). Raise the budget above that, or lower the "
            "population."
        )
    if outcome.trials and outcome.n_failed == len(outcome.trials):
        reason = " ".join(str(outcome.trials[-1].reason).split())
        notes.append(f"Every trial failed, the last one with: {reason}")
    return notes


def _trial_row(trial: Trial) -> report.TrialRow:
    quality = trial.info.get("quality", {}).get("value")
    return report.TrialRow(trial.number, str(trial.state), quality, trial.info.get("rel_power"))
