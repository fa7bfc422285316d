"""`search`: from an emulated model and a data set to a run folder with a Pareto front.

This module only composes: it turns layers and multipliers into genes, lets the exploration room
search them on the validation split, measures the front on the test split and hands a record to
the report room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from axopt.corrections import Corrections
from axopt.data import Dataset
from axopt.evaluation import BATCH_SIZE, Evaluation, Metric, as_metric
from axopt.exploration import (
    DEFAULT_ALGORITHM,
    DEFAULT_POPULATION,
    Trial,
)
from axopt.model import EmulatedModel
from axopt.multipliers import Multiplier, MultiplierLibrary
from axopt.problem.groups import Groups
from axopt.problem.options import Option, options_of
from axopt.problem.problem import AssignmentProblem
from axopt.sensitivities.analysis import SAMPLES as SENSITIVITY_SAMPLES
from axopt.study.arguments import as_texts, check_types, names_of, subset_of
from axopt.study.config import SearchConfig
from axopt.study.folder import free_folder
from axopt.study.log import SearchLog
from axopt.study.result import SearchResult
from axopt.study.session import Session, confirming_samples
from axopt.study.watching import Progress


def search(
    emulated: EmulatedModel,
    data: Dataset,
    *,
    library: MultiplierLibrary | Iterable[str | Multiplier] | None = None,
    reference: Multiplier | None = None,
    algorithm: str = DEFAULT_ALGORITHM,
    algorithm_options: Mapping[str, bool | int | float | str] | None = None,
    budget: int | None = None,
    seed: int = 0,
    population: int = DEFAULT_POPULATION,
    operand_order: bool = False,
    groups: Groups | None = None,
    fixed: Mapping[str, str | Multiplier] | None = None,
    candidates: Mapping[str, Sequence[str | Multiplier]] | None = None,
    max_multipliers: int | None = None,
    max_drop: float | None = None,
    max_power: float | None = None,
    max_delay_ns: float | None = None,
    correct: bool | Corrections = True,
    reestimate_samples: int | None = None,
    objective: str = "divergence",
    divergence_outputs: Mapping[str, float] | None = None,
    objectives: Sequence[str] = ("rel_power",),
    metric: str | Metric = "top1",
    seeds: str | Path | Sequence[str | Path] | None = None,
    sensitivity_samples: int = SENSITIVITY_SAMPLES,
    validation_samples: int | None = None,
    confirm_samples: int | None = None,
    max_points: int | None = None,
    test_samples: int | None = None,
    batch_size: int = BATCH_SIZE,
    staged: bool = True,
    reuse_mb: int = 1024,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    mirror: str | None = None,
    float_quality: Evaluation | None = None,
    source: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    on_point: Callable[[int, int], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_sensitivity: Callable[[int, int], object] | None = None,
) -> SearchResult:
    """Search which multiplier each layer should use.

    Uniform assignments are evaluated first, unless ``seeds`` or the algorithm says otherwise. The
    search sees the validation split only; the points of its front are then measured on the test
    split, each compared with the exact multiplier under the same treatment on the same samples.

    An interrupted search (`KeyboardInterrupt`) leaves table, plot and page of the trials so far in
    ``out``, marked as partial, and can be resumed.

    Args:
        emulated: A model made by `prepare`; its assignment is not kept.
        data: Splits of samples.
        library: Multipliers to choose from, or their names in the bundled library; by default
            the 13 signed multipliers of release v1.
        reference: The exact multiplier that power and area are relative to; by default the one
            among those to choose from, else the bundled one, signed if any option is.
        algorithm: A name of `axopt.exploration.list_algorithms`. A space with no more points than
            the budget is searched exhaustively instead; the record says so.
        algorithm_options: Options of that algorithm, see `axopt.exploration.algorithm_options`.
        budget: Distinct assignments to evaluate, sensitivities included; by default 200 for
            auto, 60 for additive and 500 for others.
        seed: Seed of the algorithm.
        population: Points of one generation, for algorithms that have generations.
        operand_order: Whether the operand order of multipliers that do not commute is searched
            too; otherwise corrections choose it.
        groups: Layers that share a multiplier and its operand order and are one gene: name -> name
            or pattern (``layer1.*``) of the layers, or a list of these; a list of patterns in
            place of one means one group.
        fixed: Name or pattern of layers -> the multiplier that they keep: its name, or "exact" for
            the reference. It need not be in ``library``: other names are those of the bundled one.
        candidates: Name or pattern of layers -> the multipliers that these layers choose from:
            names as in ``fixed``, and patterns (``mul8s_1K*``) of those in ``library``. A layer
            that several patterns match has what all of them allow. All layers of a group must
            have the same candidates.
        max_multipliers: Most distinct multipliers of an assignment, the exact one included; None
            for any number. A proposal with more is repaired before it is evaluated: see
            `axopt.study.AssignmentProblem.repaired`.
        max_drop: Largest drop of interest against the exact multiplier with the same treatment, on
            the validation split and in the metric's unit. The search looks for points within it,
            and the front holds only such points; if there are none, the nearest one.
        max_power: Largest relative power of interest, likewise.
        max_delay_ns: Largest delay of a multiplier in ns: slower ones are no options.
        correct: Whether every layer gets the corrections that help it, see `axopt.correct_`, or
            which of them it may get.
        reestimate_samples: On how many training samples, at most 512, batch norms are
            re-estimated for every candidate, which costs about as much as evaluating it on twice
            as many; none by default.
        objective: What to minimise first. By default the divergence of the outputs from those of
            the exact 8-bit network with the same corrections, which needs no labels; otherwise
            "error" (of the metric), another name of `axopt.study.OBJECTIVES`, or the name of a
            metric, whose error is meant.
        divergence_outputs: Path of an output -> weight of its divergence, for models with several
            outputs; by default the output that the metric reads.
        objectives: What to minimise beside it: names of `axopt.study.OBJECTIVES`, such as
            rel_power, rel_area and delay_ns.
        metric: A name of `axopt.evaluation.METRICS`, or a `Metric`.
        seeds: What is evaluated first: "uniform"; "sensitivity", a spread of the front that
            sensitivities predict; "both"; paths of run folders or of files of assignments, whose
            layers and multipliers must be those of this search; or a list of these. By default
            the uniform assignments, and nothing for algorithms that use sensitivities.
        sensitivity_samples: On how many validation samples sensitivities are measured, if the
            algorithm or ``seeds`` asks for them; see `axopt.sensitivity`. Their cost counts in
            the budget. Fewer samples are used where they would cost more than half of it.
        validation_samples: How many validation samples to use, balanced over the classes; all by
            default.
        confirm_samples: On how many further validation samples the front is measured again
            before the test split is; points that another one dominates there are left out. None
            by default.
        max_points: Most points of the front that are measured on the test split and reported:
            those that keep most of its hypervolume; all by default.
        test_samples: How many test samples; all by default.
        batch_size: Samples at a time; results do not depend on it.
        staged: Whether a candidate is evaluated on a growing number of validation samples, and
            pruned when the front surely dominates it, see `axopt.exploration.SampledProblem`.
            Needs an ``objective`` that is a mean over samples; other searches evaluate in full.
        reuse_mb: Memory in MiB for results of layers, which candidates with the same first layers
            share; 0 for none. Trials do not depend on it.
        out: Run folder, made if missing; nothing is written without it.
        resume: Go on with the search in ``out``, which must have the same settings; the budget
            may differ.
        force: Replace the search in ``out``.
        mirror: URL of a storage of Optuna, such as ``sqlite:///trials.db``, into which finished
            evaluations are copied for optuna-dashboard. They are never read back. It is not kept
            in the run folder, as URLs may hold passwords.
        float_quality: Quality of the float model on the test split, for the plot.
        source: How model and data are named, kept in every assignment.
        settings: Further settings of the caller, kept in ``run.toml`` of the run folder.
        on_trial: Called after each new evaluation.
        on_point: Called after each point measured on the test split, with the number of points
            done and of all.
        on_progress: Called after each new evaluation with the state of the search: hypervolume,
            speed, best saving. The run folder keeps the same as lines of ``search.log``.
        on_sensitivity: Called while sensitivities are measured, with the number of steps done and
            of all.

    Returns:
        The front, the record that the report is made from, and how the search went.

    Raises:
        ArgumentError: If an argument breaks its rule.
        RunExistsError: If ``out`` holds a search and neither ``resume`` nor ``force`` is set.
        StoreError: If the search in ``out`` is another one, damaged, or in use.
        UnknownLayerError: If a pattern of ``groups``, ``fixed`` or ``candidates`` matches no
            layer.
        UnknownMultiplierError: If a multiplier is unknown.

    Example:
        >>> import axopt, torch
        >>> from axopt.data import Dataset, Split
        >>> split = Split(torch.rand(60, 4), torch.arange(60) % 3)
        >>> data = Dataset("noise", "noise", split, split, split, classes=("a", "b", "c"))
        >>> emulated = axopt.prepare(torch.nn.Sequential(torch.nn.Linear(4, 3)), split.batches(60))
        >>> library = ["mul8s_1KV8", "mul8s_1L2H"]
        >>> result = axopt.search(emulated, data, library=library, budget=5)
        >>> result.record.algorithm, len(result.outcome.trials)
        ('exhaustive', 2)
    """
    started = time.monotonic()
    check_types(emulated, data)
    config = SearchConfig(
        algorithm=algorithm,
        algorithm_options=algorithm_options or {},
        budget=budget,
        seed=seed,
        population=population,
        operand_order=operand_order,
        groups=groups,
        fixed=names_of(fixed),
        candidates=names_of(candidates),
        max_multipliers=max_multipliers,
        max_drop=max_drop,
        max_power=max_power,
        max_delay_ns=max_delay_ns,
        correct=list(correct.names) if isinstance(correct, Corrections) else correct,
        reestimate_samples=reestimate_samples,
        objective=objective,
        divergence_outputs=divergence_outputs or {},
        objectives=tuple(objectives) if isinstance(objectives, list) else objectives,
        metric=as_metric(metric).name,
        seeds=as_texts(seeds),
        sensitivity_samples=sensitivity_samples,
        validation_samples=validation_samples,
        confirm_samples=confirm_samples,
        max_points=max_points,
        test_samples=test_samples,
        batch_size=batch_size,
        staged=staged,
        reuse_mb=reuse_mb,
    )
    folder = free_folder(out, resume, force)
    test = subset_of(data.test, test_samples, "test_samples")
    given: dict[str, Any] = {"reference": reference, "metric": metric, "correct": correct}
    given |= {"fixed": fixed, "candidates": candidates}
    problem = _problem(emulated, data, config, options_of(library, operand_order), **given)
    run = Session(problem, config, data, test, source or {}, started, float_quality)
    with (
        run.mirror(mirror, folder) as mirrored,  # refuses a wrong URL before anything is written
        run.open_store(folder, resume, force, settings or {}) as store,
        SearchLog(None if folder is None else folder.log_file) as log,
    ):
        mirrored.add(store.trials())
        start = run.start(store, folder, on_sensitivity)
        watch = run.watch(store, start, log.note, mirrored.note, on_progress)
        return run.done(store, folder, start, watch, on_trial, on_point)


def _problem(
    emulated: EmulatedModel,
    data: Dataset,
    config: SearchConfig,
    options: Sequence[Option],
    **given: Any,
) -> AssignmentProblem:
    """Return the problem of these settings; ``given`` holds those that are no plain values."""
    confirming_samples(data, config)  # checked before anything is written
    reestimate = None
    if config.reestimate_samples is not None:
        reestimate = subset_of(data.train, config.reestimate_samples, "reestimate_samples")
    return AssignmentProblem(
        emulated,
        subset_of(data.validation, config.validation_samples, "validation_samples"),
        options,
        objective=config.objective,
        divergence_outputs=config.divergence_outputs or None,
        costs=config.objectives,
        reestimate=reestimate,
        groups=config.groups,
        max_multipliers=config.max_multipliers,
        max_power=config.max_power,
        max_delay_ns=config.max_delay_ns,
        batch_size=config.batch_size,
        staged=config.staged,
        reuse_mb=config.reuse_mb,
        **given,
    )
