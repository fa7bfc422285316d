"""The hypervolume after each trial, in record, picture and page."""

import json
from dataclasses import replace

import pytest

from axopt.errors import ReportError
from axopt.report import RunRecord, write_report
from axopt.report.history import history_png, history_svg, steps
from axopt.report.page import report_html


@pytest.fixture(scope="module")
def watched(full_record):
    values = (0.0, 0.0, 0.5, 0.5, 0.995, 1.0, 1.0)
    return replace(full_record, trials=full_record.trials[:7], hypervolumes=values)


def test_steps_are_where_the_hypervolume_changes(watched):
    assert steps(watched) == [(0, 0.0), (3, 0.5), (5, 0.995), (6, 1.0), (7, 1.0)]


def test_page_has_the_history_and_says_when_most_was_reached(record, watched):
    page = report_html(watched, {})
    text = "up to divergence 0.2, rel_power 1: 1; 99 % after 5 of 7 evaluations"
    assert page.count(text) == 2  # above the picture, and as its label
    assert page.count('class="history"') == 1
    assert 'id="history"' not in report_html(record, {})


def test_path_of_the_svg_ends_at_the_right_edge(watched):
    path = history_svg(watched).split('class="history" d="')[1].split('"')[0]
    assert path.count("V") == len(steps(watched))
    assert path.split("H")[-1].startswith("746.0V")


def test_a_history_without_volume_is_drawn(watched):
    flat = replace(watched, hypervolumes=(0.0,) * 7)
    assert history_png(flat).startswith(b"\x89PNG")
    assert "V164.0" in history_svg(flat)


def test_history_is_written_where_there_is_one(record, watched, tmp_path):
    write_report(record, tmp_path, assignments={})
    assert not (tmp_path / "history.png").exists()
    write_report(watched, tmp_path, assignments={})
    assert (tmp_path / "history.png").read_bytes() == history_png(watched)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corner": (0.2,)}, "one value an objective"),
        ({"corner": ()}, "both none, got 0 and 7"),
        ({"hypervolumes": (1.0,)}, "one a trial"),
        ({"hypervolumes": (float("nan"),) * 7}, r"hypervolumes\[0\]"),
        ({"corner": ("a", 1.0)}, r"corner\[0\]"),
        ({"objectives": (1, 2)}, r"objectives\[0\]"),
    ],
)
def test_history_has_rules(watched, changes, message):
    with pytest.raises(ReportError, match=message):
        replace(watched, **changes)


def test_record_reads_back_with_its_history(watched):
    assert RunRecord.from_json(watched.to_json()) == watched
    document = json.loads(watched.to_json())
    for name in ("corner", "hypervolumes", "objectives"):
        del document["record"][name]
    assert RunRecord.from_json(json.dumps(document)).hypervolumes == ()
