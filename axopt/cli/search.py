"""``axopt search``: model and data -> run folder with the Pareto front."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.cli import loading
from axopt.cli.arguments import (
    add_common,
    add_library,
    add_threads,
    integer,
    names,
    path,
)
from axopt.cli.console import Progress, as_table, inform, print_result
from axopt.cli.source import source_given

if TYPE_CHECKING:
    from axopt.study import SearchResult

DEFAULT_MODEL = "digits_cnn"
ALGORITHMS = ("nsga2", "tpe", "optuna-nsga2", "random", "exhaustive")
MAX_REESTIMATED = 512
POPULATION = 40
MAX_BUDGET = 1_000_000
MAX_POPULATION = 10_000
MAX_SEED = 2**32 - 1  # what numpy, pymoo and Optuna all accept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    loading.add_model(parser, default=DEFAULT_MODEL)
    add_library(parser)
    parser.add_argument(
        "--multipliers",
        type=names,
        metavar="NAME,...",
        help="names and patterns to search among (default: the distinct signed circuits)",
    )
    group = parser.add_argument_group("search")
    group.add_argument(
        "--algorithm", choices=ALGORITHMS, default="nsga2", help="(default: %(default)s)"
    )
    group.add_argument(
        "--budget",
        type=integer(1, MAX_BUDGET),
        metavar="N",
        default=500,
        help="distinct assignments to evaluate (default: %(default)s)",
    )
    group.add_argument("--seed", type=integer(0, MAX_SEED), metavar="N", default=0)
    group.add_argument(
        "--population",
        type=integer(2, MAX_POPULATION),
        metavar="N",
        default=POPULATION,
        help="points of a generation (default: %(default)s)",
    )
    group.add_argument(
        "--swap", action="store_true", help="let each layer choose the order of its operands"
    )
    group.add_argument(
        "--group",
        type=names,
        action="append",
        metavar="PATTERN,...",
        help="layers that share one multiplier, by name or pattern (layer1.*); repeatable",
    )
    loading.add_corrections(group)
    group.add_argument(
        "--reestimate",
        type=integer(1, MAX_REESTIMATED),
        metavar="N",
        help="re-estimate batch norms of every candidate on N training samples (default: do not)",
    )
    loading.add_metric(group)
    loading.add_samples(group, validation="while searching", test="for the front")
    loading.add_quantisation(parser)
    loading.add_partial(parser)
    loading.add_hardware(parser)
    _add_run(parser)
    add_threads(parser)
    add_common(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run folder")
    group.add_argument("--out", type=path, metavar="DIR", help="(default: runs/MODEL)")
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="replace an existing run")
    existing.add_argument("--resume", action="store_true", help="go on with an existing run")


def run(options: argparse.Namespace) -> int:
    """Search, print the front."""
    from axopt.evaluation import evaluate, measured_data
    from axopt.multipliers import load_library
    from axopt.study import RunFolder, search

    loading.start(options.threads)
    out = options.out or Path("runs") / re.sub(r"[^\w.-]", "-", options.model)
    RunFolder(out).check_free(resume=options.resume, force=options.force)
    library = load_library(options.library)
    chosen = loading.choose_multipliers(library, options.multipliers)
    source = source_given(options, options.model)
    inform(options, f"preparing {source.model} for {source.data}, {len(chosen)} multipliers")
    model, data = loading.load(source)
    metric = loading.metric_of(options, source.model)
    measured = measured_data(metric, model, data, output=source.output)
    loading.first_samples(measured.validation, options.validation_samples, "validation-samples")
    test = loading.first_samples(measured.test, options.test_samples, "test-samples")
    emulated = loading.emulate(source, model, data)
    loading.check_coverage(options, emulated)
    with Progress(options, "search") as progress, Progress(options, "test") as tested:
        result = search(
            emulated,
            measured,
            library=chosen,
            reference=library.exact(signed=any(m.signed for m in chosen.values())),
            algorithm=options.algorithm,
            budget=options.budget,
            seed=options.seed,
            population=options.population,
            operand_order=options.swap,
            groups=options.group,
            correct=loading.corrections_of(options),
            reestimate_samples=options.reestimate,
            metric=metric,
            validation_samples=options.validation_samples,
            test_samples=options.test_samples,
            out=out,
            resume=options.resume,
            force=options.force,
            float_quality=evaluate(model, test, metric, output=source.output),
            source=source.as_json(),
            on_trial=lambda trial: progress(trial.number + 1, options.budget),
            on_point=tested,
        )
    print_result(options, _as_json(result), _as_text(result))
    return 0


def _as_json(result: SearchResult) -> dict[str, Any]:
    return {
        "out": str(result.out),
        "evaluated": result.outcome.n_evaluated,
        "cached": result.outcome.n_cached,
        "failed": result.outcome.n_failed,
        "stop_reason": result.outcome.stop_reason,
        "front": [_without_nan(row) for row in result.front.to_dict("records")],
    }


def _without_nan(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Replace the NaN of a figure that was not measured, which JSON does not have."""
    return {str(name): None if value != value else value for name, value in row.items()}


def _as_text(result: SearchResult) -> str:
    unit = result.record.unit
    quality = f"quality {unit}".rstrip()
    header = ("point", quality, "95 % interval", "power", "area", "delay ns")
    rows = [
        [
            point.label,
            f"{point.quality:.2f}",
            f"{point.quality_low:.2f}..{point.quality_high:.2f}",
            f"{point.rel_power:.4f}",
            f"{point.rel_area:.4f}",
            f"{point.delay_ns:.2f}",
        ]
        for point in result.record.front
    ]
    outcome = result.outcome
    return (
        f"{as_table(header, rows)}\n"
        f"{outcome.n_evaluated} evaluated now, {outcome.n_cached} known already,"
        f" {outcome.n_failed} failed; stopped: {outcome.stop_reason}\n"
        f"the front, its plot and its assignments are in {result.out}"
    )
