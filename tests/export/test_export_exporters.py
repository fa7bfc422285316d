import csv
import io
import json
import subprocess
import sys

import pytest

from axopt.errors import ArgumentError, AssignmentError, ReportError, RunExistsError
from axopt.export import (
    EXPORTERS,
    Exporter,
    ExportInput,
    export_bytes,
    exporter_for,
    get_exporter,
    list_exporters,
    register_exporter,
    write_export,
)
from axopt.model import Assignment
from axopt.model.assignment import LayerAssignment
from axopt.report import example_record

LAYERS = {
    "z, first": LayerAssignment("v1/mul8s_1L2H", "ab", swap=True),
    "a": LayerAssignment("v1/mul8s_1KV8", "cd"),
}


@pytest.fixture
def given():
    record = example_record()
    metrics = {"test": {"value": 99.2}}
    return ExportInput(Assignment(LAYERS, metrics=metrics), record, record.front[0])


@pytest.fixture
def forget():
    """Names to forget after the test."""
    names = []
    yield names.append
    for name in names:
        EXPORTERS.remove(name)


def test_json_is_what_axopt_reads(given, tmp_path):
    assert write_export(given, tmp_path / "point.json") == "json"
    again = Assignment.load(tmp_path / "point.json")
    assert again.layers == LAYERS
    assert again.metrics == given.assignment.metrics
    assert (tmp_path / "point.json").read_text() == given.assignment.to_json()


def test_csv_has_one_row_per_layer_in_order(given):
    rows = list(csv.reader(io.StringIO(export_bytes(given, "csv").decode())))
    assert rows == [
        ["layer", "multiplier", "digest", "swap"],
        ["z, first", "v1/mul8s_1L2H", "ab", "true"],
        ["a", "v1/mul8s_1KV8", "cd", "false"],
    ]


def test_layers_come_from_the_record(given):
    assert [layer.name for layer in given.layers] == ["conv", "fc"]
    assert ExportInput(given.assignment).layers == ()


def test_the_suffix_chooses_the_format(forget):
    @register_exporter("packed", suffix=".csv.gz", summary="csv, compressed")
    def packed(given):
        return b""

    forget("packed")
    assert exporter_for("a/point.CSV").name == "csv"
    assert exporter_for("a.csv.gz").name == "packed"
    with pytest.raises(ArgumentError, match=r"`path` must end in one of \.csv, \.json.*'a\.xml'"):
        exporter_for("a.xml")


def test_an_existing_file_is_replaced_only_by_force(given, tmp_path):
    file = tmp_path / "point.csv"
    file.write_text("old")
    with pytest.raises(RunExistsError, match=r"point\.csv"):
        write_export(given, file)
    assert file.read_text() == "old"
    write_export(given, file, force=True)
    assert file.read_text().startswith("layer,")


def test_an_exporter_may_write_to_a_path(given, tmp_path, forget):
    @register_exporter("blob", suffix=".bin", summary="zeros", writes_path=True)
    def blob(given, path):
        path.write_bytes(bytes(len(given.assignment.layers)))

    forget("blob")
    write_export(given, tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == b"\0\0"
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]


def test_an_exporter_that_fails_leaves_the_old_file(given, tmp_path, forget):
    @register_exporter("broken", suffix=".broken", summary="raises")
    def broken(given):
        raise AssignmentError("no such layer")

    @register_exporter("nothing", suffix=".nothing", summary="writes no file", writes_path=True)
    def nothing(given, path):
        pass

    @register_exporter("wrong", suffix=".wrong", summary="returns a number")
    def wrong(given):
        return 3

    @register_exporter("torn", suffix=".torn", summary="returns half a character")
    def torn(given):
        return "\ud800"

    for name, error, message in [
        ("broken", AssignmentError, "no such layer"),
        ("nothing", ArgumentError, "must write the file"),
        ("wrong", ArgumentError, "'wrong' must return a text or bytes, got int"),
        ("torn", ReportError, "torn text must be valid Unicode"),
    ]:
        forget(name)
        file = tmp_path / f"old.{name}"
        file.write_text("old")
        with pytest.raises(error, match=message):
            write_export(given, file, force=True)
        assert file.read_text() == "old"


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"suffix": "csv"}, "suffix"), ({"suffix": "."}, "suffix"), ({"summary": " "}, "summary")],
)
def test_registration_has_rules(changes, field):
    words = {"suffix": ".x", "summary": "a line", **changes}
    with pytest.raises(ArgumentError, match=f"`{field}` must be"):
        register_exporter("x", **words)(lambda given: "")
    assert "x" not in list_exporters()


def test_a_name_is_given_once():
    with pytest.raises(ArgumentError, match="`name` must be a new exporter, got 'csv'"):
        register_exporter("csv", suffix=".csv", summary="mine")(lambda given: "")
    assert get_exporter("csv").summary.startswith("one row per layer")


def test_an_unknown_format_is_answered_with_near_misses(given):
    with pytest.raises(ArgumentError, match="`format` must be a known exporter.*'json'"):
        export_bytes(given, "jsn")


def test_a_plain_function_is_no_exporter(forget):
    EXPORTERS.add("plain", print)
    forget("plain")
    with pytest.raises(ArgumentError, match="'plain' must be registered with `register_exporter`"):
        get_exporter("plain")


def test_importing_the_room_is_cheap():
    code = (
        "import sys, axopt.export\n"
        "axopt.export.get_exporter('csv'), axopt.export.get_exporter('json')\n"
        "heavy = {'pandas', 'matplotlib', 'numpy', 'torch'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_exporter_is_a_value():
    one = Exporter("x", print, ".x", "x")
    assert one == Exporter("x", print, ".x", "x")


def test_numbers_that_json_lacks_are_refused_by_name(given):
    document = json.loads(given.assignment.to_json())
    text = json.dumps(document).replace("99.2", "1e999")
    with pytest.raises(AssignmentError, match=r"`metrics\.test\.value` must be a finite number"):
        Assignment.from_json(text)
    broken = Assignment(LAYERS, cost={"rel_power": [float("nan")]})
    with pytest.raises(AssignmentError, match=r"`cost\.rel_power\[0\]` must be a finite number"):
        export_bytes(ExportInput(broken), "json")
