"""`import_multiplier` on circuits: the same as ``axopt multipliers import`` of one file."""

import re

import numpy as np
import pytest
from circuit_printers import as_blif

import axopt
from axopt.circuits import import_library, load_netlists, netlist_of
from axopt.errors import LutFormatError
from axopt.multipliers import IMPORTERS, Imported, TableWarning, register_importer

NETLIST = load_netlists()["v1/mul8u_17KS"]


@pytest.fixture
def file(tmp_path):
    (tmp_path / "x.blif").write_text(as_blif(NETLIST, "mine"))
    return tmp_path / "x.blif"


def test_figures_that_a_circuit_lacks_are_estimated_in_one_line(file):
    with pytest.warns(TableWarning) as said:
        found = axopt.import_multiplier(file)
    assert [str(w.message) for w in said] == [
        f"{file}: power_mw, area_um2 and delay_ns are estimated from the gates."
    ]
    [same] = import_library(file).multipliers
    assert found.key == same.key == "user/mine"
    assert found.intervals == same.intervals
    assert found.intervals.keys() == {"power_mw", "area_um2", "delay_ns"}
    assert (found.power_mw, found.source) == (same.power_mw, same.source)
    np.testing.assert_array_equal(found.table, same.table)


def test_its_gates_are_known(file):
    with pytest.warns(TableWarning, match="area_um2 is estimated"):
        found = axopt.import_multiplier(file, name="known", power_mw=0.3, delay_ns=1.2)
    assert found.intervals.keys() == {"area_um2"}
    np.testing.assert_array_equal(netlist_of(found).table(), found.table)


def test_exchanged_operands_of_a_known_multiplier_are_recognised(tmp_path, library):
    table = library["mul8u_2HH"].table.T  # not commutative
    np.save(tmp_path / "x.npy", table)
    with pytest.warns(TableWarning, match=r"that of v1/mul8u_2HH with its operands exchanged"):
        axopt.import_multiplier(tmp_path / "x.npy", power_mw=0.3, area_um2=500, delay_ns=1.2)


def test_gates_of_another_table_are_refused(tmp_path):
    @register_importer("gates", suffixes=(".gates",))
    def read(path, signed):
        return [Imported(NETLIST.table() & ~1, signed=False, netlist=NETLIST)]

    (tmp_path / "x.gates").write_text("")
    try:
        message = re.escape("x.gates: the gate list computes another table")
        with pytest.raises(LutFormatError, match=message):
            axopt.import_multiplier(tmp_path / "x.gates")
    finally:
        IMPORTERS.remove("gates")
