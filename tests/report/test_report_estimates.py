"""Estimated costs and operand widths in every output of a run."""

import json
import re
from dataclasses import replace

import pytest
from synthetic_records import make_record

from axopt.errors import AssignmentError, ReportError
from axopt.report import RunRecord, UsedMultiplier, assignment_csv, front_table
from axopt.report.page import report_html
from axopt.report.plot import pareto_png
from axopt.report.table import COLUMNS, front_csv

KEY = "user/narrow"


def estimated(record):
    """The record with an estimated power of its second point, and a narrow multiplier in it."""
    point = record.front[1]
    power = point.rel_power
    layers = tuple(replace(option, multiplier=KEY) for option in point.layers)
    changed = replace(point, layers=layers, intervals={"rel_power": (power - 0.02, power + 0.03)})
    used = UsedMultiplier(KEY, True, 4, 5, 0.1, 0.08, 0.13)
    other = UsedMultiplier(record.uniform[0].label, False, 8, 3, 0.1)
    front = (record.front[0], changed, *record.front[2:])
    return replace(record, front=front, multipliers=(used, other))


@pytest.fixture
def plain():
    return make_record()


@pytest.fixture
def marked(plain):
    return estimated(plain)


def test_record_with_estimates_reads_back_equal(marked):
    assert RunRecord.from_json(marked.to_json()) == marked


def test_record_of_an_earlier_version_has_neither_estimates_nor_widths(plain):
    document = json.loads(plain.to_json())
    del document["record"]["multipliers"]
    points = [
        document["record"][name] for name in ("exact", "baseline") if document["record"][name]
    ]
    for point in [*points, *document["record"]["front"], *document["record"]["uniform"]]:
        del point["intervals"]
    old = RunRecord.from_json(json.dumps(document))
    assert old == replace(plain, multipliers=())
    assert "est." not in report_html(old, {})


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ({"power": [0, 1]}, "must be of rel_power, rel_area, delay_ns, got 'power'"),
        ({"rel_power": 1}, r"must map names to \[low, high\]"),
        ({"rel_power": [0.1]}, r"must map names to \[low, high\]"),
        ({"rel_power": [50, 60]}, "must lie in its interval"),
        ({"rel_power": [0, "x"]}, "must hold finite numbers"),
    ],
)
def test_intervals_are_checked(plain, intervals, message):
    with pytest.raises(ReportError, match=message):
        replace(plain.front[0], intervals=intervals)


@pytest.mark.parametrize(
    ("ends", "message"),
    [((0.1, None), "both numbers or both null"), ((0.2, 0.3), "must lie in its interval")],
)
def test_power_of_a_used_multiplier_is_checked(ends, message):
    with pytest.raises(ReportError, match=message):
        UsedMultiplier(KEY, True, 4, 5, 0.1, *ends)


def test_table_and_csv_have_the_ends_of_estimates(plain, marked):
    assert list(front_table(plain).columns) == list(COLUMNS)
    table = front_table(marked)
    assert list(table.columns)[: len(COLUMNS)] == list(COLUMNS)
    low, high = marked.front[1].intervals["rel_power"]
    assert (table.rel_power_low[1], table.rel_power_high[1]) == (low, high)
    assert table.rel_power_low.isna().sum() == len(marked.front) - 1
    assert table.rel_area_low.isna().all()
    header, first, second = front_csv(marked).splitlines()[:3]
    assert header.endswith("coverage,alike," + ",".join(f"{n}_{e}" for n in ("rel_power", "rel_area", "delay_ns") for e in ("low", "high")))  # fmt: skip # noqa: E501
    assert second.endswith(f",{low!r},{high!r},,,,")
    assert first.endswith(",,,,,,")


def test_page_marks_estimates_and_shows_widths(plain, marked):
    assert "est." not in report_html(plain, {})
    page = report_html(marked, {})
    power = marked.front[1].rel_power
    assert f"{power:.4f} est. [{power - 0.02:.4f}, {power + 0.03:.4f}]" in page
    assert f"{marked.front[0].rel_power:.4f}</td>" in page
    assert f"{KEY} (4 x 5 bits) est." in page
    assert f"{marked.uniform[0].label} (8 x 3 bits)</th>" in page
    assert "are estimates, with their intervals" in page
    bars = re.findall(r'class="bar" d="M[\d.]+ [\d.]+V[\d.]+M', page)
    assert len(bars) == 1


def test_plot_draws_estimates(plain, marked):
    assert pareto_png(plain) == pareto_png(make_record())
    assert pareto_png(marked) != pareto_png(replace(marked, front=plain.front))


def test_layers_of_an_assignment_have_widths_where_one_is_narrow():
    wide = {"multiplier": "v1/a", "digest": "0f", "swap": False}
    narrow = {**wide, "bits": [4, 5]}
    assert (
        assignment_csv({"layers": {"x": wide}}).splitlines()[0] == "layer,multiplier,digest,swap"
    )
    lines = assignment_csv({"layers": {"x": wide, "y": narrow}}).splitlines()
    assert lines == [
        "layer,multiplier,digest,swap,bits_a,bits_w",
        "x,v1/a,0f,false,8,8",
        "y,v1/a,0f,false,4,5",
    ]
    with pytest.raises(AssignmentError, match="`bits` of an assignment must be two integers"):
        assignment_csv({"layers": {"x": {**wide, "bits": 4}}})
