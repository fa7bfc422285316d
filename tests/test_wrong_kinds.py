"""Arguments that should be paths, names or multipliers: other kinds are refused in one line."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from grid import each
from torch import nn

import axopt
from axopt.data import Dataset, Split, download_cifar10, load_data
from axopt.errors import ArgumentError, AxoptError
from axopt.evaluation import METRICS
from axopt.exploration import SearchSpace, Store, create_algorithm
from axopt.export import ExportInput, exporter_for, write_export
from axopt.files import as_path
from axopt.model import Assignment
from axopt.multipliers import add_to_library, export_multiplier, import_multiplier, read_tables
from axopt.report import example_record, export_csv, write_report
from axopt.study import RunFolder, SearchConfig
from axopt.zoo import load_model, load_weights_, model_card, register_model, task_metric

LIBRARY = axopt.load_library()
EXACT = LIBRARY["mul8s_1KV8"]


@pytest.fixture(scope="module")
def emulated():
    return axopt.prepare(nn.Linear(4, 2), torch.rand(8, 4))


@pytest.fixture(scope="module")
def data():
    split = Split(torch.rand(8, 4), torch.arange(8) % 2)
    return Dataset("x", "x", split, split, split, ("a", "b"))


def test_a_path_is_a_text_or_a_path_like():
    class Named:
        def __fspath__(self):
            return "folder/file"

    assert as_path("folder/file", "out") == as_path(Named(), "out") == Path("folder/file")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (5, "got int 5"),
        (None, "got NoneType None"),
        (["a"], r"got list \['a'\]"),
        (b"a", "got bytes b'a'"),
        ("a\0b", r"got str 'a\\x00b'"),
        (np.zeros((9, 99)), r"got ndarray array\(\[\[0"),
    ],
)
def test_what_is_no_path_is_refused(value, told):
    with pytest.raises(ArgumentError, match=f"^`out` must be a path .*, {told}") as raised:
        as_path(value, "out")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 160


OF_PATHS = {
    "load_library": ("path", lambda value, *_: axopt.load_library(value)),
    "save": ("directory", lambda value, *_: LIBRARY.save(value)),
    "add_to_library": ("directory", lambda value, *_: add_to_library(EXACT, value)),
    "import_multiplier": ("file", lambda value, *_: import_multiplier(value)),
    "read_tables": ("file", lambda value, *_: read_tables(value)),
    "export_multiplier": ("file", lambda value, *_: export_multiplier(EXACT, value)),
    "Assignment.load": ("path", lambda value, *_: Assignment.load(value)),
    "Assignment.save": ("path", lambda value, *_: Assignment({}).save(value)),
    "load_weights_": ("path", lambda value, *_: load_weights_(nn.Linear(4, 2), value)),
    "load_model": ("weights", lambda value, *_: load_model("digits_cnn", value)),
    "register_model": ("weights", lambda value, *_: register_model("other", weights=value)),
    "download_cifar10": ("directory", lambda value, *_: download_cifar10(value)),
    "export_csv": ("path", lambda value, *_: export_csv({"layers": {}}, value)),
    "write_report": ("out", lambda value, *_: write_report(example_record(), value)),
    "exporter_for": ("path", lambda value, *_: exporter_for(value)),
    "write_export": (
        "path",
        lambda value, *_: write_export(ExportInput(Assignment({})), value, format="csv"),
    ),
    "RunFolder": ("out", lambda value, *_: RunFolder(value)),
    "from_toml": ("path", lambda value, *_: SearchConfig.from_toml(value)),
    "Store.open": ("path", lambda value, *_: Store.open(value, {})),
    "Store.open_read_only": ("path", lambda value, *_: Store.open_read_only(value)),
    "save_retrained": ("folder", lambda value, emulated, _: axopt.save_retrained(emulated, value)),
    "load_retrained_": ("path", lambda value, emulated, _: axopt.load_retrained_(emulated, value)),
    "search": ("out", lambda value, emulated, data: axopt.search(emulated, data, out=value)),
    "retrain": (
        "checkpoint",
        lambda value, emulated, data: axopt.retrain(emulated, data, epochs=1, checkpoint=value),
    ),
}
MAY_BE_NONE = {"load_library", "load_model", "register_model", "search", "retrain"}


@pytest.mark.parametrize("name", OF_PATHS)
def test_arguments_that_are_paths_are_checked(name, emulated, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = emulated.digest
    argument, call = OF_PATHS[name]
    for value in (5, ["a"], b"a", "a\0b", *([] if name in MAY_BE_NONE else [None])):
        with pytest.raises(ArgumentError, match=f"^`{argument}` must be a path"):
            call(value, emulated, data)
    assert not os.listdir(tmp_path)
    assert emulated.digest == before


OF_NAMES = {
    "library[name]": lambda value: LIBRARY[value],
    "aliases": lambda value: LIBRARY.aliases(value),
    "select(names=[name])": lambda value: LIBRARY.select(names=[value]),
    "select(names=name)": lambda value: LIBRARY.select(names=value),
    "select(release=name)": lambda value: LIBRARY.select(release=value),
    "select(pareto=name)": lambda value: LIBRARY.select(pareto=value),
    "create_model": axopt.create_model,
    "load_model": load_model,
    "model_card": model_card,
    "task_metric": task_metric,
    "register_model": lambda value: register_model(value),
    "load_data": load_data,
    "METRICS[name]": lambda value: METRICS[value],
}


@pytest.mark.parametrize("call", OF_NAMES.values(), ids=OF_NAMES)
@each("value", [np.zeros(3), 5, {"a": 1}, b"x"])
def test_arguments_that_are_names_are_checked(call, value):
    with pytest.raises(AxoptError) as raised:
        call(value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [np.zeros(3), ["mul8s_1KV8"], 5])
def test_the_error_of_a_name_says_what_it_must_be(value):
    kind = type(value).__name__
    with pytest.raises(AxoptError, match=f"`name` must be the name of a multiplier.* got {kind}"):
        LIBRARY[value]
    with pytest.raises(AxoptError, match=f"`model` must be the name of a known model, got {kind}"):
        axopt.create_model(value)
    assert value not in LIBRARY
    assert value not in METRICS


@pytest.mark.parametrize("items", [5, None, [5], [np.zeros(3)], ["mul8s_1KV8"], "mul8s_1KV8"])
def test_a_library_is_made_of_multipliers(items):
    with pytest.raises(ArgumentError, match="`multipliers` must be .*multipliers, got "):
        axopt.MultiplierLibrary(items)
    with pytest.raises(ArgumentError, match="`multiplier` must be a Multiplier, got "):
        LIBRARY.with_multiplier(items)


@pytest.mark.parametrize("table", [EXACT.table, "mul8s_1KV8", None, 5, LIBRARY])
def test_a_product_is_computed_on_a_multiplier(table):
    matrix = np.ones((2, 2), np.int8)
    kind = type(table).__name__
    with pytest.raises(ArgumentError, match=f"^`multiplier` must be a Multiplier, got {kind}"):
        axopt.lut_gemm(matrix, matrix, table)


@pytest.mark.parametrize("name", [["nsga2"], np.zeros(2), 7])
def test_an_algorithm_is_a_name(name):
    with pytest.raises(ArgumentError, match="`algorithm` must be the name of a known algorithm, "):
        create_algorithm(name, SearchSpace(("a",), (2,)), n_objectives=2, seed=0)
