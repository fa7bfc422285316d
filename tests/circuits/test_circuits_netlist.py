"""Gate lists: evaluation, the builder, files."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import axopt
from axopt.circuits import (
    ARITY,
    ONE,
    ZERO,
    Gate,
    Netlist,
    NetlistBuilder,
    load_netlists,
    read_netlists,
    save_netlists,
    without_unused_gates,
)
from axopt.circuits.netlist import evaluate
from axopt.errors import CircuitError


def test_bundled_gate_lists_give_the_bundled_tables(library):
    netlists = load_netlists()
    assert len(netlists) == 489
    for key, multiplier in library.items():
        netlist = netlists[key]
        assert (netlist.bits_a, netlist.bits_w, netlist.signed) == (8, 8, multiplier.signed)
        np.testing.assert_array_equal(netlist.table(), multiplier.table, err_msg=key)


def test_operations_are_those_of_their_truth_tables():
    x, y, z = (np.array([word], np.uint64) for word in (0b01010101, 0b00110011, 0b00001111))
    expected = {"not": 0b10101010, "and": 0b00010001, "or": 0b01110111, "xor": 0b01100110}
    expected |= {"has": 0b01100110, "hac": 0b00010001, "fas": 0b01101001, "fac": 0b00010111}
    assert expected.keys() == ARITY.keys()
    for op, word in expected.items():
        got = evaluate(op, [x, y, z][: ARITY[op]])
        assert int(got[0]) & 0xFF == word, op


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits_a", "bits_w"), [(2, 2), (3, 5), (8, 4)])
def test_builder_makes_shift_and_add_multipliers(bits_a, bits_w, signed):
    build = NetlistBuilder(bits_a, bits_w, signed=signed)
    width = bits_a + bits_w
    a = [build.a[min(i, bits_a - 1)] if signed or i < bits_a else ZERO for i in range(width)]
    total = [ZERO] * width
    for j, w in enumerate(build.w):
        row = [ZERO] * j + [build.and_(bit, w) for bit in a][: width - j]
        if signed and j == bits_w - 1:  # the top bit weighs negative
            total = build.ripple_add(total, [build.not_(bit) for bit in row], ONE)[:width]
        else:
            total = build.ripple_add(total, row)[:width]
    table = build.netlist(total).table()
    operands = [np.arange(2**b) - (2 ** (b - 1) if signed else 0) for b in (bits_a, bits_w)]
    np.testing.assert_array_equal(table, np.multiply.outer(*operands))


def test_builder_folds_constants_and_equal_gates():
    build = NetlistBuilder(2, 2, signed=False)
    x, y = build.a
    assert build.and_(x, ZERO) == ZERO
    assert build.and_(ONE, y) == y
    assert build.or_(x, ONE) == ONE
    assert build.or_(ZERO, y) == y
    assert build.xor(x, x) == ZERO
    assert build.xor(x, ONE) == build.not_(x)
    assert build.not_(build.not_(x)) == x
    assert build.and_(x, y) == build.and_(y, x)
    assert build.full_adder(x, ZERO, y) == build.half_adder(x, y)
    assert build.full_adder(x, x, y) == (y, x)
    assert build.full_adder(x, ONE, ZERO) == (build.not_(x), x)
    assert build.mux(x, y, y) == y


def test_unused_gates_go():
    gates = (Gate("and", (2, 4)), Gate("or", (2, 4)), Gate("xor", (6, 3)))
    kept = without_unused_gates(Netlist(2, 2, False, gates, (8,)))
    assert kept.gates == (Gate("and", (2, 4)), Gate("xor", (6, 3)))
    assert kept.outputs == (7,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((9, 2, False, (), (0,)), "`bits_a` must be in 2..8, got 9"),
        ((2, 1, False, (), (0,)), "`bits_w` must be in 2..8, got 1"),
        ((2, 2, False, (Gate("nand", (2, 3)),), (0,)), "`gates` must be operations"),
        ((2, 2, False, (Gate("and", (2,)),), (0,)), "`gates` must be operations"),
        ((2, 2, False, (Gate("and", (2, 6)),), (0,)), "earlier signals only"),
        ((2, 2, False, (Gate("not", (-1,)),), (0,)), "earlier signals only"),
        ((2, 2, False, (), ()), "`outputs` must be 1..4 bits, got 0"),
        ((2, 2, False, (), (6,)), "`outputs` must be signals"),
    ],
)
def test_wrong_gate_lists_are_refused(fields, message):
    with pytest.raises(CircuitError, match=message.replace(".", r"\.")):
        Netlist(*fields)


def test_files_give_back_what_was_saved(tmp_path):
    netlists = {key: load_netlists()[key] for key in ("v1/mul8s_1L1G", "v1/mul7u_01L")}
    file = tmp_path / "two.gates.json.gz"
    save_netlists(file, netlists)
    first = file.read_bytes()
    read = read_netlists(file)
    assert list(read) == list(netlists)
    for key, netlist in netlists.items():
        assert (read[key].gates, read[key].outputs) == (netlist.gates, netlist.outputs)
    save_netlists(file, read)
    assert file.read_bytes() == first
    assert load_netlists(tmp_path).keys() == netlists.keys()


def _written(path: Path, content: object) -> Path:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(gzip.compress(text))
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a readable file of gate lists"),
        (b"[" * 100_000, "not a readable file of gate lists"),
        (b" " * (65 << 20), "larger than 67108864 bytes"),
        ([], "`schema` must be 1"),
        ({"schema": 2}, "`schema` must be 1"),
        ({"schema": 1, "netlists": []}, "`netlists` must be an object"),
        ({"schema": 1, "netlists": {"user/x": 5}}, "user/x: "),
        ({"schema": 1, "netlists": {"user/x": [8, 8, 0, [["and", "2", 3]], [0]]}}, "integers"),
        ({"schema": 1, "netlists": {"user/x": [8, 8, 0, [["and", 99, 3]], [0]]}}, "earlier"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, content, message):
    with pytest.raises(CircuitError, match=message) as caught:
        read_netlists(_written(tmp_path / "bad.gates.json.gz", content))
    assert "bad.gates.json.gz" in str(caught.value)


def test_truncated_files_are_refused(tmp_path):
    whole = (axopt.multipliers.bundled_directory() / "evoapprox8b.gates.json.gz").read_bytes()
    file = tmp_path / "bad.gates.json.gz"
    for size in (0, 1, 20, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(CircuitError, match=r"bad\.gates\.json\.gz"):
            read_netlists(file)
