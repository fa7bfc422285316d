"""Every format that is read is written too."""

import numpy as np
import pytest

from axopt.circuits import (
    NETLIST_WRITERS,
    check_export,
    generate,
    module_name,
    multiplier_of,
    write_netlist,
)
from axopt.circuits.formats.simulation import has_simulator
from axopt.multipliers import IMPORTERS, TABLE_WRITERS, export_multiplier, read_tables

NETLIST = generate("exact", bits_a=3, bits_w=4, signed=True)


def test_every_suffix_that_is_read_is_written():
    read = {suffix for name in IMPORTERS.names() for suffix in IMPORTERS[name].suffixes}
    written = {
        suffix
        for writers in (TABLE_WRITERS, NETLIST_WRITERS)
        for name in writers.names()
        for suffix in writers[name].suffixes
    }
    assert read - {""} <= written


@pytest.mark.parametrize(("file", "format"), [("x.tsv", None), ("x.dat", "tsv")])
def test_a_matrix_with_tabs_is_checked(tmp_path, file, format):
    mine = multiplier_of(NETLIST, "mine")
    export_multiplier(mine, tmp_path / file, format=format)
    assert (tmp_path / file).read_text().startswith("\t-8\t-7\t")
    assert check_export(tmp_path / file, mine, format=format) == "text matrix reader"
    [found] = read_tables(tmp_path / file, format="matrix", signed=True)
    np.testing.assert_array_equal(found.table, NETLIST.table())


@pytest.mark.skipif(not has_simulator(), reason="Icarus Verilog is not installed")
def test_system_verilog_is_simulated(tmp_path):
    mine = multiplier_of(NETLIST, "mine")
    file = write_netlist(NETLIST, tmp_path / "x.sv", name="unique", multiplier=mine)
    assert "module m_unique (" in file.read_text()
    assert check_export(file, mine) == "Icarus Verilog"


@pytest.mark.parametrize("word", ["class", "inside", "priority", "within", "always", "uwire"])
def test_keywords_of_system_verilog_are_no_names(word):
    assert module_name(word, NETLIST) == f"m_{word}"
