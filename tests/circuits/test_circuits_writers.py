"""Gate lists written as Verilog, BLIF and C: simulated or read back, over all operands."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from axopt import Multiplier, load_library
from axopt.circuits import (
    NETLIST_WRITERS,
    Netlist,
    NetlistBuilder,
    check_export,
    gates_of,
    generate,
    load_netlists,
    multiplier_of,
    netlist_text,
    netlist_writer_for,
    register_netlist_writer,
    save_netlists,
    write_netlist,
)
from axopt.circuits.formats.names import identifier
from axopt.circuits.formats.simulation import has_simulator, simulate
from axopt.errors import ArgumentError, CircuitError, MissingPackageError
from axopt.multipliers import read_tables
from axopt.multipliers.formats.text import stated_figures

needs_simulator = pytest.mark.skipif(
    not has_simulator(), reason="Icarus Verilog (iverilog, vvp) is not installed"
)
LIBRARY = load_library(narrow=True)
FIGURES = {"power_mw": 0.1, "area_um2": 200, "delay_ns": 1.0}

# a signed one, and narrow ones
SAMPLE = [
    "v1/mul8s_1L1G",
    *(next(k for k in LIBRARY if f"/mul{width}u_" in k) for width in ("8x2", "8x4")),
]


def of(netlist, name="mine", **figures):
    return Multiplier.from_table(
        name, netlist.table(), signed=netlist.signed, **{**FIGURES, **figures}
    )


def every_gate(signed):
    """A circuit of all operations and constants as inputs; it multiplies nothing."""
    build = NetlistBuilder(3, 2, signed=signed)
    x, y, z = build.a
    sum_, carry = build.full_adder(x, y, z)
    low, high = build.half_adder(sum_, build.w[0])
    outputs = [build.or_(low, carry), build.xor(high, build.w[1]), build.not_(x), 1]
    netlist = build.netlist(outputs)
    gates = (*netlist.gates, type(netlist.gates[0])("fac", (0, 1, 2)))
    last = netlist.first_gate + len(netlist.gates)
    return Netlist(3, 2, signed, gates, (*netlist.outputs, last))


CIRCUITS = {
    "every gate": every_gate(False),
    "every gate, signed": every_gate(True),
    "no gates": Netlist(2, 8, False, (), (0,)),
    "one wire, signed": Netlist(8, 2, True, (), (9,)),
    "narrow, signed": generate("exact", bits_a=4, bits_w=5, signed=True),
    "an operand of 8 bits": generate("exact", bits_a=8, bits_w=3, signed=True),
}


@pytest.mark.parametrize("suffix", [".c", ".blif"])
@pytest.mark.parametrize("name", CIRCUITS)
def test_c_and_blif_read_back_as_written(name, suffix, tmp_path):
    netlist = CIRCUITS[name]
    write_netlist(netlist, tmp_path / f"x{suffix}", name="mine")
    [found] = read_tables(tmp_path / f"x{suffix}", signed=netlist.signed)
    assert np.array_equal(found.table, netlist.table())


def test_blif_keeps_the_adders(tmp_path):
    netlist = load_netlists()["v1/mul8s_1L2H"]
    write_netlist(netlist, tmp_path / "x.blif", name="mul8s_1L2H")
    [found] = read_tables(tmp_path / "x.blif")  # the name says signed
    assert found.netlist.signed
    for op in ("fas", "fac"):  # one has a constant input
        assert found.netlist.counts[op] >= netlist.counts[op] - 1


def test_yosys_reads_the_verilog_where_there_is_no_simulator(tmp_path, monkeypatch):
    monkeypatch.setattr("axopt.circuits.formats.checking.has_simulator", lambda: False)
    multiplier = LIBRARY["v2022/mul8x2u_0AJ"]
    file = tmp_path / "x.v"
    write_netlist(gates_of(multiplier), file, name=multiplier.name, multiplier=multiplier)
    try:
        assert check_export(file, multiplier, quick=True) == "Verilog reader"
    except MissingPackageError as error:
        pytest.skip(str(error))
    [found] = read_tables(file)
    assert found.name == multiplier.name
    assert found.figures["power_mw"] == multiplier.power_mw


@needs_simulator
@pytest.mark.parametrize("name", CIRCUITS)
def test_verilog_simulates_as_written(name):
    netlist = CIRCUITS[name]
    text = netlist_text(netlist, name="mine", format="verilog")
    widths = {"bits_a": netlist.bits_a, "bits_w": netlist.bits_w}
    tables = simulate({"mine": text}, **widths, signed=netlist.signed)
    assert np.array_equal(tables["mine"], netlist.table())


@needs_simulator
def test_bundled_circuits_give_their_tables_in_verilog(tmp_path):
    for key in SAMPLE:
        multiplier = LIBRARY[key]
        file = tmp_path / f"{multiplier.name}.v"
        write_netlist(gates_of(multiplier), file, name=multiplier.name, multiplier=multiplier)
        assert check_export(file, multiplier) == "Icarus Verilog"


@needs_simulator
@pytest.mark.slow  # 489 circuits, eight a simulation
def test_all_bundled_circuits_give_their_tables_in_verilog():
    groups = {}
    netlists = load_netlists()
    for key in LIBRARY:
        netlist = netlists[key]
        groups.setdefault((netlist.bits_a, netlist.bits_w, netlist.signed), []).append(key)
    checked = 0
    for (bits_a, bits_w, signed), keys in groups.items():
        for start in range(0, len(keys), 8):
            names = {identifier(k.replace("/", "_"), netlists[k]): k for k in keys[start:][:8]}
            texts = {
                n: netlist_text(netlists[k], name=n, format="verilog") for n, k in names.items()
            }
            tables = simulate(texts, bits_a=bits_a, bits_w=bits_w, signed=signed)
            for name, key in names.items():
                assert np.array_equal(tables[name], LIBRARY[key].table), key
                checked += 1
    assert checked == 489


@pytest.mark.slow  # 489 circuits
@pytest.mark.parametrize(("suffix", "title"), [(".c", "C model"), (".blif", "BLIF")])
def test_all_bundled_circuits_give_their_tables_in_c_and_blif(suffix, title, tmp_path):
    netlists = load_netlists()
    for key in LIBRARY:
        multiplier, file = LIBRARY[key], tmp_path / f"x{suffix}"
        write_netlist(netlists[key], file, name=multiplier.name, multiplier=multiplier)
        assert check_export(file, multiplier) == f"{title} reader"


def test_a_compiler_agrees_with_the_c_text(tmp_path):
    """No conversion of the text depends on the compiler; all warnings are errors."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    netlist = CIRCUITS["narrow, signed"]
    text = netlist_text(netlist, name="mine", format="c")
    text += (
        "#include <stdio.h>\nint main(void) { for (int a = -8; a < 8; a++)"
        ' for (int b = -16; b < 16; b++) printf("%d\\n", mine(a, b)); return 0; }\n'
    )
    (tmp_path / "x.c").write_text(text)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wno-unused-variable", "-Werror"]
    program = str(tmp_path / "x")
    subprocess.run([compiler, *strict, "-o", program, str(tmp_path / "x.c")], check=True)
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert np.array_equal(np.array(printed.split(), int), netlist.table().ravel())


def test_the_header_states_source_licence_and_published_figures():
    multiplier = LIBRARY["v1/mul8s_1L2H"]
    for format, mark in (("verilog", "//"), ("c", "//"), ("blif", "#")):
        text = netlist_text(gates_of(multiplier), name="x", format=format, multiplier=multiplier)
        assert f"{mark} SPDX-License-Identifier: MIT" in text
        assert f"{mark} SHA-256 of the table: {multiplier.digest}" in text
        assert "10.1109/TVLSI.2018.2856362" in text
        stated = stated_figures(text)
        assert stated.items() >= multiplier.published.items()
        assert stated["power_mw"] == 0.301


def test_estimates_are_not_read_as_published_figures():
    netlist = CIRCUITS["narrow, signed"]
    multiplier = of(netlist, intervals={"power_mw": (0.09, 0.12)}, source="generated: mine")
    text = netlist_text(netlist, name="x", format="c", multiplier=multiplier)
    assert "// estimated PWR, 45 nm: 0.1 mW, interval 0.09 to 0.12" in text
    assert "EvoApproxLib" not in text
    stated = stated_figures(text)
    assert "power_mw" not in stated
    assert (stated["area_um2"], stated["delay_ns"]) == (200, 1.0)
    given = netlist_text(netlist, name="x", format="c", multiplier=of(netlist))
    assert stated_figures(given)["power_mw"] == 0.1


def test_a_percentage_is_no_absolute_error():
    text = "// MAE = 0.08 %\n// WCE = 0.3 %\n// MSE = 5 %\n// EP = 80 %\n// MRE% = 2 %"
    found = {"mae_pct": 0.08, "wce_pct": 0.3, "ep_pct": 80.0, "mre_pct": 2.0}
    assert stated_figures(text) == found
    assert stated_figures("// MAE = 53\n// MAE% = 0.08") == {"mae": 53.0, "mae_pct": 0.08}


def test_a_source_cannot_leave_the_comment():
    netlist = CIRCUITS["no gates"]
    multiplier = of(netlist, source="a\n`include */ \\\nmodule evil;\\")
    for format in ("verilog", "c", "blif"):
        text = netlist_text(netlist, name="x", format=format, multiplier=multiplier)
        outside = [line for line in text.splitlines() if not line.startswith(("//", "#"))]
        assert not any("evil" in line or "include" in line for line in outside)
        assert not any(line.endswith("\\") for line in text.splitlines())
        assert "*/" not in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mul4x5s_1", "mul4x5s_1"),
        ("mul8u_1", "m_mul8u_1"),  # readers take widths and kind from such a name
        ("mul4x5u_1", "m_mul4x5u_1"),
        ("wire", "m_wire"),
        ("int", "m_int"),
        ("product", "m_product"),
        ("n12", "m_n12"),
        ("2.5-bit+x", "m_2_5_bit_x"),
        ("é", "m__"),
    ],
)
def test_names_are_identifiers(name, expected):
    assert identifier(name, CIRCUITS["narrow, signed"]) == expected


@needs_simulator
def test_any_name_simulates(tmp_path):
    netlist = CIRCUITS["no gates"]
    for name in ("wire", "n3", "a", "9", "mul8s_x"):
        multiplier = of(netlist, name)
        write_netlist(netlist, tmp_path / "x.v", name=name, multiplier=multiplier)
        assert check_export(tmp_path / "x.v", multiplier)


def test_a_wrong_file_is_found(tmp_path):
    netlist = CIRCUITS["narrow, signed"]
    multiplier = of(netlist)
    for suffix in (".c", ".v") if has_simulator() else (".c",):
        file = write_netlist(netlist, tmp_path / f"x{suffix}", name="mine")
        gate = re.search(r"n11 = [^;]*", file.read_text())[0]
        file.write_text(
            file.read_text().replace(gate, "n11 = a0" if suffix == ".c" else "n11 = a[0]")
        )
        with pytest.raises(CircuitError, match="128 of 512 products .* -7 x -16 gives"):
            check_export(file, multiplier)


@needs_simulator
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("endmodule", 'initial $readmemh("x", m);\nendmodule'), r"'\$readmemh' is not simulated"),
        (("endmodule", '`include "x"\nendmodule'), "'`include' is not simulated"),
        (("assign product =", "assign product = 4'bz; //"), "not defined"),
        (("assign product =", "assign product = ;"), "iverilog refuses the text"),
        (("module mine (", "module mine  ("), "expected a module that axopt wrote"),
    ],
)
def test_texts_that_are_not_simulated(tmp_path, change, message):
    netlist = CIRCUITS["no gates"]
    file = write_netlist(netlist, tmp_path / "x.v", name="mine")
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(CircuitError, match=message):
        check_export(file, of(netlist))


def test_without_simulator_the_message_names_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingPackageError, match="apt-get install iverilog"):
        simulate({"x": "module x ();"}, bits_a=2, bits_w=2)


def test_what_nothing_reads_is_not_checked(tmp_path):
    (tmp_path / "x.xyz").write_text("")
    with pytest.raises(MissingPackageError, match=r"nothing that is installed reads \.xyz"):
        check_export(tmp_path / "x.xyz", of(CIRCUITS["no gates"]))


def test_a_registered_writer_is_used(tmp_path):
    @register_netlist_writer("gates", suffixes=(".gates",), title="list of gates")
    def write_gates(netlist, name, header):
        return "\n".join([*header, name, str(len(netlist.gates))])

    try:
        write_netlist(CIRCUITS["no gates"], tmp_path / "x.GATES", name="one-two")
        written = (tmp_path / "x.GATES").read_text()
    finally:
        NETLIST_WRITERS.remove("gates")
    assert written == "one-two: unsigned multiplier of 2 x 8 bits, 0 gates\none_two\n0"


def test_what_a_writer_must_return():
    register_netlist_writer("bytes", suffixes=(".b",))(lambda netlist, name, header: b"")
    register_netlist_writer("fails", suffixes=(".f",))(lambda netlist, name, header: 1 / 0)
    try:
        with pytest.raises(ArgumentError, match="'bytes' must return a text, got bytes"):
            netlist_text(CIRCUITS["no gates"], name="x", format="bytes")
        with pytest.raises(RuntimeError, match="'fails': failed with ZeroDivisionError"):
            netlist_text(CIRCUITS["no gates"], name="x", format="fails")
    finally:
        NETLIST_WRITERS.remove("bytes")
        NETLIST_WRITERS.remove("fails")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda n: netlist_writer_for("x.vhd"),
            CircuitError,
            r"must be one of \.blif, \.c, \.sv, \.v",
        ),
        (lambda n: netlist_writer_for("x", "verilgo"), ArgumentError, "did you mean 'verilog'"),
        (lambda n: netlist_writer_for(3), ArgumentError, "`file` must be a path"),
        (lambda n: netlist_text(3, name="x", format="c"), ArgumentError, "`netlist` must be"),
        (lambda n: netlist_text(n, name="", format="c"), ArgumentError, "`name` must be"),
        (
            lambda n: netlist_text(n, name="x", format="c", multiplier="x"),
            ArgumentError,
            "`multiplier` must be",
        ),
        (lambda n: register_netlist_writer("x", suffixes=".v"), ArgumentError, "`suffixes`"),
        (lambda n: register_netlist_writer("x", suffixes=("v",)), ArgumentError, "`suffixes`"),
        (
            lambda n: register_netlist_writer("x", suffixes=(".x",), title="\n"),
            ArgumentError,
            "`title`",
        ),
        (lambda n: register_netlist_writer("x", suffixes=(".x",))(3), ArgumentError, "function"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(CIRCUITS["no gates"])


def test_gates_come_from_the_library_or_the_bundled_one(tmp_path):
    netlist = CIRCUITS["narrow, signed"]
    save_netlists(tmp_path / "x.gates.json.gz", {"user/kept": netlist})
    mine, bundled = of(netlist, "kept"), LIBRARY["v1/mul8s_1L2H"]
    assert gates_of(mine, tmp_path).table().tolist() == mine.table.tolist()
    assert gates_of(mine) is None
    assert gates_of(bundled, tmp_path) is gates_of(bundled)
    made = multiplier_of(netlist, "made")
    assert gates_of(made) is netlist
    other = Multiplier.from_table("kept", mine.table ^ 1, signed=True, **FIGURES)
    with pytest.raises(CircuitError, match="gate list of user/kept gives another table"):
        gates_of(other, tmp_path)
    renamed = Multiplier.from_table(
        "mul8s_1L2H", bundled.table ^ 1, signed=True, release="v1", **FIGURES
    )
    assert gates_of(renamed) is None
