"""``axopt multipliers export`` to circuits, and the comparison of what it writes."""

import json

import pytest

from axopt import Multiplier
from axopt.circuits import generate, save_netlists
from axopt.circuits.formats.simulation import has_simulator
from axopt.circuits.formats.yosys import Engine
from axopt.errors import MissingPackageError
from axopt.multipliers import add_to_library

FIGURES = {"power_mw": 0.1, "area_um2": 200, "delay_ns": 1.0}


@pytest.fixture
def narrow(tmp_path):
    """A library of an own multiplier with a gate list and one without."""
    netlist = generate("exact", bits_a=3, bits_w=4, signed=True)
    for name in ("mine", "table"):
        multiplier = Multiplier.from_table(name, netlist.table(), signed=True, **FIGURES)
        add_to_library(multiplier, tmp_path / "lib")
    save_netlists(tmp_path / "lib" / "user@mine.gates.json.gz", {"user/mine": netlist})
    return netlist


@pytest.mark.skipif(not has_simulator(), reason="Icarus Verilog is not installed")
def test_verilog_is_simulated_by_default(axopt, narrow):
    done = axopt("multipliers", "export", "mine", "x.v", "--library", "lib")
    assert done.code == 0, done.err
    assert done.out == "user/mine is in x.v; all 128 products checked (Icarus Verilog)\n"


@pytest.mark.parametrize("words", [("x.c",), ("x.txt", "--format", "c")])
def test_c_is_read_back_by_default(axopt, narrow, words):
    done = axopt("multipliers", "export", "mine", *words, "--library", "lib", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "multiplier": "user/mine",
        "file": words[0],
        "checked_by": "C model reader",
    }


def test_tables_are_read_back_by_default(axopt, narrow):
    done = axopt("multipliers", "export", "table", "x.npy", "--library", "lib")
    assert done.out.endswith("all 128 products checked (NumPy array reader)\n")


def test_a_bundled_circuit_is_written(axopt, tmp_path):
    done = axopt("multipliers", "export", "v2022/mul8s_1L2N", "x.c", "--no-check")
    assert (done.code, done.out) == (0, "v2022/mul8s_1L2N is in x.c\n")
    assert "int16_t mul8s_1L2N(int8_t a, int8_t b)" in (tmp_path / "x.c").read_text()


def test_a_multiplier_without_gates_is_refused_with_the_reason(axopt, narrow, tmp_path):
    done = axopt("multipliers", "export", "table", "x.v", "--library", "lib")
    assert done.code == 2
    assert done.err.startswith("axopt multipliers: user/table has a table but no gate list")
    assert not (tmp_path / "x.v").exists()


def test_what_cannot_be_checked_is_said_or_refused(axopt, narrow, monkeypatch):
    def missing():
        raise MissingPackageError("Verilog needs Yosys.")

    monkeypatch.setattr("axopt.circuits.formats.checking.has_simulator", lambda: False)
    monkeypatch.setattr("axopt.circuits.formats.checking.engine", lambda: Engine("", "/none"))
    monkeypatch.setattr("axopt.circuits.formats.yosys.engine", missing)
    monkeypatch.setattr(Engine, "is_prepared", False)
    words = ("multipliers", "export", "mine", "x.v", "--library", "lib")
    done = axopt(*words)
    assert (done.code, done.err) == (0, "")
    assert "x.v; not checked: x.v: Yosys is not prepared yet; --check does it." in done.out
    done = axopt(*words, "--force", "--check")
    assert (done.code, done.out) == (2, "")
    assert "Verilog needs Yosys" in done.err


def test_an_existing_circuit_is_kept_unless_forced(axopt, tmp_path):
    (tmp_path / "x.v").write_text("precious")
    assert axopt("multipliers", "export", "mul8s_1L2H", "x.v").code == 2
    assert (tmp_path / "x.v").read_text() == "precious"


def test_unknown_formats_are_answered_with_all(axopt):
    done = axopt("multipliers", "export", "mul8s_1L2H", "x.vhd")
    assert done.code == 2
    suffixes = ".bin, .blif, .c, .csv, .h, .npy, .npz, .sv, .tsv, .txt, .v"
    assert f"must be one of {suffixes}; or give" in done.err
    done = axopt("multipliers", "export", "mul8s_1L2H", "x", "--format", "vhdl")
    assert done.code == 2
    assert "`--format` must be one of adapt, blif, c, matrix, npy, npz, tfapprox" in done.err


def test_the_help_names_the_formats_of_circuits(axopt):
    said = " ".join(axopt("multipliers", "export", "--help").out.split())
    assert "blif: BLIF (.blif); c: C model (.c); verilog: Verilog (.v, .sv)" in said
