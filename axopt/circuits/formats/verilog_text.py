"""Gate lists as structural Verilog-2001, which is SystemVerilog too.

One module, one continuous assignment a gate.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from axopt.circuits.formats.names import output_signals, signal_names
from axopt.circuits.formats.writers import register_netlist_writer
from axopt.circuits.netlist import Netlist

_GATES = {
    "not": "~{}",
    "and": "{} & {}",
    "or": "{} | {}",
    "xor": "{} ^ {}",
    "has": "{} ^ {}",
    "hac": "{} & {}",
    "fas": "{} ^ {} ^ {}",
    "fac": "({0} & {1}) | ({2} & ({0} ^ {1}))",
}


@register_netlist_writer("verilog", suffixes=(".v", ".sv"), title="Verilog")
def write(netlist: Netlist, name: str, header: Sequence[str]) -> str:
    """Return a module with the ports ``a``, ``b`` and ``product``."""
    signal = signal_names(netlist, "{}[{}]".format, ("1'b0", "1'b1"))
    kind = "signed " if netlist.signed else ""
    lines = [f"// {line}" for line in header]
    lines += [
        f"module {name} (",
        f"    input {kind}[{netlist.bits_a - 1}:0] a,",
        f"    input {kind}[{netlist.bits_w - 1}:0] b,",
        f"    output {kind}[{netlist.bits_a + netlist.bits_w - 1}:0] product",
        ");",
    ]
    for number, gate in enumerate(netlist.gates, netlist.first_gate):
        function = _GATES[gate.op].format(*(signal[i] for i in gate.inputs))
        lines.append(f"    wire {signal[number]} = {function};")
    bits = ", ".join(signal[i] for i in reversed(output_signals(netlist)))
    product = f"assign product = {{{bits}}};"
    lines += textwrap.wrap(product, 96, initial_indent=" " * 4, subsequent_indent=" " * 8)
    return "\n".join([*lines, "endmodule", ""])
