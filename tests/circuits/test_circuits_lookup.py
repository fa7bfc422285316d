"""Gate lists of libraries that are loaded from folders."""

import numpy as np
import pytest
import torch

import axopt
from axopt.circuits import Netlist, generate, load_netlists, netlist_of, save_netlists
from axopt.corrections import Corrections
from axopt.errors import CircuitError
from axopt.multipliers import Multiplier, add_to_library

FIGURES = {"power_mw": 0.1, "area_um2": 100, "delay_ns": 1.0}


def saved(folder, name, netlist, gates=True):
    """A library of one multiplier and, beside it, its gates; nothing is registered."""
    mine = Multiplier.from_table(name, netlist.table(), signed=netlist.signed, **FIGURES)
    add_to_library(mine, folder)
    if gates:
        save_netlists(folder / f"{name}.gates.json.gz", {mine.key: netlist})
    return mine.key


def test_they_are_found_when_they_are_needed(tmp_path):
    netlist = load_netlists()["v1/mul8s_1L1G"]
    key = saved(tmp_path, "foldered", netlist)
    found = netlist_of(axopt.load_library(tmp_path)[key])
    assert found.gates == netlist.gates


def test_power_chooses_the_order_with_them(tmp_path):
    key = saved(tmp_path, "byorder", load_netlists()["v1/mul8s_1KR3"])
    torch.manual_seed(0)
    emulated = axopt.prepare(torch.nn.Linear(12, 9), torch.randn(100, 12).relu())
    mine = axopt.load_library(tmp_path)[key]
    axopt.assign_(emulated, mine, correct=Corrections(order="power"))
    assert axopt.cost(emulated, power="activity").rel_power > 0


def test_folders_that_use_one_name_for_two_tables_do_not_disturb_each_other(tmp_path):
    netlists = [generate("truncated", bits_a=3, bits_w=n, signed=True) for n in (3, 4)]
    libraries = []
    for number, netlist in enumerate(netlists):
        key = saved(tmp_path / str(number), "same", netlist)
        libraries.append(axopt.load_library(tmp_path / str(number)))
    for netlist, library in zip(netlists, libraries, strict=True):
        np.testing.assert_array_equal(netlist_of(library[key]).table(), netlist.table())


def test_a_file_that_comes_later_counts_and_a_damaged_one_is_named(tmp_path):
    netlist = generate("truncated", bits_a=2, bits_w=5, signed=True)
    key = saved(tmp_path, "later", netlist, gates=False)
    mine = axopt.load_library(tmp_path)[key]
    with pytest.raises(CircuitError, match="user/later has no gate list"):
        netlist_of(mine)
    save_netlists(tmp_path / "x.gates.json.gz", {key: Netlist(8, 8, True, (), (2,))})
    with pytest.raises(CircuitError, match="user/later computes another table"):
        netlist_of(mine)
    (tmp_path / "x.gates.json.gz").write_bytes(b"nothing")
    with pytest.raises(CircuitError, match=r"x\.gates\.json\.gz: not a readable file"):
        netlist_of(mine)
    save_netlists(tmp_path / "x.gates.json.gz", {key: netlist})
    assert netlist_of(mine).counts == netlist.counts
