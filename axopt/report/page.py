"""The run as one self-contained HTML file: no network, readable without JavaScript."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any
from urllib.parse import quote

from axopt.report import view
from axopt.report.record import Point, RunRecord
from axopt.report.svg import pareto_svg

# A page over this size opens slowly; it then links to the files beside it instead.
MAX_EMBEDDED_CHARACTERS = 4_000_000

LEGEND_MARKS = {
    "point": '<path class="line" d="M0 6h22"/><circle class="mark" cx="11" cy="6" r="5"/>',
    "uniform": '<rect class="mark" x="7" y="2" width="8" height="8"/>',
    "exact": '<path class="level" d="M0 6h22"/><path class="mark" d="M11 0l6 6l-6 6l-6 -6z"/>',
    "model": '<path class="float" d="M0 6h22"/>',
    "search": '<path class="trials" d="M4 6h0M11 8h0M18 4h0"/>',
}


def report_html(record: RunRecord, assignments: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        record: The run.
        assignments: JSON text by file name, such as ``"assignments/point-00.json"``. They are
            embedded unless they are too large together; the page links to the files of others.
    """
    script = _asset("report.js")
    return Template(_asset("report.html")).substitute(
        policy=_policy(script),
        title=escape(record.title),
        subtitle=escape(view.run_line(record)),
        style=_asset("report.css"),
        legend=_legend(record),
        plot=pareto_svg(record),
        front=_front_table(record),
        uniform=_uniform_table(record),
        unit=escape(view.difference_unit(record)),
        settings=_settings_table(record),
        data=_embed(_data(record, assignments)),
        script=script,
    )


def _asset(name: str) -> str:
    return (files("axopt.report") / "assets" / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Allow this page's own script and styles, and no request to anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _embed(data: object) -> str:
    """Return JSON that cannot end or reopen the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(record: RunRecord, assignments: Mapping[str, str]) -> dict[str, Any]:
    keys = sorted({choice.multiplier for point in record.front for choice in point.layers})
    number = {key: i for i, key in enumerate(keys)}
    embedded = {
        point.assignment: assignments[point.assignment]
        for point in record.front
        if point.assignment in assignments
    }
    if sum(map(len, embedded.values())) > MAX_EMBEDDED_CHARACTERS:
        embedded = {}
    return {
        "layers": [
            {"name": layer.name, "kind": layer.kind, "macs": layer.macs} for layer in record.layers
        ],
        "macs": sum(layer.macs for layer in record.layers),
        "multipliers": keys,
        "points": [_point_data(record, point, number) for point in record.front],
        "assignments": embedded,
    }


def _point_data(record: RunRecord, point: Point, number: Mapping[str, int]) -> dict[str, Any]:
    drop = _drop(record, point)
    quality = view.with_unit(f"{point.quality:.2f}", record.unit)
    change = f"{point.quality - record.exact.quality:+z.2f}"
    against = view.with_unit(change, view.difference_unit(record))
    return {
        "label": point.label,
        "drop": drop,
        "saved": f"{_percent_saved(point)} % power saved at {quality}",
        "text": (
            f"{quality} [{point.quality_low:.2f}, {point.quality_high:.2f}] on {point.split}, "
            f"{against} against the exact model. Relative power {point.rel_power:.3f}, "
            f"area {point.rel_area:.3f}, delay {point.delay_ns:.2f} ns."
        ),
        "assignment": point.assignment,
        "href": quote(point.assignment),
        "layers": [[number[choice.multiplier], int(choice.swap)] for choice in point.layers],
    }


def _drop(record: RunRecord, point: Point) -> float:
    return record.loss(point.quality)


def _percent_saved(point: Point) -> str:
    return f"{100 * (1 - point.rel_power):.1f}"


def _legend(record: RunRecord) -> str:
    titles = {"exact": view.exact_title(record)}
    if record.float_quality is not None:
        titles["model"] = view.float_title(record)
    if record.front:
        titles["point"] = "front"
    if view.compared_points(record):
        titles["uniform"] = view.uniform_title(record)
    if view.completed_trials(record):
        titles["search"] = view.trials_title(record)
    return "\n".join(
        f'<li><svg class="{name}" viewBox="0 0 22 12" aria-hidden="true">{LEGEND_MARKS[name]}'
        f"</svg>{escape(title)}</li>"
        for name, title in titles.items()
    )


def _point_columns(record: RunRecord) -> list[str]:
    return [
        view.titled(view.metric_title(record), record.unit),
        "95 % interval",
        view.titled("Drop", view.difference_unit(record)),
        "Relative power",
        "Saved (%)",
        "Relative area",
        "Delay (ns)",
    ]


def _point_cells(record: RunRecord, point: Point) -> list[str]:
    return [
        f"{point.quality:.2f}",
        f"{point.quality_low:.2f} - {point.quality_high:.2f}",
        f"{_drop(record, point):z.2f}",
        f"{point.rel_power:.4f}",
        _percent_saved(point),
        f"{point.rel_area:.4f}",
        f"{point.delay_ns:.2f}",
    ]


def _front_table(record: RunRecord) -> str:
    if not record.front:
        return "<p>The front is empty.</p>"
    rows = []
    for point in record.front:
        seen = "" if point.validation is None else f"{point.validation.value:.2f}"
        link = ""
        if point.assignment:
            link = f'<a href="{escape(quote(point.assignment))}" download>JSON</a>'
        numbers = _numbers([*_point_cells(record, point), seen])
        rows.append(f'{_head(point.label)}{numbers}<td class="number">{link}</td>')
    columns = [
        "Point",
        *_point_columns(record),
        view.titled("On validation", record.unit),
        "Assignment",
    ]
    return _table("front", columns, rows)


def _uniform_table(record: RunRecord) -> str:
    if not record.uniform:
        return "<p>No uniform assignment was evaluated.</p>"
    rows = [_head(point.label) + _numbers(_point_cells(record, point)) for point in record.uniform]
    return _table("uniform", ["Multiplier", *_point_columns(record)], rows)


def _settings_table(record: RunRecord) -> str:
    values = {
        "Model": record.model,
        "Data": record.data,
        "Metric": view.titled(record.metric, record.unit),
        "Samples": f"validation {record.n_validation:,}, test {record.n_test:,}",
        "Reference circuit": record.reference,
        "Algorithm": record.algorithm,
        "Seed": str(record.seed),
        "Budget": f"{record.budget:,}",
        "Evaluated": f"{record.n_evaluated:,}",
        "Answered from the store": f"{record.n_cached:,}",
        "Failed": f"{record.n_failed:,}",
        "Stopped because": record.stop_reason,
        "Duration": f"{record.seconds:,.1f} s",
    }
    body = "\n".join(
        f"<tr>{_head(name)}<td>{escape(text)}</td></tr>" for name, text in values.items()
    )
    return f'<table class="settings"><tbody>\n{body}\n</tbody></table>'


def _table(name: str, columns: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide"><table id="{name}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _head(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _numbers(texts: Iterable[str]) -> str:
    return "".join(f'<td class="number">{escape(text)}</td>' for text in texts)
