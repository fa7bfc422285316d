"""`search`: from an emulated model and a data set to a run folder with a Pareto front.

This module only composes: it turns layers and multipliers into genes, lets the exploration room
search them on the validation split, measures the front on the test split and hands a record to
the report room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt import report
from axopt.corrections import Corrections
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError
from axopt.evaluation import BATCH_SIZE, Evaluation
from axopt.exploration import (
    DEFAULT_POPULATION,
    SearchOutcome,
    Store,
    Trial,
    create_algorithm,
    run_search,
)
from axopt.model import EmulatedModel
from axopt.multipliers import Multiplier, MultiplierLibrary
from axopt.study.folder import RunFolder
from axopt.study.groups import Groups
from axopt.study.held_out import HeldOut, quality_of
from axopt.study.problem import AssignmentProblem, options_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        front: One row a point, as in front.csv: quality on the test split with its interval.
        record: Everything the report shows.
        outcome: Counts and the reason why the search stopped.
        out: The run folder, None if none was asked for.
    """

    front: pd.DataFrame
    record: report.RunRecord
    outcome: SearchOutcome
    out: Path | None


def search(
    emulated: EmulatedModel,
    data: Dataset,
    *,
    library: MultiplierLibrary | Iterable[str | Multiplier] | None = None,
    reference: Multiplier | None = None,
    algorithm: str = "nsga2",
    budget: int = 500,
    seed: int = 0,
    population: int = DEFAULT_POPULATION,
    operand_order: bool = False,
    groups: Groups | None = None,
    correct: bool | Corrections = True,
    reestimate_samples: int | None = None,
    objectives: Sequence[str] = ("rel_power",),
    metric: str = "top1",
    validation_samples: int | None = None,
    test_samples: int | None = None,
    batch_size: int = BATCH_SIZE,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    float_quality: Evaluation | None = None,
    source: Mapping[str, Any] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    on_point: Callable[[int, int], None] | None = None,
) -> SearchResult:
    """Search which multiplier each layer should use.

    Uniform assignments are evaluated first. The search sees the validation split only; the
    points of its front are then measured on the test split.

    Args:
        emulated: A model made by `prepare`; its assignment is not kept.
        data: Splits of samples.
        library: Multipliers to choose from, or their names in the bundled library; by default
            the 13 signed circuits of release v1.
        reference: The exact circuit that power and area are relative to; by default the one
            among those to choose from, else the bundled one, signed if any option is.
        algorithm: A name of `axopt.exploration.list_algorithms`.
        budget: Distinct assignments to evaluate.
        seed: Seed of the algorithm.
        population: Points of one generation, for algorithms that have generations.
        operand_order: Whether the operand order of non-commutative circuits is searched too;
            otherwise corrections choose it.
        groups: Layers that share a circuit and its operand order and are one gene: name -> name
            or pattern (``layer1.*``) of the layers, or a list of these; a list of patterns in
            place of one means one group.
        correct: Whether every layer gets the corrections that help it, see `axopt.correct_`, or
            which of them it may get.
        reestimate_samples: On how many training samples, at most 512, batch norms are
            re-estimated for every candidate, which costs about as much as evaluating it on twice
            as many; none by default.
        objectives: Cost figures to minimise beside the error, of rel_power, rel_area, delay_ns.
        metric: A name of `axopt.evaluation.METRICS`.
        validation_samples: How many validation samples to use, balanced over the classes; all by
            default.
        test_samples: How many test samples; all by default.
        batch_size: Samples at a time; results do not depend on it.
        out: Run folder, made if missing; nothing is written without it.
        resume: Go on with the search in ``out``.
        force: Replace the search in ``out``.
        float_quality: Quality of the float model on the test split, for the plot.
        source: How model and data are named, kept in every assignment.
        on_trial: Called after each new evaluation.
        on_point: Called after each point measured on the test split, with the number of points
            done and of all.

    Raises:
        ArgumentError: If an argument breaks its rule.
        RunExistsError: If ``out`` holds a search and neither ``resume`` nor ``force`` is set.
        StoreError: If the search in ``out`` is another one, damaged, or in use.
        UnknownLayerError: If a pattern of ``groups`` matches no layer.
    """
    started = time.monotonic()
    if budget < 1:
        raise ArgumentError(f"`budget` must be >= 1, got {budget}.")
    folder = None if out is None else RunFolder(out)
    if folder is not None:
        folder.check_free(resume=resume, force=force)
    validation = _subset(data.validation, validation_samples, "validation_samples")
    test = _subset(data.test, test_samples, "test_samples")
    reestimate = None
    if reestimate_samples is not None:
        reestimate = _subset(data.train, reestimate_samples, "reestimate_samples")
    problem = AssignmentProblem(
        emulated,
        validation,
        options_of(library, operand_order),
        reference=reference,
        metric=metric,
        costs=objectives,
        correct=correct,
        reestimate=reestimate,
        groups=groups,
        batch_size=batch_size,
    )
    explorer = create_algorithm(
        algorithm,
        problem.space,
        n_objectives=len(problem.objective_names),
        seed=seed,
        population=population,
    )
    settings = {"algorithm": algorithm, "seed": seed, "population": population}
    with _open_store(folder, {**problem.identity(), **settings}, resume, force) as store:
        outcome = run_search(
            problem,
            explorer,
            store,
            budget=budget,
            seeds=list(problem.uniform()),
            on_trial=on_trial,
        )
    source = dict(source or {})
    held_out = HeldOut(problem, test, source, outcome, on_point)
    record = report.RunRecord(
        **_names(emulated, data, source),
        **_counts(outcome),
        metric=metric,
        unit=problem.metric.unit,
        higher_is_better=problem.metric.higher_is_better,
        n_validation=len(validation),
        n_test=len(test),
        algorithm=algorithm,
        seed=seed,
        budget=budget,
        seconds=time.monotonic() - started,
        reference=problem.reference.key,
        layers=tuple(report.Layer(info.name, info.kind, info.macs) for info in emulated.layers()),
        exact=held_out.exact(),
        float_quality=None if float_quality is None else quality_of(float_quality),
        uniform=tuple(held_out.uniform()),
        front=tuple(held_out.front()),
        trials=tuple(map(_trial_row, outcome.trials)),
    )
    if folder is not None:
        folder.write(record, held_out.assignments)
    out = None if folder is None else folder.path
    return SearchResult(report.front_table(record), record, outcome, out)


def _open_store(
    folder: RunFolder | None, identity: Mapping[str, Any], resume: bool, force: bool
) -> Store:
    if folder is None:
        return Store.in_memory(identity)
    return folder.open_store(identity, resume=resume, force=force)


def _names(emulated: EmulatedModel, data: Dataset, source: Mapping[str, Any]) -> dict[str, Any]:
    model = str(source.get("model") or type(emulated.module).__name__)
    return {"title": f"{model} on {data.name}", "model": model, "data": data.spec}


def _counts(outcome: SearchOutcome) -> dict[str, Any]:
    return {
        "n_evaluated": len(outcome.trials),
        "n_cached": outcome.n_cached,
        "n_failed": outcome.n_failed,
        "stop_reason": outcome.stop_reason,
    }


def _subset(split: Split, n: int | None, argument: str) -> Split:
    if n is None:
        return split
    if not 1 <= n <= len(split):
        raise ArgumentError(f"`{argument}` must be in 1..{len(split)}, got {n}.")
    return split.take(n)


def _trial_row(trial: Trial) -> report.TrialRow:
    quality = trial.info.get("quality", {}).get("value")
    return report.TrialRow(trial.number, str(trial.state), quality, trial.info.get("rel_power"))
