"""``axopt evaluate``: the quality and cost of one assignment."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from axopt.cli import loading
from axopt.cli.arguments import MAX_SAMPLES, add_common, add_library, add_threads, integer, path
from axopt.cli.console import as_table, inform, print_result
from axopt.cli.prices import cost_under_data, estimate_mark, power_text
from axopt.cli.source import source_of
from axopt.errors import AssignmentError

if TYPE_CHECKING:
    from axopt.model import Assignment, Explanation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--assignment",
        type=path,
        metavar="FILE",
        required=True,
        help="file that a search or retrain wrote, such as runs/NAME/assignments/point-00.json",
    )
    loading.add_model(parser, default=None)
    add_library(parser)
    loading.add_hardware(parser)
    parser.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="samples to measure on (default: %(default)s)",
    )
    parser.add_argument(
        "--samples",
        type=integer(1, MAX_SAMPLES),
        metavar="N",
        help="how many of them (default: as many as the assignment was measured on)",
    )
    loading.add_metric(parser, default="that of the assignment")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="list the corrections of every layer, and the error of its results with each set "
        "of them",
    )
    add_threads(parser)
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Measure the assignment, print quality and cost."""
    from axopt.evaluation import evaluate, measured_data
    from axopt.model import Assignment, cost, explain_corrections
    from axopt.multipliers import load_library
    from axopt.retraining import load_retrained_

    loading.start(options.threads)
    assignment = Assignment.load(options.assignment)
    source = source_of(assignment.model, str(options.assignment), options)
    library = load_library(source.library, narrow=True)
    model, data = loading.load(source)
    metric, n = _measured(options, assignment)
    measured = measured_data(metric, model, data, output=source.output)
    split = loading.first_samples(getattr(measured, options.split), n, "samples")
    emulated = loading.emulate(source, model, data)
    loading.check_coverage(options, emulated)
    load_retrained_(emulated, options.assignment, library=library)
    inform(options, f"{len(split)} samples of {source.data} ({options.split})")
    quality = evaluate(emulated, split, metric)
    key = str(assignment.cost.get("reference"))
    reference = library[key] if key in library else None
    price = cost(emulated, reference=reference)
    under_data = cost_under_data(options, emulated, reference)
    result = {
        "assignment": str(options.assignment),
        "split": options.split,
        "quality": asdict(quality),
        "cost": asdict(price),
        "cost_under_data": None if under_data is None else asdict(under_data),
    }
    text = (
        f"{metric:<8} {loading.with_unit(metric, quality.value)}"
        f" [{quality.low:.2f}, {quality.high:.2f}]"
        f" on {quality.n} {options.split} samples\n"
        f"power    {power_text(price, under_data)}\n"
        f"area     {price.rel_area:.4f} of {price.reference}{estimate_mark(price, 'rel_area')}\n"
        f"delay    {price.delay_ns:.2f} ns{estimate_mark(price, 'delay_ns')}"
    )
    if options.explain:
        explanations = explain_corrections(emulated)
        result["corrections"] = [_explanation_as_json(e) for e in explanations]
        text += f"\n\n{_explanations_as_text(explanations)}"
    print_result(options, result, text)
    return 0


def _explanation_as_json(explanation: Explanation) -> dict[str, Any]:
    alternatives = [
        {"corrections": list(names), "error_pct": error}
        for names, error in explanation.alternatives
    ]
    return {**asdict(explanation), "alternatives": alternatives}


def _explanations_as_text(explanations: list[Explanation]) -> str:
    header = ("layer", "multiplier", "corrections", "error %", "without", "next best")
    rows = []
    for e in explanations:
        names = ("order",) * e.swap + e.corrections
        worse = [(names, error) for names, error in e.alternatives if error > 1.01 * e.error_pct]
        next_best = [f"{error:.2f} with {_joined(other)}" for other, error in worse[:1]]
        figures = [f"{e.error_pct:.2f}", f"{e.raw_error_pct:.2f}"]
        rows.append([e.name, e.multiplier, _joined(names), *figures, *(next_best or [""])])
    return (
        f"{as_table(header, rows)}\n"
        "error: root mean square error of the layer's results, in percent of their standard"
        " deviation,\non windows of calibration data; the corrections chosen minimise it"
    )


def _joined(names: tuple[str, ...]) -> str:
    return ", ".join(names).replace("_", " ") or "none"


def _measured(options: argparse.Namespace, assignment: Assignment) -> tuple[str, int | None]:
    """Return the metric and the number of samples: the options', else the assignment's."""
    from axopt.evaluation import METRICS

    if options.metric is not None:
        loading.metric_of(options, "")
    metric = options.metric or assignment.metrics.get("metric", loading.METRICS[0])
    earlier = assignment.metrics.get(options.split)
    n = options.samples or (earlier.get("n") if isinstance(earlier, dict) else None)
    if metric not in METRICS or not (n is None or (type(n) is int and n > 0)):
        raise AssignmentError(
            f"{options.assignment}: `metrics` must name one of "
            f"{', '.join(METRICS)} and a number of samples >= 1, got {metric!r} and {n!r}."
        )
    return metric, n
