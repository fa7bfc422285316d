"""Gate lists as texts, for tests of the readers: C as in EvoApproxLib, Verilog, BLIF."""

import numpy as np

from axopt.circuits import Netlist, load_netlists

_C = {"not": "~{}", "and": "{}&{}", "or": "{}|{}", "xor": "{}^{}", "has": "{}^{}", "hac": "{}&{}"}
_C |= {"fas": "({}^{})^{}", "fac": "({0}&{1})|({1}&{2})|({0}&{2})"}
_COVERS = {"not": ["0"], "and": ["11"], "or": ["1-", "-1"], "xor": ["01", "10"]}
_COVERS |= {"has": _COVERS["xor"], "hac": _COVERS["and"], "fac": ["11-", "1-1", "-11"]}
_COVERS |= {"fas": ["001", "010", "100", "111"]}
COMMENT = """/***
* This code is a part of a library of approximate circuits
***/
// MAE = {mae}
// PDK45_PWR = 0.301 mW
// PDK45_AREA = 558.9 um2
// PDK45_DELAY = 1.36 ns
"""


def names(netlist: Netlist, a: str, w: str, constants: tuple[str, str]) -> list[str]:
    """The name of each signal."""
    operands = [a.format(i) for i in range(netlist.bits_a)]
    operands += [w.format(i) for i in range(netlist.bits_w)]
    return [*constants, *operands, *(f"n{i}" for i in range(len(netlist.gates)))]


def as_c(netlist: Netlist, name: str, *, types=None, operands=("A", "B"), comment="") -> str:
    """A C model; ``types`` are those of the operands and of the product."""
    prefix = "" if netlist.signed else "u"
    a, w, result = types or (f"{prefix}int8_t", f"{prefix}int8_t", f"{prefix}int16_t")
    signal = names(netlist, f"(({operands[0]} >> {{}})&1)", f"(({operands[1]} >> {{}})&1)", "01")
    lines = [
        comment + "#include <stdint.h>",
        "#include <stdlib.h>",
        "",
        f"{result} {name}({a} {operands[0]}, {w} {operands[1]})",
        "{",
        f" {result} O;",
    ]
    if netlist.gates:
        lines.append(" uint8_t " + ",".join(signal[netlist.first_gate :]) + ";")
    for number, gate in enumerate(netlist.gates):
        text = _C[gate.op].format(*(signal[i] for i in gate.inputs))
        lines.append(f" n{number}={text};")
    lines.append(" O = 0;")
    lines += [f" O |= ({signal[s]}&1) << {i};" for i, s in enumerate(_outputs(netlist))]
    return "\n".join([*lines, " return O;", "}", ""])


def as_verilog(netlist: Netlist, name: str, *, comment="") -> str:
    """A structural Verilog module, with half and full adders as modules of their own."""
    signal = names(netlist, "A[{}]", "B[{}]", ("1'b0", "1'b1"))
    lines = [
        f"{comment}module {name}(A, B, O);",
        f"  input [{netlist.bits_a - 1}:0] A;",
        f"  input [{netlist.bits_w - 1}:0] B;",
        f"  output [{netlist.bits_a + netlist.bits_w - 1}:0] O;",
    ]
    for number, gate in enumerate(netlist.gates):
        inputs = [signal[i] for i in gate.inputs]
        if gate.op.startswith("f"):
            ports = ", ".join(f".{p}({i})" for p, i in zip("ABC", inputs, strict=True))
            lines.append(f"  wire n{number};\n  FA u{number}({ports}, .Y{gate.op[2]}(n{number}));")
        else:
            lines.append(f"  wire n{number};")
            lines.append(f"  assign n{number} = {_C[gate.op].format(*inputs)};")
    lines += [f"  assign O[{i}] = {signal[s]};" for i, s in enumerate(_outputs(netlist))]
    lines += ["endmodule", "module FA(input A, input B, input C, output Ys, output Yc);"]
    lines += ["  assign Ys = A ^ B ^ C;", "  assign Yc = (A & B) | (B & C) | (A & C);"]
    return "\n".join([*lines, "endmodule", ""])


def as_behaviour(netlist: Netlist, name: str) -> str:
    """A behavioural Verilog module with an ``always`` block."""
    signal = names(netlist, "A[{}]", "B[{}]", ("1'b0", "1'b1"))
    width = netlist.bits_a + netlist.bits_w
    lines = [
        f"module {name} #(parameter W = {width}) (input [{netlist.bits_a - 1}:0] A,",
        f"  input [{netlist.bits_w - 1}:0] B, output reg [W-1:0] O);",
        *(f"  reg n{number};" for number in range(len(netlist.gates))),
        "  always @* begin",
    ]
    for number, gate in enumerate(netlist.gates):
        lines.append(f"    n{number} = {_C[gate.op].format(*(signal[i] for i in gate.inputs))};")
    bits = ", ".join(signal[s] for s in reversed(_outputs(netlist)))
    return "\n".join([*lines, f"    O = {{{bits}}};", "  end", "endmodule", ""])


def as_blif(netlist: Netlist, name: str) -> str:
    """A flat BLIF model."""
    signal = names(netlist, "a[{}]", "b[{}]", ("zero", "one"))
    width = netlist.bits_a + netlist.bits_w
    lines = [
        f".model {name}",
        ".inputs " + " ".join(signal[i] for i in netlist.a),
        ".inputs " + " ".join(signal[i] for i in netlist.w),
        ".outputs " + " \\\n  ".join(f"out[{i}]" for i in range(width)),
        ".names zero",
        ".names one",
        "1",
    ]
    for number, gate in enumerate(netlist.gates):
        lines.append(f".names {' '.join(signal[i] for i in gate.inputs)} n{number}")
        lines += [f"{cube} 1" for cube in _COVERS[gate.op]]
    for i, s in enumerate(_outputs(netlist)):
        lines += [f".names {signal[s]} out[{i}]", "1 1"]
    return "\n".join([*lines, ".end", ""])


def _outputs(netlist: Netlist) -> list[int]:
    """The signals of all bits of the product."""
    missing = netlist.bits_a + netlist.bits_w - len(netlist.outputs)
    return [*netlist.outputs, *[netlist.outputs[-1] if netlist.signed else 0] * missing]


def check_comes_back(read, printed, key):
    """Print a bundled gate list, read it, and compare table, gates, kind and name."""
    netlist, name = load_netlists()[key], key.partition("/")[2]
    found = read(printed(netlist, name))
    np.testing.assert_array_equal(found.table, netlist.table(), err_msg=key)
    np.testing.assert_array_equal(found.netlist.table(), netlist.table(), err_msg=key)
    assert (found.signed, found.name) == (netlist.signed, name)
    assert not found.notes
