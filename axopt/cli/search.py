"""``axopt search``: model and data -> run folder with the Pareto front."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from axopt.cli import loading
from axopt.cli.arguments import (
    MAX_SAMPLES,
    add_common,
    add_groups,
    add_library,
    add_threads,
    integer,
    names,
    path,
)
from axopt.cli.console import Progress, as_table, inform, print_result
from axopt.cli.constraints import add_caps, add_layer_options, candidates_of, fixed_of
from axopt.cli.settings import Settings, StorePairs, add_divergence_outputs, option_pair
from axopt.cli.source import source_given
from axopt.errors import ArgumentError
from axopt.exploration.algorithms import (
    DEFAULT_ALGORITHM,
    DEFAULT_BUDGET,
    DEFAULT_POPULATION,
    default_budget,
    list_algorithms,
)
from axopt.problem.objectives import DIVERGENCE, ERROR, OBJECTIVES
from axopt.study.config import BOTH, SENSITIVITY, UNIFORM, SearchConfig
from axopt.study.folder import RunFolder

if TYPE_CHECKING:
    from axopt.corrections import Corrections
    from axopt.report import Point
    from axopt.study import SearchResult

DEFAULT_MODEL = "digits_cnn"
MAX_REESTIMATED = 512
MAX_MULTIPLIERS = 1000
MAX_BUDGET = 1_000_000
MAX_POPULATION = 10_000
MAX_REUSE_MB = 1 << 20
MAX_SEED = 2**32 - 1  # what numpy, pymoo and Optuna all accept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    loading.add_model(parser, default=DEFAULT_MODEL)
    add_library(parser)
    parser.add_argument(
        "--multipliers",
        type=names,
        metavar="NAME,...",
        help="names and patterns to search among (default: the distinct signed multipliers)",
    )
    group = parser.add_argument_group("search")
    _add_algorithm(group)
    _add_seeds(group)
    _add_objectives(group)
    _add_treatment(group)
    loading.add_metric(group)
    loading.add_samples(group, validation="while searching", test="for the front")
    group.add_argument(
        "--confirm",
        dest="confirm_samples",
        type=integer(1, MAX_SAMPLES),
        metavar="N",
        help="measure the front again on N further validation samples before the test split",
    )
    group.add_argument(
        "--points",
        dest="max_points",
        type=integer(2, MAX_SAMPLES),
        metavar="N",
        help="most points of the front to measure on the test split: those that keep most of its "
        "hypervolume (default: all)",
    )
    loading.add_quantisation(parser)
    loading.add_partial(parser)
    loading.add_hardware(parser)
    _add_run(parser)
    add_threads(parser)
    add_common(parser)
    parser.set_defaults(settings=Settings(parser))


def _add_algorithm(group: argparse._ArgumentGroup) -> None:
    """Add how assignments are proposed."""
    group.add_argument(
        "--algorithm",
        choices=list_algorithms(),
        default=DEFAULT_ALGORITHM,
        help="how assignments are proposed (default: %(default)s)",
    )
    group.add_argument(
        "--algorithm-option",
        dest="algorithm_options",
        type=option_pair,
        action=StorePairs,
        metavar="NAME=VALUE",
        help="an option of the algorithm, such as batch=5 of auto; repeatable",
    )
    group.add_argument(
        "--budget",
        type=integer(1, MAX_BUDGET),
        metavar="N",
        help="distinct assignments to evaluate, sensitivities included (default: "
        f"{default_budget(DEFAULT_ALGORITHM)} for {DEFAULT_ALGORITHM}, "
        f"{default_budget('additive')} for additive, {DEFAULT_BUDGET} for others)",
    )
    group.add_argument(
        "--seed",
        type=integer(0, MAX_SEED),
        metavar="N",
        default=0,
        help="seed of the algorithm (default: %(default)s)",
    )
    group.add_argument(
        "--population",
        type=integer(2, MAX_POPULATION),
        metavar="N",
        default=DEFAULT_POPULATION,
        help="assignments of a generation, for algorithms that have generations (default: "
        "%(default)s)",
    )


def _add_seeds(group: argparse._ArgumentGroup) -> None:
    """Add what is evaluated and known before the algorithm proposes anything."""
    group.add_argument(
        "--seeds",
        type=names,
        metavar="SEED,...",
        help=f"assignments to evaluate first: {UNIFORM} (one multiplier everywhere), "
        f"{SENSITIVITY} (the front that sensitivities predict), {BOTH}, run folders, or files of "
        f"assignments (default: {UNIFORM}; none where the algorithm uses sensitivities, unless "
        "--max-drop is given)",
    )
    group.add_argument(
        "--sensitivity-samples",
        type=integer(1, MAX_SAMPLES),
        metavar="N",
        default=SearchConfig.sensitivity_samples,
        help="validation samples on which sensitivities are measured, if the algorithm or --seeds "
        "uses them; their cost counts in the budget (default: %(default)s)",
    )


def _add_objectives(group: argparse._ArgumentGroup) -> None:
    """Add what the search minimises."""
    group.add_argument(
        "--objective",
        metavar="NAME",
        default="divergence",
        help="what to minimise first: divergence (of the outputs from the exact network's), error "
        "(of the metric), or the name of a metric (default: %(default)s)",
    )
    add_divergence_outputs(group)
    group.add_argument(
        "--objectives",
        type=names,
        default=["rel_power"],
        metavar="NAME,...",
        help="what to minimise beside it: "
        f"{', '.join(name for name in OBJECTIVES if name not in (DIVERGENCE, ERROR))} "
        "(default: rel_power)",
    )


def _add_treatment(group: argparse._ArgumentGroup) -> None:
    """Add what a layer may get and what is done to it before it is measured."""
    group.add_argument(
        "--swap",
        dest="operand_order",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="let each layer choose the order of its operands (default: no)",
    )
    add_groups(group, "share one multiplier")
    add_layer_options(group)
    group.add_argument(
        "--max-multipliers",
        type=integer(1, MAX_MULTIPLIERS),
        metavar="N",
        help="most distinct multipliers of an assignment (default: any number)",
    )
    add_caps(group)
    loading.add_corrections(group)
    group.add_argument(
        "--reestimate",
        dest="reestimate_samples",
        type=integer(1, MAX_REESTIMATED),
        metavar="N",
        help="re-estimate batch norms of every candidate on N training samples (default: do not)",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run folder")
    group.add_argument(
        "--out", type=path, metavar="DIR", help="folder of all results (default: runs/MODEL)"
    )
    group.add_argument(
        "--staged",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="stop evaluations of assignments that the front surely dominates (default: yes)",
    )
    group.add_argument(
        "--reuse-mb",
        type=integer(0, MAX_REUSE_MB),
        metavar="N",
        default=1024,
        help="memory in MiB for results of layers that assignments share, 0 for none (default: "
        "%(default)s)",
    )
    group.add_argument(
        "--mirror",
        metavar="URL",
        help="copy finished evaluations into a storage of Optuna, such as sqlite:///trials.db",
    )
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="replace an existing run")
    existing.add_argument(
        "--resume", action="store_true", help="go on with the run in --out, with its settings"
    )
    group.add_argument(
        "--config",
        type=path,
        metavar="FILE",
        help="TOML with settings, such as run.toml of a run folder; flags win",
    )


def run(options: argparse.Namespace) -> int:
    """Search, print the front."""
    options.settings.settle(options)
    loading.check_metric(options)
    RunFolder(options.out).check_free(resume=options.resume, force=options.force)
    if options.mirror is not None:
        from axopt.study.mirror import check_mirror

        check_mirror(options.mirror)
    from axopt.evaluation import evaluate, measured_data  # torch, after all that may be refused
    from axopt.multipliers import load_library
    from axopt.study import search

    loading.start(options.threads)
    library = load_library(options.library, narrow=True)
    chosen = loading.choose_multipliers(library, options.multipliers)
    fixed = fixed_of(library, options.fixed)
    candidates = candidates_of(library, options.candidates)
    source = source_given(options, options.model)
    inform(options, f"preparing {source.model} for {source.data}, {len(chosen)} multipliers")
    model, data = loading.load(source)
    options.metric = loading.metric_for(options, source, model, data)
    options.data = source.data
    measured = measured_data(options.metric, model, data, output=source.output)
    loading.first_samples(measured.validation, options.validation_samples, "validation-samples")
    _check_confirm(options, len(measured.validation))
    test = loading.first_samples(measured.test, options.test_samples, "test-samples")
    emulated = loading.emulate(source, model, data)
    loading.check_coverage(options, emulated)
    with (
        Progress(options, "sensitivity") as sensitivities,
        Progress(options, "search") as progress,
        Progress(options, "test") as tested,
    ):
        result = search(
            emulated,
            measured,
            library=chosen,
            reference=library.exact(signed=any(m.signed for m in chosen.values())),
            correct=_corrections_of(options),
            fixed=fixed,
            candidates=candidates,
            float_quality=evaluate(model, test, options.metric, output=source.output),
            source=source.as_json(),
            settings=options.settings.kept(options),
            on_progress=lambda now: progress(now.number, now.budget, str(now)),
            on_point=tested,
            on_sensitivity=sensitivities,
            **({} if options.batch_size is None else {"batch_size": options.batch_size}),
            **{name: getattr(options, name) for name in _PASSED_ON},
        )
    print_result(options, _as_json(result), _as_text(result))
    return 0


def _check_confirm(options: argparse.Namespace, available: int) -> None:
    """Refuse more samples than there are before the model is prepared."""
    if options.confirm_samples is not None:
        used = options.validation_samples or available
        if used + options.confirm_samples > available:
            raise ArgumentError(
                f"`--confirm` must be at most {available - used} here, what --validation-samples "
                f"leaves of {available}, got {options.confirm_samples}."
            )


_PASSED_ON = (
    "algorithm",
    "algorithm_options",
    "budget",
    "seed",
    "population",
    "operand_order",
    "groups",
    "max_multipliers",
    "max_drop",
    "max_power",
    "max_delay_ns",
    "reestimate_samples",
    "objective",
    "divergence_outputs",
    "objectives",
    "metric",
    "seeds",
    "sensitivity_samples",
    "validation_samples",
    "confirm_samples",
    "max_points",
    "test_samples",
    "staged",
    "reuse_mb",
    "out",
    "resume",
    "force",
    "mirror",
)
"""Settings that `axopt.search` takes under the same names."""


def _corrections_of(options: argparse.Namespace) -> bool | Corrections:
    """Return which corrections layers may get; a file may list them by name."""
    if isinstance(options.correct, bool):
        return loading.corrections_of(options)
    from axopt.corrections import Corrections

    return Corrections.of_names(options.correct)


def _as_json(result: SearchResult) -> dict[str, Any]:
    record = result.record
    return {
        "out": str(result.out),
        "algorithm": record.algorithm,
        "coverage": record.coverage,
        "evaluated": result.outcome.n_evaluated,
        "cached": result.outcome.n_cached,
        "failed": result.outcome.n_failed,
        "stop_reason": result.outcome.stop_reason,
        "exact": record.exact.quality,
        "baseline": None if record.baseline is None else record.baseline.quality,
        "notes": [*record.notes, *record.remarks],
        "front": [_without_nan(row) for row in result.front.to_dict("records")],
    }


def _without_nan(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Replace the NaN of a figure that was not measured, which JSON does not have."""
    return {str(name): None if value != value else value for name, value in row.items()}


def _as_text(result: SearchResult) -> str:
    record, outcome = result.record, result.outcome
    unit = record.unit
    header = ("point", f"quality {unit}".rstrip(), "95 % interval", "drop", "95 % paired", "power")
    under_data = any(point.rel_power_activity is not None for point in record.front)
    columns = (*header, "area", "delay ns", *["power under data"] * under_data)
    rows = [_row_of(point) for point in record.front]
    dominated = any(point.dominated for point in record.front)
    alike = any(point.alike for point in record.front)
    baseline = record.baseline or record.exact
    lines = [
        as_table(columns, rows),
        *(["* another point is at least as good in metric and costs on test"] * dominated),
        *(["~ the test samples cannot tell it apart from the next point of less power"] * alike),
        f"drop: against {record.reference} everywhere with the same treatment, "
        f"{baseline.quality:.2f} {unit}".rstrip()
        + f" (without corrections {record.exact.quality:.2f})" * (baseline != record.exact),
        f"{outcome.n_evaluated} evaluated now, {outcome.n_cached} known already,"
        f" {outcome.n_failed} failed; stopped: {outcome.stop_reason}",
        *record.notes,
        *record.remarks,
        f"the front, its plot and its assignments are in {result.out}",
    ]
    return "\n".join(lines)


_COSTS = {"rel_power": "{:.4f}".format, "rel_area": "{:.4f}".format, "delay_ns": "{:.2f}".format}


def _row_of(point: Point) -> list[str]:
    drop, low, high = point.drop, point.drop_low, point.drop_high
    known = drop is not None and low is not None and high is not None
    under_data = point.rel_power_activity
    return [
        point.label + "*" * point.dominated + "~" * bool(point.alike),
        f"{point.quality:.2f}",
        f"{point.quality_low:.2f}..{point.quality_high:.2f}",
        f"{drop:.2f}" if known else "",
        f"{low:.2f}..{high:.2f}" if known else "",
        *(
            form(getattr(point, name)) + " est." * (name in point.intervals)
            for name, form in _COSTS.items()
        ),
        *([] if under_data is None else [f"{under_data:.4f}"]),
    ]
