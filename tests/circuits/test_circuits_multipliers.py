"""Multipliers from gate lists, and their files."""

import numpy as np
import pytest

from axopt.circuits import (
    add_circuit_to_library,
    generate,
    load_netlists,
    multiplier_of,
    netlist_of,
)
from axopt.circuits.cost import estimate
from axopt.errors import CircuitError, MultiplierError
from axopt.kernels import explain, plan
from axopt.multipliers import load_library

FIGURES = {"power_mw": 0.1, "area_um2": 200.0, "delay_ns": 1.0}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [(8, 8), (4, 5)])
def test_the_multiplier_has_the_gates_table_and_estimated_figures(bits, signed):
    netlist = generate("exact", bits_a=bits[0], bits_w=bits[1], signed=signed)
    made = multiplier_of(netlist, "mine", release="r1", source="here")
    np.testing.assert_array_equal(made.table, netlist.table())
    assert (made.key, made.source, made.signed) == ("r1/mine", "here", signed)
    assert (made.bits_a, made.bits_w) == bits
    assert made.is_exact
    assert netlist_of(made) is netlist
    found = estimate(netlist)
    for figure in FIGURES:
        assert getattr(made, figure) == getattr(found, figure)
    assert made.intervals == found.intervals


def test_given_figures_replace_estimates():
    netlist = generate("drum", segment=4)
    made = multiplier_of(netlist, "mine", figures=FIGURES)
    assert {figure: getattr(made, figure) for figure in FIGURES} == FIGURES
    assert not made.is_estimated
    partly = multiplier_of(netlist, "mine", figures={"power_mw": 0.1})
    assert set(partly.intervals) == {"area_um2", "delay_ns"}
    with pytest.raises(CircuitError, match="`figures` must be of power_mw, area_um2, delay_ns"):
        multiplier_of(netlist, "mine", figures={"power": 0.1})
    with pytest.raises(MultiplierError, match="`power_mw` must be finite"):
        multiplier_of(netlist, "mine", figures={"power_mw": -1})


def test_a_truncated_and_a_narrow_multiplier_have_the_same_codes():
    for signed in (False, True):
        wide = multiplier_of(generate("truncated", bits_a=3, bits_w=6, signed=signed), "wide")
        narrow = multiplier_of(generate("exact", bits_a=3, bits_w=6, signed=signed), "narrow")
        np.testing.assert_array_equal(narrow.code_table, wide.table)
        assert explain(plan(narrow.code_table)).startswith("1 separable term")
        assert narrow.power_mw == pytest.approx(wide.power_mw)
        assert narrow.area_um2 == pytest.approx(wide.area_um2)


def test_a_library_keeps_the_gates(tmp_path):
    netlists = {f"drum{k}": generate("drum", segment=k) for k in (3, 4)}
    for name, netlist in netlists.items():
        add_circuit_to_library(multiplier_of(netlist, name), netlist, tmp_path / "lib")
    stored = load_netlists(tmp_path / "lib")
    for name, netlist in netlists.items():
        assert stored[f"user/{name}"].gates == netlist.gates
        assert np.array_equal(load_library(tmp_path / "lib")[name].table, netlist.table())


def test_other_gates_and_taken_names_are_refused(tmp_path):
    netlist, other = generate("drum", segment=3), generate("drum", segment=4)
    made = multiplier_of(netlist, "mine")
    with pytest.raises(CircuitError, match="`netlist` must give the table of user/mine"):
        add_circuit_to_library(made, other, tmp_path / "lib")
    assert not (tmp_path / "lib").exists()
    add_circuit_to_library(made, netlist, tmp_path / "lib")
    before = {file: file.read_bytes() for file in (tmp_path / "lib").iterdir()}
    with pytest.raises(MultiplierError, match="user/mine is in the library already"):
        add_circuit_to_library(multiplier_of(other, "mine"), other, tmp_path / "lib")
    assert {file: file.read_bytes() for file in (tmp_path / "lib").iterdir()} == before
