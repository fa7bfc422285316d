"""One search from its store to its record: what starts it, what it does, what it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from axopt import report
from axopt.data import Dataset, Split
from axopt.evaluation import Evaluation
from axopt.exploration import (
    Algorithm,
    SearchOutcome,
    SearchSpace,
    State,
    Store,
    Trial,
    create_algorithm,
    run_search,
)
from axopt.exploration.algorithm import settled_options
from axopt.problem.problem import DIFFERENCES, AssignmentProblem
from axopt.study.caps import Caps
from axopt.study.config import SearchConfig
from axopt.study.confirming import confirmed, further_samples
from axopt.study.folder import RunFolder, how_to_resume
from axopt.study.held_out import AsSeen, HeldOut, sorted_front
from axopt.study.mirror import Mirror
from axopt.study.result import Front, SearchResult, record_of
from axopt.study.seeding import Start, needs_sensitivities, start_identity
from axopt.study.thinning import thinned
from axopt.study.watching import Progress, Watch

PARTIAL_SECONDS = 2.0
"""How long an interrupted search may take to settle and measure what its report shows."""


@dataclass(frozen=True)
class Session:
    """What a search is made of once its arguments are checked."""

    problem: AssignmentProblem
    config: SearchConfig
    data: Dataset
    test: Split
    source: Mapping[str, Any]
    started: float
    float_quality: Evaluation | None

    def identity(self) -> dict[str, Any]:
        """Return everything that the trials and their order depend on."""
        config = self.config
        options = settled_options(config.algorithm, config.algorithm_options)
        return {
            **self.problem.identity(),
            **{
                name: cap  # stores of searches without caps have none
                for name, cap in (("max drop", config.max_drop), ("max power", config.max_power))
                if cap is not None
            },
            "algorithm": config.algorithm,
            **({"algorithm options": options} if options else {}),  # earlier stores have none
            "seed": config.seed,
            "population": config.population,
            **start_identity(config),
        }

    @cached_property
    def caps(self) -> Caps:
        """The caps that focus the search."""
        return Caps(self.problem, self.config.max_drop, self.config.max_power)

    def open_store(
        self,
        folder: RunFolder | None,
        resume: bool,
        force: bool,
        settings: Mapping[str, Any],
    ) -> Store:
        """Open the store of the search; keep its settings and those of the caller."""
        if folder is None:
            return Store.in_memory(self.identity())
        return folder.open_store(
            self.identity(),
            resume=resume,
            force=force,
            settings={**self.config.settings(), **settings},
            meaning=DIFFERENCES,
        )

    def start(
        self,
        store: Store,
        folder: RunFolder | None,
        on_sensitivity: Callable[[int, int], object] | None,
    ) -> Start:
        """Settle what the search begins with, and write it into the run folder."""
        try:
            start = Start.settled(self.problem, self.config, store, on_sensitivity)
        except KeyboardInterrupt as interrupt:
            if folder is not None:
                interrupt.add_note(how_to_resume(folder))
            raise
        if folder is not None:
            folder.keep(start.sensitivities)
        return start

    def mirror(self, url: str | None, folder: RunFolder | None) -> Mirror:
        """Return what copies the trials into a storage of Optuna, if there is a URL."""
        label = "search" if folder is None else folder.path.resolve().name
        return Mirror(url, self.problem, self.identity(), label)

    def watch(
        self, store: Store, start: Start, *listeners: Callable[[Progress], object] | None
    ) -> Watch:
        """Return what follows the search and tells it to listeners."""
        given = [listener for listener in listeners if listener is not None]
        return Watch(
            self.problem,
            store,
            start.budget,
            start.n_first,
            self.config.max_drop,
            listeners=given,
            limits=self.caps.limits,
        )

    def explore(
        self,
        store: Store,
        start: Start,
        watch: Watch,
        on_trial: Callable[[Trial], None] | None,
    ) -> tuple[SearchOutcome, list[str]]:
        """Search until the budget is spent, in which sensitivities have a share.

        Returns:
            The outcome, and sentences on how well the algorithm predicted it.
        """

        def tell(trial: Trial) -> None:
            if on_trial is not None:
                on_trial(trial)
            watch(trial)

        algorithm = self._algorithm(start.space)
        outcome = run_search(
            self.problem,
            algorithm,
            store,
            budget=start.budget,
            seeds=start.seeds,
            on_trial=tell,
            repair=None if self.config.max_multipliers is None else self.problem.repaired,
            limits=self.caps.limits,
        )
        return outcome, predictions_note(algorithm.diagnostics())

    def record(
        self, points: HeldOut | AsSeen, outcome: SearchOutcome, start: Start, watch: Watch
    ) -> report.RunRecord:
        """Return the record of these points."""
        record = record_of(
            self.problem,
            points,
            outcome,
            self.config,
            data=self.data,
            test=self.test,
            source=self.source,
            seconds=time.monotonic() - self.started,
            float_quality=self.float_quality,
            corner=watch.corner,
        )
        return replace(
            record,
            notes=(*start.notes, *record.notes),
            remarks=(*start.remarks, *points.remarks),
        )

    def done(
        self,
        store: Store,
        folder: RunFolder | None,
        start: Start,
        watch: Watch,
        on_trial: Callable[[Trial], None] | None,
        on_point: Callable[[int, int], None] | None,
    ) -> SearchResult:
        """Search, measure the front and write the run folder."""
        try:
            outcome, predicted = self.explore(store, start, watch, on_trial)
            front, notes = self._confirmed(outcome)
            front, left_out = thinned(front, self.config.max_points)
            points = HeldOut(self.problem, self.test, self.source, outcome, on_point, front)
            points.notes += notes
            points.remarks += [*predicted, *left_out]
        except KeyboardInterrupt as interrupt:
            if folder is not None:
                self.leave(store, folder, start, watch, interrupt)
            raise
        record = self.record(points, outcome, start, watch)
        if folder is not None:
            folder.write(record, points.assignments)
        out = None if folder is None else folder.path
        return SearchResult(
            Front(report.front_table(record)), record, outcome, out, start.sensitivities
        )

    def _confirmed(self, outcome: SearchOutcome) -> tuple[list[Trial], list[str]]:
        """Return the front, as further samples confirm it if they are asked for, and notes."""
        found, notes = self.caps.front(outcome)
        front = sorted_front(found)
        further = confirming_samples(self.data, self.config)
        if further is None:
            return front, notes
        front, note = confirmed(self.problem, front, further)
        return front, [*notes, note]

    def leave(
        self,
        store: Store,
        folder: RunFolder,
        start: Start,
        watch: Watch,
        interrupt: KeyboardInterrupt,
    ) -> None:
        """Write table, plot and page of what an interrupted search knows."""
        trials = tuple(store.trials())
        if any(trial.state is State.COMPLETE for trial in trials):
            failed = sum(trial.state is State.FAILED for trial in trials)
            outcome = SearchOutcome(trials, len(trials), 0, failed, "interrupted")
            front, notes = self.caps.front(outcome)
            points = AsSeen(self.problem, self.source, outcome, front, PARTIAL_SECONDS)
            points.notes += notes
            record = self.record(points, outcome, start, watch)
            folder.write(record, points.assignments)
            interrupt.add_note(
                f"{len(trials)} of {self.config.evaluations} evaluations are kept, {folder.path} "
                "has table, plot and page of them"
            )
        interrupt.add_note(how_to_resume(folder))

    def _algorithm(self, space: SearchSpace) -> Algorithm:
        config = self.config
        # a small space has none measured, and is searched exhaustively
        if needs_sensitivities(config) and space.known_of(0) is None:
            return create_algorithm(
                "exhaustive", space, n_objectives=len(self.problem.objective_names)
            )
        return create_algorithm(
            config.algorithm,
            space,
            n_objectives=len(self.problem.objective_names),
            seed=config.seed,
            population=config.population,
            **config.algorithm_options,
        )


def confirming_samples(data: Dataset, config: SearchConfig) -> Split | None:
    return further_samples(data.validation, config.validation_samples, config.confirm_samples)


def predictions_note(found: Mapping[str, float | int | str]) -> list[str]:
    """Return a sentence on the predictions of an algorithm, if it makes any.

    Args:
        found: Its diagnostics.

    Example:
        >>> figures = {"n_predicted": 90, "rank_correlation": 0.987, "median_ratio": 1.04}
        >>> predictions_note(figures)[0][:66]
        'The objective of 90 points was predicted before it was measured: r'
    """
    if "rank_correlation" not in found:
        return []
    return [
        f"The objective of {found['n_predicted']} points was predicted before it was measured: "
        f"rank correlation {found['rank_correlation']:.3f}, median of measured over predicted "
        f"{found['median_ratio']:.2f}."
    ]
