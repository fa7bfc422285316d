import csv
import io
import json
from dataclasses import replace

import pytest
from synthetic_records import make_record

from axopt.errors import AssignmentError
from axopt.report import assignment_csv, export_csv, front_table
from axopt.report.table import front_csv

COLUMNS = [
    "point",
    "quality",
    "quality_low",
    "quality_high",
    "rel_power",
    "rel_area",
    "delay_ns",
    "assignment",
    "split",
    "drop",
    "drop_low",
    "drop_high",
    "dominated",
    "coverage",
    "alike",
]
NUMBERS = COLUMNS[1:7]


def test_front_table_has_exactly_the_fixed_columns(record):
    table = front_table(record)
    assert list(table.columns) == COLUMNS
    assert len(table) == len(record.front)
    assert list(table["point"]) == [point.label for point in record.front]
    assert list(table["quality_low"]) == [point.quality_low for point in record.front]


def test_front_table_says_what_was_measured(record, full_record):
    table = front_table(full_record)
    assert list(table["drop_high"]) == [point.drop_high for point in full_record.front]
    assert list(table["dominated"]) == [point.dominated for point in full_record.front]
    assert table["dominated"].dtype == "bool"
    assert table["dominated"].any()
    assert set(table["coverage"]) == {full_record.coverage}
    assert front_table(record)[["drop", "drop_low", "coverage"]].isna().all(axis=None)


def test_csv_leaves_what_was_not_measured_empty(record, full_record):
    row = next(csv.DictReader(front_csv(record).splitlines()))
    assert (row["drop"], row["drop_low"], row["coverage"]) == ("", "", "")
    assert row["dominated"] == "false"
    rows = list(csv.DictReader(front_csv(full_record).splitlines()))
    assert [float(row["drop"]) for row in rows] == [point.drop for point in full_record.front]
    assert {row["dominated"] for row in rows} == {"true", "false"}
    assert {row["coverage"] for row in rows} == {"0.9749"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_holds_no_formulas(record, start):
    text = f"{start}cmd|' /C calc'!A0"
    point = replace(record.front[0], label=text)
    (row,) = csv.DictReader(io.StringIO(front_csv(replace(record, front=(point,))), newline=""))
    safe = "'" + text.replace("\r", "\n")
    assert row["point"] == safe
    layers = {text: {"multiplier": text, "digest": "-1", "swap": False}}
    table = csv.reader(io.StringIO(assignment_csv({"layers": layers}), newline=""))
    assert list(table)[1] == [safe, safe, "'-1", "false"]


def test_csv_leaves_negative_numbers_alone(full_record):
    point = replace(full_record.front[0], drop=-0.5, drop_low=-1.0, drop_high=0.0)
    text = front_csv(replace(full_record, front=(point,)))
    assert ",-0.5,-1.0,0.0," in text


def test_empty_front_keeps_columns_and_types():
    table = front_table(make_record(n_front=0))
    assert list(table.columns) == COLUMNS
    assert len(table) == 0
    assert all(table[name].dtype == "float64" for name in NUMBERS)
    assert front_csv(make_record(n_front=0)) == ",".join(COLUMNS) + "\n"


def test_csv_numbers_read_back_exactly(record):
    rows = list(csv.DictReader(front_csv(record).splitlines()))
    for row, point in zip(rows, record.front, strict=True):
        for name in NUMBERS:
            assert row[name] == repr(getattr(point, name))
            assert float(row[name]) == getattr(point, name)
        assert row["assignment"] == point.assignment
        assert row["split"] == "test"


ASSIGNMENT = {
    "schema": 1,
    "layers": {
        "z, first": {"multiplier": "v1/mul8s_1L2H", "digest": "ab", "swap": True, "scale": 1.5},
        "a": {"multiplier": "v1/mul8s_1KV8", "digest": "cd", "swap": False},
    },
}


def test_export_csv_writes_one_row_a_layer_in_order(tmp_path):
    export_csv(ASSIGNMENT, tmp_path / "point.csv")
    with open(tmp_path / "point.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["layer", "multiplier", "digest", "swap"],
            ["z, first", "v1/mul8s_1L2H", "ab", "true"],
            ["a", "v1/mul8s_1KV8", "cd", "false"],
        ]


@pytest.mark.parametrize(
    ("layer", "value"), [("swap", 1), ("digest", None), ("multiplier", 3), ("swap", "true")]
)
def test_export_csv_refuses_damaged_layers(tmp_path, layer, value):
    damaged = json.loads(json.dumps(ASSIGNMENT))
    damaged["layers"]["a"][layer] = value
    with pytest.raises(AssignmentError, match="layer 'a' of an assignment must have"):
        export_csv(damaged, tmp_path / "point.csv")
    assert list(tmp_path.iterdir()) == []


def test_export_csv_refuses_an_assignment_without_layers(tmp_path):
    with pytest.raises(AssignmentError, match="`layers` of an assignment must be an object"):
        export_csv({"schema": 1}, tmp_path / "point.csv")


def test_neighbours_that_cannot_be_told_apart_are_marked(full_record):
    table = front_table(full_record)
    assert not table["alike"].any()
    first, second, *others = full_record.front
    marked = replace(full_record, front=(replace(first, alike=second.label), second, *others))
    assert list(front_table(marked)["alike"]) == [True, *[False] * (len(others) + 1)]
    assert next(csv.DictReader(front_csv(marked).splitlines()))["alike"] == "true"


def test_divergences_follow_where_they_were_measured(record):
    assert "divergence" not in front_table(record).columns
    first, *others = record.front
    measured = replace(first, divergence=0.25, validation_divergence=0.125)
    table = front_table(replace(record, front=(measured, *others)))
    assert list(table.columns[-2:]) == ["divergence", "validation_divergence"]
    assert (table.divergence[0], table.validation_divergence[0]) == (0.25, 0.125)
    assert table.divergence[1:].isna().all()
