"""The folder of an assignment in Verilog."""

import csv
import json

import numpy as np
import pytest
import torch

from axopt import Multiplier, load_library, prepare
from axopt.circuits import add_circuit_to_library, generate, multiplier_of
from axopt.circuits.formats.simulation import has_simulator
from axopt.errors import ArgumentError, AssignmentError, CircuitError, RunExistsError
from axopt.export import ExportInput, export_bytes, exporter_for, write_export
from axopt.export.exporter import EXPORTERS, register_exporter
from axopt.model import Assignment, assign_, current_assignment
from axopt.model.assignment import LayerAssignment
from axopt.multipliers import add_to_library, read_tables

LIBRARY = load_library(narrow=True)


def layer(name, swap=False):
    multiplier = LIBRARY[name]
    return LayerAssignment(multiplier.key, multiplier.digest, swap)


def rows(file):
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


@pytest.fixture
def no_check(monkeypatch):
    """Modules are read by nothing: what the folder says is tested, not the circuits."""
    monkeypatch.setattr("axopt.circuits.check_export", lambda *args, **options: "a test")


def test_the_folder_has_a_module_per_multiplier_and_a_row_per_layer(tmp_path, no_check):
    layers = {
        "conv/1~": layer("v1/mul8s_1KV8"),
        "fc": layer("v2022/mul8s_1KV8", swap=True),
        "head": layer("v1/mul8s_1KV8"),
        "=tail": layer("v2022/mul8x2u_0AJ"),
    }
    given = ExportInput(Assignment(layers, quantisation={"conv/1~": {}}))
    assert write_export(given, tmp_path / "out", format="verilog") == "verilog"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "assignment.json",
        "layers.csv",
        "mul8s_1KV8.v",
        "mul8s_1KV8_v2022.v",  # another table of the same name
        "mul8x2u_0AJ.v",
        "multipliers.csv",
    ]
    table = {row["layer"]: row for row in rows(tmp_path / "out" / "layers.csv")}
    assert list(table) == ["conv/1~", "fc", "head", "'=tail"]
    assert table["conv/1~"]["parameters"] == "assignment.json#/quantisation/conv~11~0"
    assert table["head"]["parameters"] == ""
    assert (table["fc"]["module"], table["fc"]["a"], table["fc"]["b"]) == (
        "mul8s_1KV8_v2022",
        "weight",
        "activation",
    )
    assert (table["head"]["a"], table["head"]["signed"]) == ("activation", "true")
    assert (table["'=tail"]["bits_a"], table["'=tail"]["bits_b"]) == ("8", "2")
    modules = {row["multiplier"]: row for row in rows(tmp_path / "out" / "multipliers.csv")}
    assert modules["v1/mul8s_1KV8"]["layers"] == "2"
    assert modules["v1/mul8s_1KV8"]["power_mw"] == "0.425"
    assert {row["checked_by"] for row in modules.values()} == {"a test"}
    assert Assignment.load(tmp_path / "out" / "assignment.json").layers == layers
    assert "module mul8s_1KV8_v2022 (" in (tmp_path / "out" / "mul8s_1KV8_v2022.v").read_text()
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "4 layers, 3 distinct multipliers. All products of all modules" in readme


@pytest.mark.skipif(not has_simulator(), reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("correct", [False, True])
def test_the_text_of_the_folder_determines_the_results_of_a_layer(correct, tmp_path):
    """A layer computed in NumPy as README.md tells, from the module and the parameters."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 3))
    data = torch.rand(32, 6) - 0.3
    emulated = prepare(model, data)
    netlist = generate("exact", bits_a=5, bits_w=4, signed=True)
    mine = multiplier_of(netlist, "mine")
    add_circuit_to_library(mine, netlist, tmp_path / "lib")
    assign_(emulated, mine, correct=correct)
    given = ExportInput(current_assignment(emulated), library=tmp_path / "lib")
    write_export(given, tmp_path / "out", format="verilog")
    [row] = rows(tmp_path / "out" / "layers.csv")
    [found] = read_tables(tmp_path / "out" / row["file"], signed=row["signed"] == "true")
    bits = int(row["bits_a"]), int(row["bits_b"])
    document = json.loads((tmp_path / "out" / "assignment.json").read_text())
    formats = document["quantisation"][row["parameters"].rpartition("/")[2]]

    def codes(x, entry):
        step = entry.get("step", 1)
        level = np.round(x / np.float32(entry["scale"])) + entry["zero_point"]
        level = np.clip(level, 0, 256 // step - 1).astype(int)
        table = entry.get("codes")
        return np.frombuffer(bytes.fromhex(table), np.uint8)[level] if table else level * step

    linear = model[0]
    weight = {**formats["weight"]}
    if isinstance(weight["scale"], list):
        weight["scale"] = np.array(weight["scale"])[:, None]
        weight["zero_point"] = np.array(weight["zero_point"])[:, None]
    a = codes(data.numpy(), formats["activation"])
    w = codes(linear.weight.detach().numpy(), weight)
    assert (row["a"], row["b"]) == ("activation", "weight")
    products = found.table[a[:, None, :] >> (8 - bits[0]), w[None] >> (8 - bits[1])]
    sums = products.sum(-1) * 2 ** (16 - sum(bits))
    z_a = formats["activation"]["zero_point"] * formats["activation"].get("step", 1) - 128
    z_w = weight["zero_point"] * weight.get("step", 1) - 128
    z_w = np.broadcast_to(z_w, (3, 1))[:, 0]
    sums = sums - z_w * (a - 128).sum(-1)[:, None] - z_a * (w - 128).sum(-1) + 6 * z_a * z_w
    units = [
        np.asarray(entry["scale"]).reshape(-1) / entry.get("step", 1)
        for entry in (formats["activation"], weight)
    ]
    gain, shift = np.array(formats.get("gain", 1.0)), np.array(formats.get("shift", 0.0))
    result = sums * units[0] * units[1] * gain + linear.bias.detach().numpy() + shift
    assert result == pytest.approx(emulated(data).detach().numpy(), rel=1e-4, abs=1e-5)


def test_a_library_that_does_not_fit_is_refused(tmp_path):
    table = LIBRARY["mul8s_1L2H"].table
    figures = {"power_mw": 1, "area_um2": 1, "delay_ns": 1}
    mine = Multiplier.from_table("mine", table, signed=True, **figures)
    used = LayerAssignment(mine.key, mine.digest)
    given = ExportInput(Assignment({"fc": used}))
    with pytest.raises(AssignmentError, match="'fc' uses user/mine, which is not in the library"):
        write_export(given, tmp_path / "out", format="verilog")
    add_to_library(mine, tmp_path / "lib")
    given = ExportInput(Assignment({"fc": used}), library=tmp_path / "lib")
    with pytest.raises(CircuitError, match="user/mine, which has a table but no gate list"):
        write_export(given, tmp_path / "out", format="verilog")
    other = LayerAssignment("v1/mul8s_1L2H", "ab" * 32)
    given = ExportInput(Assignment({"fc": other}))
    with pytest.raises(AssignmentError, match=r"with the table abab\w+\.\.\., the library has"):
        write_export(given, tmp_path / "out", format="verilog")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lib"]  # no folder, no rest


def test_the_library_is_that_of_the_assignment_unless_given(tmp_path, no_check):
    netlist = generate("exact", bits_a=2, bits_w=2)
    mine = multiplier_of(netlist, "mine")
    add_circuit_to_library(mine, netlist, tmp_path / "lib")
    layers = {"fc": LayerAssignment(mine.key, mine.digest)}
    assignment = Assignment(layers, model={"library": str(tmp_path / "lib")})
    write_export(ExportInput(assignment), tmp_path / "out", format="verilog")
    [row] = rows(tmp_path / "out" / "multipliers.csv")
    assert row["estimated"] == "power_mw area_um2 delay_ns"


@pytest.fixture
def folders():
    @register_exporter("parts", summary="two files", writes_folder=True)
    def parts(given, folder):
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("new")
        (folder / "b.txt").write_text("new")
        if "fail" in given.assignment.layers:
            raise OSError("disk full")

    yield
    EXPORTERS.remove("parts")


def test_a_folder_is_replaced_only_by_force(tmp_path, folders):
    given, out = ExportInput(Assignment({})), tmp_path / "out"
    out.mkdir()
    write_export(given, out, format="parts")  # an empty folder is as good as none
    (out / "b.txt").write_text("old")
    (out / "own.txt").write_text("mine")
    with pytest.raises(RunExistsError, match="out: exists already"):
        write_export(given, out, format="parts")
    assert (out / "b.txt").read_text() == "old"
    write_export(given, out, format="parts", force=True)
    assert (out / "b.txt").read_text() == "new"
    assert (out / "own.txt").read_text() == "mine"
    assert (out / "sub" / "a.txt").read_text() == "new"
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ArgumentError, match="`path` must be a folder"):
        write_export(given, file, format="parts", force=True)
    assert file.read_text() == "precious"
    with pytest.raises(FileNotFoundError):
        write_export(given, tmp_path / "none" / "out", format="parts")


def test_an_exporter_that_fails_leaves_no_folder(tmp_path, folders):
    given = ExportInput(Assignment({"fail": layer("mul8s_1L2H")}))
    with pytest.raises(OSError, match="disk full"):
        write_export(given, tmp_path / "out", format="parts")
    assert not list(tmp_path.iterdir())


def test_a_folder_has_no_suffix_and_no_bytes(tmp_path, folders):
    given = ExportInput(Assignment({}))
    with pytest.raises(ArgumentError, match="writes a folder"):
        export_bytes(given, "parts")
    with pytest.raises(ArgumentError, match="must end in one of"):
        exporter_for("parts")
    with pytest.raises(ArgumentError, match="`suffix` must be empty for a folder"):
        register_exporter("x", suffix=".x", summary="x", writes_folder=True)(lambda g, f: None)
    with pytest.raises(ArgumentError, match="`writes_path` and `writes_folder`"):
        register_exporter("x", summary="x", writes_folder=True, writes_path=True)(lambda: None)
