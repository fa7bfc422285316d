"""The run as one self-contained HTML file: no network, readable without JavaScript."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from math import ceil, floor, log10
from string import Template
from typing import Any
from urllib.parse import quote

from axopt.report import texts, view
from axopt.report.history import history_svg
from axopt.report.record import Point, RunRecord
from axopt.report.svg import pareto_svg
from axopt.report.texts import escape

# A page over this size opens slowly; it then links to the files beside it instead.
MAX_EMBEDDED_CHARACTERS = 4_000_000

LEGEND_MARKS = {
    "point": '<path class="line" d="M0 6h22"/><circle class="mark" cx="11" cy="6" r="5"/>',
    "point dominated": '<circle class="mark" cx="11" cy="6" r="5"/>',
    "alike": '<path class="line alike" d="M0 6h22"/>',
    "uniform": '<rect class="mark" x="6" y="1" width="10" height="10"/>',
    "exact": '<path class="level" d="M0 6h22"/><path class="mark" d="M11 0l6 6l-6 6l-6 -6z"/>',
    "exact hollow": '<path class="mark" d="M11 0l6 6l-6 6l-6 -6z"/>',
    "model": '<path class="float" d="M0 6h22"/>',
    "search": '<path class="trials" d="M4 6h0M11 8h0M18 4h0"/>',
}


def report_html(record: RunRecord, assignments: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        record: The run.
        assignments: File name, such as ``"assignments/point-00.json"`` -> JSON text. They are
            embedded if they have at most `MAX_EMBEDDED_CHARACTERS` together; otherwise the page
            links to the files beside it.
    """
    script = _asset("report.js")
    return Template(_asset("report.html")).substitute(
        policy=_policy(script),
        title=escape(texts.one_line(record.title, texts.TITLE_CHARACTERS)),
        subtitle=escape(texts.run_line(record)),
        notices=_notices(record),
        baseline=escape(texts.baseline_name(record)),
        style=_asset("report.css"),
        legend=_legend(record),
        quality_axis=escape(texts.quality_axis(record)),
        power_axis=escape(texts.power_axis(record)),
        plot=pareto_svg(record),
        front_text=escape(texts.front_text(record)),
        front=_front_table(record),
        uniform=_uniform_table(record),
        exact=_exact_table(record),
        unit=escape(texts.difference_unit(record)),
        history=_history(record),
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
    keys = sorted({option.multiplier for point in record.front for option in point.layers})
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
        "multipliers": [texts.multiplier_text(record, key) for key in keys],
        "points": [_point_data(record, point, number) for point in record.front],
        "filter": _filter_data(record),
        "assignments": embedded,
    }


def _filter_data(record: RunRecord) -> dict[str, float]:
    """Return the ends, the step and the first value of the filter by drop."""
    drops = [0.0, *(record.drop(point) for point in record.front)]
    if record.unit == "%":
        low, high = floor(20 * min(drops)) / 20, ceil(20 * max(*drops, 1)) / 20
        return {"low": low, "high": min(20.0, high), "step": 0.05, "value": 1.0}
    scale = view.quality_scale(record)
    step = 10.0 ** floor(log10(scale / 100))
    most = min(4 * scale, max(*drops, scale / 10))
    high = step * ceil(most / step)
    return {"low": min(drops), "high": high, "step": step, "value": high}


def _point_data(record: RunRecord, point: Point, number: Mapping[str, int]) -> dict[str, Any]:
    drop = texts.with_unit(texts.drop_interval(record, point), texts.difference_unit(record))
    quality = texts.with_unit(texts.quality_interval(record, point), record.unit)
    dominated = ""
    if point.dominated:
        dominated = f" Another point of the front dominates it on {point.split}."
    alike = ""
    if point.alike:
        alike = f" The samples cannot tell it apart from {point.alike}."
    divergence = ""
    if point.divergence is not None:
        divergence = f"; divergence {texts.divergence_text(point.divergence)}"
    return {
        "label": point.label,
        "drop": record.drop(point),
        "dominated": point.dominated,
        "saved": (
            f"{_percent_saved(point)} % of the power saved at "
            f"{texts.quality_text(record, point.quality)}"
        ),
        "text": (
            f"{quality} on {point.split}; drop {drop} against {texts.baseline_name(record)}"
            f"{divergence}. "
            f"Relative power {texts.cost_text(point, 'rel_power', 3)}, area "
            f"{texts.cost_text(point, 'rel_area', 3)}, delay "
            f"{texts.cost_text(point, 'delay_ns', 2)} ns."
            f"{dominated}{alike}"
        ),
        "assignment": point.assignment,
        "href": quote(point.assignment),
        "layers": [[number[option.multiplier], int(option.swap)] for option in point.layers],
    }


def _percent_saved(point: Point) -> str:
    return texts.fixed(100 * (1 - point.rel_power), 1)


def _notices(record: RunRecord) -> str:
    return "\n".join(
        f'<p class="notice" role="note">{escape(notice)}</p>' for notice in texts.notices(record)
    )


def _legend(record: RunRecord) -> str:
    titles = {}
    if view.front_line(record):
        titles["point"] = texts.FRONT_TITLE
    if any(point.dominated for point in record.front):
        titles["point dominated"] = texts.dominated_title(record)
    if texts.has_alike(record):
        titles["alike"] = texts.alike_title(record)
    if compared := view.compared_points(record):
        prefix, _ = view.short_names([point.label for point in compared])
        titles["uniform"] = texts.uniform_title(prefix)
    titles["exact"] = texts.baseline_title(record)
    if record.has_uncorrected:
        titles["exact hollow"] = texts.exact_title(record)
    if record.float_quality is not None:
        titles["model"] = texts.float_title(record)
    if view.completed_trials(record):
        titles["search"] = texts.trials_title(record)
    return "\n".join(
        f'<li><svg class="{name}" viewBox="0 0 22 12" aria-hidden="true">{LEGEND_MARKS[name]}'
        f"</svg>{escape(title)}</li>"
        for name, title in titles.items()
    )


def _point_columns(record: RunRecord) -> list[str]:
    drop = texts.titled("Drop", texts.difference_unit(record))
    return [
        f"{texts.titled(texts.metric_title(record), record.unit)} [95 % interval]",
        f"{drop} [95 % interval]" if texts.has_paired_drops(record) else drop,
        "Relative power",
        "Power saved (%)",
        "Relative area",
        "Delay (ns)",
        *(["Relative power under data"] if texts.has_power_under_data(record) else []),
    ]


def _point_cells(record: RunRecord, point: Point) -> list[str]:
    return [
        texts.quality_interval(record, point),
        texts.drop_interval(record, point),
        texts.cost_text(point, "rel_power", 4),
        _percent_saved(point) + (" est." if "rel_power" in point.intervals else ""),
        texts.cost_text(point, "rel_area", 4),
        texts.cost_text(point, "delay_ns", 2),
        *([_power_under_data(point)] if texts.has_power_under_data(record) else []),
    ]


def _power_under_data(point: Point) -> str:
    power = point.rel_power_activity
    return "" if power is None else texts.fixed(power, 4)


def _front_table(record: RunRecord) -> str:
    if not record.front:
        return "<p>The front is empty.</p>"
    columns = [
        "Point",
        *_point_columns(record),
        texts.titled("On validation", record.unit),
        *(["Divergence", "Divergence on validation"] if texts.has_divergence(record) else []),
        "Status",
        "Assignment",
    ]
    return _table("front", columns, [_front_row(record, point) for point in record.front])


def _front_row(record: RunRecord, point: Point) -> str:
    seen = point.validation
    numbers = _point_cells(record, point)
    numbers.append("" if seen is None else texts.quality_number(record, seen.value))
    if texts.has_divergence(record):
        both = (point.divergence, point.validation_divergence)
        numbers += map(texts.divergence_text, both)
    numbers.append(_status(point))
    cells = f"{_head(point.label)}{_numbers(numbers)}"
    link = ""
    if point.assignment:
        link = f'<a href="{escape(quote(point.assignment))}" download>JSON</a>'
    row = f'{cells}<td class="number">{link}</td>'
    return f'<tr class="dominated">{row}</tr>' if point.dominated else f"<tr>{row}</tr>"


def _status(point: Point) -> str:
    if point.dominated:
        return "dominated"
    return f"front {texts.ALIKE} {point.alike}" if point.alike else "front"


def _uniform_table(record: RunRecord) -> str:
    if not record.uniform:
        return "<p>No uniform assignment was evaluated.</p>"
    return _table(
        "uniform",
        ["Multiplier", *_point_columns(record)],
        [
            _row(texts.multiplier_text(record, point.label), _point_cells(record, point))
            for point in record.uniform
        ],
    )


def _exact_table(record: RunRecord) -> str:
    name = texts.one_line(record.reference, 60)
    points = [(f"{name} (baseline)", record.reference_point)]
    if record.has_uncorrected:
        points = [
            (f"{name}, uncorrected", record.exact),
            (f"{name}, corrected (baseline)", record.reference_point),
        ]
    return _table(
        "exact",
        ["Exact multiplier", *_point_columns(record)],
        [_row(label, _point_cells(record, point)) for label, point in points],
    )


def _history(record: RunRecord) -> str:
    if not record.hypervolumes:
        return ""
    return (
        f'<h2>Search</h2>\n<p class="text">{escape(texts.history_text(record))}.</p>\n'
        f'<figure><p class="axis-title">{texts.HYPERVOLUME_AXIS}</p>\n{history_svg(record)}\n'
        f'<p class="axis-title x">{texts.TRIALS_AXIS}</p></figure>'
    )


def _settings_table(record: RunRecord) -> str:
    values = {
        "Model": record.model,
        "Data": record.data,
        "Metric": texts.titled(record.metric, record.unit),
        "Samples": f"validation {record.n_validation:,}, test {record.n_test:,}",
        "Emulated": texts.coverage_text(record),
        "Products in float": texts.left_out_text(record) or "none known",
        "Reference multiplier": record.reference,
        "Algorithm": texts.algorithm_text(record),
        "Options": ", ".join(f"{name} = {value}" for name, value in record.options.items()),
        "Seed": str(record.seed),
        "Budget": f"{record.budget:,}",
        "Evaluated": f"{record.n_evaluated:,}",
        "Answered from the store": f"{record.n_cached:,}",
        "Failed": f"{record.n_failed:,}",
        "Stopped because": record.stop_reason,
        "Duration": f"{record.seconds:,.1f} s" if record.seconds < 1e9 else "unknown",
    }
    if not record.options:
        del values["Options"]
    body = "\n".join(
        f"<tr>{_head(name)}<td>{escape(texts.one_line(text, texts.SETTING_CHARACTERS))}</td></tr>"
        for name, text in values.items()
    )
    remarks = "".join(f'\n<p class="text">{escape(text)}</p>' for text in record.remarks)
    return f'<table class="settings"><tbody>\n{body}\n</tbody></table>{remarks}'


def _table(name: str, columns: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table id="{name}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(label: str, numbers: Iterable[str]) -> str:
    return f"<tr>{_head(label)}{_numbers(numbers)}</tr>"


def _head(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _numbers(texts: Iterable[str]) -> str:
    return "".join(f'<td class="number">{escape(text)}</td>' for text in texts)
