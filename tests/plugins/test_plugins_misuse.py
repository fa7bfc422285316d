"""What users register is checked, and what fails later is named: no bare Python error."""

import numpy as np
import pytest
import torch
from torch import nn

import axopt
from axopt.data import Split
from axopt.errors import ArgumentError, AxoptError, DatasetError, LutFormatError, PluginError
from axopt.evaluation import METRICS, Metric
from axopt.exploration import Algorithm, Store, create_algorithm, run_search
from axopt.exploration.algorithms import ALGORITHMS
from axopt.exploration.testing import TinyProblem
from axopt.export import ExportInput, write_export
from axopt.export.exporter import EXPORTERS
from axopt.layers import LayerSpec
from axopt.layers.specs import LAYERS, spec_named
from axopt.model import Assignment
from axopt.multipliers import Imported, export_multiplier, import_multiplier, register_table_writer
from axopt.multipliers.formats.registry import IMPORTERS, TABLE_WRITERS
from axopt.problem.objectives import figure_of, value_of
from axopt.study import OBJECTIVES

TABLE = np.arange(256)[:, None] * np.arange(256)
FIGURES = {"power_mw": 1.0, "area_um2": 1.0, "delay_ns": 1.0}


class Dense(nn.Linear):
    """A kind of layer of its own."""


def fails(*_, **__):
    raise RuntimeError("boom")


@pytest.fixture
def split():
    return Split(torch.rand(20, 4), torch.arange(20) % 3)


@pytest.fixture(autouse=True)
def forgotten():
    """Forget what a test registers."""
    registries = (METRICS, OBJECTIVES, ALGORITHMS, LAYERS, EXPORTERS, IMPORTERS, TABLE_WRITERS)
    yield
    for registry in registries:
        if "own" in registry:
            registry.remove("own")


@pytest.mark.parametrize("name", ["a,b", "two\nlines", " left", "\x00"])
def test_names_that_a_flag_cannot_take_are_refused(name):
    with pytest.raises(ArgumentError, match="`name` of the metric must be printable"):
        axopt.register_metric(name, fails, higher_is_better=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"higher_is_better": "no"}, "`higher_is_better` must be a bool, got 'no'"),
        ({"title": 5}, "`title` must be a printable text, got 5"),
        ({"unit": None}, "`unit` must be a printable text, got None"),
        ({"best": float("nan")}, "`best` must be a finite number or None, got nan"),
    ],
)
def test_fields_of_a_metric_are_checked(fields, message):
    with pytest.raises(ArgumentError, match=message):
        axopt.register_metric("own", fails, **{"higher_is_better": True, **fields})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ({"of_samples": lambda o: o}, "`of_samples` failed with TypeError"),
        ({"of_samples": lambda o, t: o.to_sparse()}, "a dense tensor of real numbers"),
        ({"of_samples": lambda o, t: o + 1j}, "a dense tensor of real numbers"),
        ({"of_samples": lambda o, t: t.zero_()[:, None]}, "must not change the targets"),
        ({"of_all": lambda kept: None}, "`of_all` failed with TypeError"),
        ({"of_all": lambda kept: kept}, "`of_all` failed with "),
        ({"interval": lambda kept: 1.0}, "`interval` failed with TypeError"),
        ({"interval": lambda kept: (float("nan"), 1.0)}, "finite lower and upper bound"),
        ({"interval": lambda kept: (2.0, 1.0)}, "finite lower and upper bound"),
    ],
)
def test_functions_of_a_metric_are_named(function, message, split):
    good = {"of_samples": lambda o, t: o, "interval": None, "higher_is_better": True}
    metric = Metric(name="own", **{**good, **function})
    with pytest.raises((PluginError, DatasetError), match=f"metric 'own': .*{message}"):
        axopt.evaluate(nn.Identity(), split, metric)


def test_an_interval_holds_the_value(split):
    metric = Metric(
        name="own", of_samples=lambda o, t: o, interval=lambda k: (5.0, 6.0), higher_is_better=True
    )
    measured = axopt.evaluate(nn.Identity(), split, metric)
    assert (measured.low, measured.high) == (measured.value, 6.0)


def test_functions_of_an_objective_that_fail_are_named():
    objective = axopt.register_objective(
        "own", fails, title="own", unit="", multiplier_figure=fails
    )
    with pytest.raises(PluginError, match="objective 'own': `function` failed with Run.*boom"):
        value_of(objective, None)
    with pytest.raises(PluginError, match="objective 'own': `multiplier_figure` failed with Run"):
        figure_of(objective, axopt.load_library()["mul8s_1KV8"])


@pytest.mark.parametrize("method", ["__init__", "ask", "tell"])
def test_an_algorithm_that_fails_is_named(method):
    good = {"ask": lambda self: [(0, 1)], "tell": lambda self, genes, objectives: None}
    axopt.register_algorithm("own")(type("own", (Algorithm,), {**good, method: fails}))
    problem = TinyProblem((3, 3))

    def search():
        algorithm = create_algorithm("own", problem.space, n_objectives=2)
        run_search(problem, algorithm, Store.in_memory(), budget=5)

    with pytest.raises(PluginError, match=f"algorithm 'own': `{method}` failed with Run.*boom"):
        search()


def test_an_abstract_algorithm_is_refused():
    with pytest.raises(ArgumentError, match="must define `ask` and `tell`"):
        axopt.register_algorithm("own")(type("Half", (Algorithm,), {"ask": fails}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modules": Dense}, "`modules` of the layer kind 'own' must be a tuple"),
        ({"modules": ()}, "`modules` of the layer kind 'own' must be a tuple"),
        ({"modules": ("Dense",)}, "`modules` of the layer kind 'own' must be a tuple"),
        ({"build": 3}, "`build` of the layer kind 'own' must be a function"),
        ({"fold": 3}, "`fold` of the layer kind 'own' must be a function"),
        ({"build": fails}, "layer kind 'own': `build` failed with RuntimeError: boom"),
        ({"build": lambda m, x, **k: m}, "must return an EmulatedLayer, got Dense"),
        ({"macs": fails}, "layer kind 'own': `macs` failed with RuntimeError: boom"),
        ({"macs": lambda m, x, y: 2.5}, "must return an integer of at least 0, got 2.5"),
        ({"macs": lambda m, x, y: -1}, "must return an integer of at least 0, got -1"),
    ],
)
def test_kinds_of_layers_are_checked(fields, message, split):
    linear = spec_named("linear")
    good = {"modules": (Dense,), "build": linear.build, "macs": linear.macs}

    def prepare():
        axopt.register_layer(LayerSpec("own", **{**good, **fields}))
        axopt.prepare(nn.Sequential(Dense(4, 3)), split.batches(20))

    with pytest.raises((ArgumentError, PluginError), match=message):
        prepare()


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (fails, "importer 'own': failed with RuntimeError: boom"),
        (lambda path: [], "importer 'own': failed with TypeError"),
        (lambda path, signed: None, "must return a list of `Imported`, got None"),
        (lambda path, signed: [TABLE], "must return a list of `Imported`"),
        (lambda path, signed: [Imported(torch.tensor(TABLE), False)], "NumPy array, got Tensor"),
    ],
)
def test_importers_are_checked(read, message, tmp_path):
    (tmp_path / "m.own").touch()
    axopt.register_importer("own", suffixes=(".own",))(read)
    with pytest.raises((LutFormatError, PluginError), match=message):
        import_multiplier(tmp_path / "m.own", name="m", **FIGURES)


@pytest.mark.parametrize("arguments", [{"suffixes": 3}, {"suffixes": (3,)}, {"title": 3}])
def test_arguments_of_an_importer_are_checked(arguments):
    with pytest.raises(ArgumentError, match=f"`{next(iter(arguments))}` must be"):
        axopt.register_importer("own", **{"suffixes": (".own",), **arguments})(fails)


@pytest.mark.parametrize("write", [fails, lambda table, signed: "text"])
def test_table_writers_are_checked(write, tmp_path):
    register_table_writer("own", suffixes=(".own",))(write)
    with pytest.raises(AxoptError, match="table writer 'own'"):
        export_multiplier(axopt.load_library()["mul8s_1L2H"], tmp_path / "m.own")
    assert not (tmp_path / "m.own").exists()


@pytest.mark.parametrize("writes_path", [False, True])
def test_exporters_that_fail_are_named(writes_path, tmp_path):
    register = axopt.register_exporter
    register("own", suffix=".own", summary="own", writes_path=writes_path)(fails)
    with pytest.raises(PluginError, match="exporter 'own': failed with RuntimeError: boom"):
        write_export(ExportInput(Assignment({})), tmp_path / "x.own")


def test_a_suffix_is_no_path():
    with pytest.raises(ArgumentError, match="`suffix` must be a dot and letters"):
        axopt.register_exporter("own", suffix="./../x", summary="own")(fails)
