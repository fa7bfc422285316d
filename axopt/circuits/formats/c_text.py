"""Gate lists as C in EvoApproxLib's manner: one function of two integers, straight-line."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.circuits.formats.names import output_signals, signal_names
from axopt.circuits.formats.writers import register_netlist_writer
from axopt.circuits.netlist import MAX_BITS, Netlist

_GATES = {
    "not": "{} ^ 1u",
    "and": "{} & {}",
    "or": "{} | {}",
    "xor": "{} ^ {}",
    "has": "{} ^ {}",
    "hac": "{} & {}",
    "fas": "{} ^ {} ^ {}",
    "fac": "({0} & {1}) | ({2} & ({0} ^ {1}))",
}
_BITS_PER_LINE = 4


@register_netlist_writer("c", suffixes=(".c",), title="C model")
def write(netlist: Netlist, name: str, header: Sequence[str]) -> str:
    """Return a function that takes ``a`` and ``b`` and returns the product.

    Operands of 8 bits are ``int8_t`` or ``uint8_t``. Narrower ones are ``int`` or ``unsigned``;
    bits above their width are ignored.
    """
    signal = signal_names(netlist, "{}{}".format, ("0u", "1u"))
    lines = [f"// {line}" for line in header]
    types = [_type(bits, netlist.signed) for bits in (netlist.bits_a, netlist.bits_w)]
    returned = "int16_t" if netlist.signed else "uint16_t"
    lines += ["#include <stdint.h>", ""]
    lines += [f"{returned} {name}({types[0]} a, {types[1]} b)", "{"]
    for operand, bits in (("a", netlist.bits_a), ("b", netlist.bits_w)):
        for place in range(bits):
            value = f"((unsigned){operand} >> {place}) & 1u"
            lines.append(f"    const unsigned {operand}{place} = {value};")
    for number, gate in enumerate(netlist.gates, netlist.first_gate):
        function = _GATES[gate.op].format(*(signal[i] for i in gate.inputs))
        lines.append(f"    const unsigned {signal[number]} = {function};")
    return "\n".join([*lines, *_return(netlist, signal, returned), "}", ""])


def _type(bits: int, signed: bool) -> str:
    if bits == MAX_BITS:
        return "int8_t" if signed else "uint8_t"
    return "int" if signed else "unsigned"


def _return(netlist: Netlist, signal: Sequence[str], returned: str) -> list[str]:
    """Return the statements that put the bits together.

    The highest bit of a signed product is subtracted: no conversion has to wrap.
    """
    bits = [f"{signal[i]} << {place}" for place, i in enumerate(output_signals(netlist))]
    *low, top = bits
    if not netlist.signed:
        low = bits
    rows = [
        " | ".join(f"({bit})" for bit in low[i : i + _BITS_PER_LINE])
        for i in range(0, len(low), _BITS_PER_LINE)
    ]
    lines = [f"    const unsigned low = {rows[0]}"]
    lines += [f"        | {row}" for row in rows[1:]]
    lines[-1] += ";"
    value = f"(int)low - (int)({top})" if netlist.signed else "low"
    return [*lines, f"    return ({returned})({value});"]
