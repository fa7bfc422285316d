"""``axopt multipliers generate``."""

import json

import numpy as np
import pytest

from axopt.circuits import FAMILIES, generate, load_netlists
from axopt.kernels import explain, plan
from axopt.multipliers import load_library


@pytest.fixture
def mylib(axopt, tmp_path):
    """A library of one multiplier: a new one would get all bundled ones."""
    load_library().select(names=["mul8s_1KV8"]).save(tmp_path / "mylib")


@pytest.mark.usefixtures("mylib")
def test_a_truncated_multiplier_is_one_term(axopt):
    words = ("truncated", "--bits-a", "4", "--bits-w", "5", "--signed", "--to", "mylib")
    done = axopt("multipliers", "generate", *words)
    assert done.code == 0, done.err
    assert "user/trunc4x5s (signed, MAE 555" in done.out
    assert "--library mylib" in done.out
    made = load_library("mylib")["trunc4x5s"]
    netlist = generate("truncated", bits_a=4, bits_w=5, signed=True)
    np.testing.assert_array_equal(made.table, netlist.table())
    assert explain(plan(made.table)).startswith("1 separable term")
    assert load_netlists("mylib")["user/trunc4x5s"].gates == netlist.gates
    assert made.is_estimated
    assert made.source == (
        "generated: truncated, bits_a 4, bits_w 5, slot_a 8, slot_w 8, reduction dadda, signed "
        "True, sign_magnitude False; Jiang et al., Proceedings of the IEEE 2020"
    )


def test_a_new_library_has_the_bundled_multipliers_and_their_gates(axopt, library):
    words = ("exact", "--bits-a", "4", "--bits-w", "4", "--to", "mylib", "--name", "mine")
    assert axopt("multipliers", "generate", *words, "--release", "r1").code == 0
    made = load_library("mylib")
    assert set(made) == {*library, "r1/mine"}
    assert made["r1/mine"].bits_a == made["r1/mine"].bits_w == 4
    assert set(load_netlists("mylib")) == set(made)


@pytest.mark.usefixtures("mylib")
def test_a_sweep_adds_all_combinations(axopt):
    words = ("drum", "--segment", "3-5", "--bits-w", "6,8", "--to", "mylib", "--json")
    done = axopt("multipliers", "generate", *words)
    names = [entry["multiplier"] for entry in json.loads(done.out)["multipliers"]]
    expected = [f"user/drum8x{w}u_segment{s}" for w in (6, 8) for s in (3, 4, 5)]
    assert names == expected
    assert set(expected) < set(load_library("mylib"))


@pytest.mark.usefixtures("mylib")
def test_figures_can_be_given(axopt):
    figures = ("--power", "0.2", "--area", "400", "--delay", "1.1")
    done = axopt("multipliers", "generate", "exact", "--signed", *figures, "--to", "mylib")
    assert done.code == 0
    assert "0.2 mW)" in done.out
    made = load_library("mylib")["exact8x8s"]
    assert (made.power_mw, made.area_um2, made.delay_ns) == (0.2, 400.0, 1.1)
    assert not made.is_estimated
    words = ("exact", "--power", "0.2", "--name", "partly", "--to", "mylib")
    assert "0.2 mW)" in axopt("multipliers", "generate", *words).out
    assert set(load_library("mylib")["partly"].intervals) == {"area_um2", "delay_ns"}


@pytest.mark.usefixtures("mylib")
def test_kept_sets_and_constants(axopt):
    words = ("broken", "--kept", "none,0111,all,all", "--constant", "-3", "--signed")
    done = axopt("multipliers", "generate", *words, "--to", "mylib")
    assert done.code == 0, done.err
    made = load_library("mylib")["broken4x4s_k000e0f0f_constant-3"]
    netlist = generate("broken", kept="none,0111,all,all", constant=-3, signed=True)
    np.testing.assert_array_equal(made.table, netlist.table())
    assert "kept none,0111,all,all, constant -3" in made.source


def test_the_list_names_families_and_parameters(axopt):
    done = axopt("multipliers", "generate", "--list")
    assert done.code == 0
    for name in FAMILIES.names():
        assert f"\n{name}: " in f"\n{done.out}"
    assert "--fraction-bits" in done.out
    listed = json.loads(axopt("multipliers", "generate", "--list", "--json").out)
    assert [entry["family"] for entry in listed] == FAMILIES.names()
    assert listed[-1]["parameters"]["bits_a"].endswith("an integer in 1..8")


def test_help_shows_the_parameters_of_a_family(axopt):
    assert "compressor, drum" in " ".join(axopt("multipliers", "generate", "--help").out.split())
    shown = axopt("multipliers", "generate", "drum", "--help")
    assert shown.code == 0
    assert "--segment N" in shown.out
    assert "(required)" in shown.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a family must be named: broken, broken_array"),
        (["trunc", "--to", "x"], "invalid choice: 'trunc'"),
        (["drum", "--to", "x"], "the following arguments are required: --segment"),
        (["drum", "--segment", "4"], "the following arguments are required: --to"),
        (["drum", "--segment", "9", "--to", "x"], "`segment` must be an integer in 2..8, got 9"),
        (["drum", "--segment", "3-9", "--to", "x"], "`segment` must be an integer in 2..8, got 9"),
        (["drum", "--segment", "5-3", "--to", "x"], "must be an integer in 2..8, got '5-3'"),
        (["drum", "--segment", "", "--to", "x"], "must be an integer in 2..8, got ''"),
        (["broken", "--kept", "11,2", "--to", "x"], "`kept` must be 2..8 rows"),
        (["exact", "--sign-magnitude", "--to", "x"], "`sign_magnitude` must be False unless"),
        (["exact", "--bits-a", "3,4", "--name", "n", "--to", "x"], "--name must be of one"),
        (
            ["drum", "--segment", "2-8", "--bits-a", "2-8", "--bits-w", "2-8", "--to", "x"],
            "at most",
        ),
        (["exact", "--bits-a", "4,4", "--to", "x"], "user/exact4x8u is in the library already"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(axopt, tmp_path, words, message):
    before = set(tmp_path.iterdir())
    done = axopt("multipliers", "generate", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
    assert set(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("mylib")
def test_an_existing_name_is_refused_before_anything_is_written(axopt, tmp_path):
    words = ("recursive", "--bits-a", "4", "--bits-w", "4", "--to", "mylib")
    assert axopt("multipliers", "generate", *words).code == 0
    before = {file: file.read_bytes() for file in (tmp_path / "mylib").iterdir()}
    done = axopt("multipliers", "generate", *words, "--exact-from", "4,16")
    assert done.code == 2
    assert "user/kulkarni4x4u is in the library already" in done.err
    assert {file: file.read_bytes() for file in (tmp_path / "mylib").iterdir()} == before
