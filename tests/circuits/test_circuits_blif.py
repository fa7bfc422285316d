"""BLIF files: exactness, hierarchy, and what is refused."""

import functools
import re
import resource
import time

import numpy as np
import pytest
from circuit_printers import COMMENT, as_blif, check_comes_back
from grid import each

from axopt.circuits import load_netlists
from axopt.errors import LutFormatError
from axopt.multipliers import read_tables


def read(tmp_path, text, **options):
    (tmp_path / "x.blif").write_text(text)
    [found] = read_tables(tmp_path / "x.blif", **options)
    return found


@pytest.mark.parametrize("key", list(load_netlists())[::40])
def test_gate_lists_come_back(tmp_path, key):
    check_comes_back(functools.partial(read, tmp_path), as_blif, key)


@pytest.mark.slow
@each("key", load_netlists())
def test_every_gate_list_comes_back(tmp_path, key):
    check_comes_back(functools.partial(read, tmp_path), as_blif, key)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_multipliers_of_ariths_gen_are_read(tmp_path, signed, flat):
    pytest.importorskip("ariths_gen", reason="needs ariths-gen")
    from ariths_gen.multi_bit_circuits.multipliers import (
        SignedDaddaMultiplier,
        UnsignedArrayMultiplier,
    )
    from ariths_gen.wire_components import Bus

    kind = SignedDaddaMultiplier if signed else UnsignedArrayMultiplier
    made = kind(a=Bus(prefix="a", N=6), b=Bus(prefix="b", N=6), name="made")
    with (tmp_path / "made.blif").open("w") as file:
        (made.get_blif_code_flat if flat else made.get_blif_code_hier)(file)
    [found] = read_tables(tmp_path / "made.blif")
    values = np.arange(64) - 32 * signed
    np.testing.assert_array_equal(found.table, np.multiply.outer(values, values))
    assert found.signed == signed


HEAD = ".model f\n.inputs a0 a1 b0 b1\n.outputs o0 o1 o2 o3\n"
REST = "".join(f".names o{i}\n" for i in range(1, 4)) + ".end\n"


@pytest.mark.parametrize(
    ("cover", "bit"),
    [
        ("11-- 1", lambda a, b: a == 3),
        ("11-- 0", lambda a, b: a != 3),
        ("1--1 1\n01-- 1", lambda a, b: (a & 1 and b & 2) or (a & 3) == 2),
        ("", lambda a, b: False),
        ("---- 1", lambda a, b: True),
        ("0000 1\n1111 1", lambda a, b: (a, b) in ((0, 0), (3, 3))),
    ],
)
def test_covers_are_functions(tmp_path, cover, bit):
    found = read(tmp_path, HEAD + f".names a0 a1 b0 b1 o0\n{cover}\n" + REST, signed=False)
    expected = [[int(bool(bit(a, b))) for b in range(4)] for a in range(4)]
    assert found.table.tolist() == expected


def test_wide_covers_are_sums_of_cubes(tmp_path):
    names = " ".join(f"{x}[{i}]" for x in "ab" for i in range(4))
    outputs = " ".join(f"o[{i}]" for i in range(8))
    text = f".model f\n.inputs {names}\n.outputs {outputs}\n.names {names} o[0]\n"
    text += "1------1 1\n00000000 1\n" + "".join(f".names o[{i}]\n" for i in range(1, 8))
    found = read(tmp_path, text, signed=False)
    expected = [[int(bool((a & 1 and b & 8) or a | b == 0)) for b in range(16)] for a in range(16)]
    assert found.table.tolist() == expected


def test_figures_are_read_from_comments(tmp_path):
    netlist = load_netlists()["v1/mul8u_7C1"]
    comment = "".join(f"# {line[3:]}\n" for line in COMMENT.format(mae=1).splitlines()[3:])
    found = read(tmp_path, comment + as_blif(netlist, "mine"))
    assert (found.figures["power_mw"], found.figures["mae"]) == (0.301, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a `.model`, got none"),
        (".inputs a\n", "x.blif:1: expected `.model`, got `.inputs`"),
        (HEAD + ".latch a0 o0 re clk 0\n" + REST, "x.blif:4: `.latch` is not read"),
        (HEAD + ".gate nand2 a=a0 o=o0\n" + REST, "x.blif:4: `.gate` is not read"),
        (HEAD + ".search /etc/passwd\n" + REST, "x.blif:4: `.search` is not read"),
        (HEAD + REST, "net `o0` has no driver"),
        (HEAD + ".names o0 o0\n1 1\n" + REST, "net `o0` depends on itself"),
        (HEAD + ".names o0\n.names o0\n" + REST, "net `o0` is driven twice"),
        (HEAD + ".names a0\n.names o0\n" + REST, "net `a0` is driven twice"),
        (HEAD + ".names a0 a1 o0\n1 1\n" + REST, "`1 1` is no line of a cover"),
        (HEAD + ".names a0 o0\n2 1\n" + REST, "`2 1` is no line of a cover"),
        (HEAD + ".names a0 o0\n1 1\n0 0\n" + REST, "must all end in 0, or all in 1"),
        (HEAD + ".names a0 o0\n1 x\n" + REST, "must all end in 0, or all in 1"),
        (HEAD + ".subckt g x=a0 y=o0\n" + REST, "model `g` is not there"),
        (HEAD + ".subckt f a0=a0\n" + REST, "models nest deeper than 50"),
        (HEAD + REST + HEAD, "a second model `f`"),
        (HEAD.replace(" b1", "") + REST, "operand `b` has 1 bits"),
        (HEAD.replace("b0", "c0 b0") + REST, "expected two operands as inputs, got `a`, `c`, `b`"),
        (HEAD.replace("b1", "b2") + REST, "`b` lacks some of its bits"),
        (HEAD.replace("b1", "b0") + REST, "bit 0 of `b` is there twice"),
        (HEAD.replace("o3", "p") + REST, "expected one output, got `o`, `p`"),
        ("\xff", "is no|expected"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(LutFormatError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "x.blif"))
    assert "\n" not in str(caught.value)


def chain(models):
    """Models that each use the next one twice: 2**models parts in all."""
    text = HEAD + ".subckt m0\n" + REST
    for i in range(models):
        text += f".model m{i}\n" + f".subckt m{i + 1} x=y\n" * 2 + ".end\n"
    return text + f".model m{models}\n.end\n"


HOSTILE = {
    "parts without end": lambda: chain(49),
    "a million gates": lambda: HEAD + ".names a0 a1 o0\n11 1\n" * 1_000_000,
    "many gates": lambda: (
        HEAD
        + "".join(f".names n{i} b{i % 2} n{i + 1}\n10 1\n01 1\n" for i in range(120_000))
        + ".names a0 a1 n0\n11 1\n.names n120000 o0\n1 1\n"
        + REST
    ),
    "many cubes": lambda: HEAD + ".names a0 a1 b0 b1 b0 b1 o0\n" + "1-0--1 1\n" * 300_000 + "x",
    "a line of 10 MB": lambda: HEAD + " " * 10_000_000,
    "a long line": lambda: HEAD + ".names " + "a0 " * 1_000_000 + "o0\n1 1\n" + REST,
    "a long name": lambda: HEAD + ".names " + "a" * 3_000_000 + " o0\n1 1\n" + REST,
    "continued lines": lambda: HEAD + "\\\n" * 1_000_000,
    "names with paths": lambda: ".model ../../x\n.inputs ../a ../b\n",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "many gates")) for n in HOSTILE]
)
def test_hostile_files_get_one_line_in_time(tmp_path, name):
    (tmp_path / "x.blif").write_text(HOSTILE[name]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(LutFormatError, match=re.escape(str(tmp_path / "x.blif"))) as caught:
        read_tables(tmp_path / "x.blif")
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KB
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
