"""Gate lists as BLIF: one model, one cover a gate.

BLIF does not say whether operands are signed; a name in EvoApproxLib's manner, such as
``mul8s_mine``, does.
"""

from __future__ import annotations

from collections.abc import Sequence

from axopt.circuits.formats.names import output_signals, signal_names
from axopt.circuits.formats.writers import register_netlist_writer
from axopt.circuits.netlist import Netlist

_COVERS = {
    "not": ("0",),
    "and": ("11",),
    "or": ("1-", "-1"),
    "xor": ("01", "10"),
    "has": ("01", "10"),
    "hac": ("11",),
    "fas": ("001", "010", "100", "111"),
    "fac": ("11-", "1-1", "-11"),
}
_CONSTANTS = ("zero", "one")


@register_netlist_writer("blif", suffixes=(".blif",), title="BLIF")
def write(netlist: Netlist, name: str, header: Sequence[str]) -> str:
    """Return a model with the inputs ``a[0]``, ``b[0]``.. and outputs ``product[0]``.."""
    signal = signal_names(netlist, "{}[{}]".format, _CONSTANTS)
    outputs = output_signals(netlist)
    lines = [f"# {line}" for line in header]
    lines += [
        f".model {name}",
        f".inputs {' '.join(signal[i] for i in netlist.a)}",
        f".inputs {' '.join(signal[i] for i in netlist.w)}",
        f".outputs {' '.join(f'product[{place}]' for place in range(len(outputs)))}",
    ]
    used = {i for gate in netlist.gates for i in gate.inputs} | set(outputs)
    for value, constant in enumerate(_CONSTANTS):
        if value in used:
            lines += [f".names {constant}", *["1"] * value]
    for number, gate in enumerate(netlist.gates, netlist.first_gate):
        lines.append(f".names {' '.join(signal[i] for i in gate.inputs)} {signal[number]}")
        lines += [f"{cube} 1" for cube in _COVERS[gate.op]]
    for place, output in enumerate(outputs):
        lines += [f".names {signal[output]} product[{place}]", "1 1"]
    return "\n".join([*lines, ".end", ""])
