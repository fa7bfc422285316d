"""``axopt export`` to a folder, and its ``--to``."""

import json

import pytest

from axopt import load_library
from axopt.model import Assignment
from axopt.model.assignment import LayerAssignment


@pytest.fixture
def point(tmp_path):
    multiplier = load_library(narrow=True)["v2022/mul8x2u_0AJ"]
    layers = {"fc": LayerAssignment(multiplier.key, multiplier.digest)}
    Assignment(layers).save(tmp_path / "point.json")
    return multiplier


def test_to_names_format_and_folder(axopt, point, tmp_path):
    done = axopt("export", "point.json", "--to", "verilog", "hardware", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "assignment": "point.json",
        "file": "hardware",
        "format": "verilog",
    }
    assert (tmp_path / "hardware" / "mul8x2u_0AJ.v").is_file()
    done = axopt("export", "point.json", "--format", "verilog", "--out", "hardware")
    assert (done.code, done.out) == (2, "")
    assert "hardware: exists already; --force replaces its files." in done.err
    done = axopt("export", "point.json", "--to", "verilog", "hardware", "--force")
    assert (done.code, done.out) == (0, "point.json is in hardware\n")


def test_the_library_may_be_given(axopt, point):
    load_library(narrow=True).select(names=["mul8x2u_0M1"]).save("lib")
    done = axopt("export", "point.json", "--to", "verilog", "out", "--library", "lib")
    assert done.code == 2
    assert "v2022/mul8x2u_0AJ, which is not in the library of 1 multipliers" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "`--out` must be given"),
        (("--to", "csv", "x.csv", "--out", "y.csv"), "`--to` names format and file"),
        (("--to", "csv", "x.csv", "--format", "csv"), "`--to` names format and file"),
        (("--to", "verilgo", "x"), "did you mean 'verilog'"),
        (("--to", "csv", ""), "`--to` must name a file"),
        (("--to", "verilog", "point.json"), "`path` must be a folder, point.json is a file"),
        (("--out", "folder"), "must end in one of .csv, .json"),
    ],
)
def test_words_that_do_not_fit(axopt, point, words, message):
    done = axopt("export", "point.json", *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
