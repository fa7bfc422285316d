"""Names in the texts of gate lists: of modules, of signals and of outputs."""

from __future__ import annotations

import re
from collections.abc import Callable

from axopt.circuits.netlist import Netlist

_PORTS = {"a", "b", "product", "zero", "one"}
_VERILOG = """
always and assign automatic begin bit buf bufif0 bufif1 byte case casex casez cell class cmos
config deassign default defparam design disable do edge else end endcase endconfig endfunction
endgenerate endmodule endprimitive endspecify endtable endtask enum event export extern final
for force forever fork function generate genvar highz0 highz1 if ifnone import incdir include
initial inout input instance int integer interface join large liblist library localparam logic
longint macromodule medium module nand negedge new nmos nor noshowcancelled not notif0 notif1 or
output package packed parameter pmos posedge primitive program property protected pull0 pull1
pulldown pullup pulsestyle_onevent pulsestyle_ondetect ref rcmos real realtime reg release
repeat return rnmos rpmos rtran rtranif0 rtranif1 scalared sequence shortint showcancelled
signed small specify specparam static string strong0 strong1 struct super supply0 supply1 table
task this time tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union
unsigned use var vectored virtual void wait wand weak0 weak1 while wire wor xnor xor
"""
_C = """
asm auto break char const continue double enum float goto inline long main register restrict short
sizeof switch volatile abs div exp log pow round sqrt
"""
_RESERVED = {*_PORTS, *_VERILOG.split(), *_C.split()}
_SIGNAL = re.compile(r"[nab]\d+")
_WIDTHS = re.compile(r"mul(\d{1,3})(?:x(\d{1,3}))?(?:([us])e?)?(?:_|$)", re.IGNORECASE)
_PREFIX = "m_"


def identifier(name: str, netlist: Netlist) -> str:
    """Return a name as one that Verilog, BLIF and C allow for a module or function.

    Characters other than ASCII letters, digits and underscores become underscores. A prefix
    separates it from keywords and signals, and from names of EvoApproxLib's manner that state
    other operands than the gate list has: readers trust these.

    Args:
        name: Any text that is not empty.
        netlist: The gates, whose widths and kind a name must not contradict.

    Example:
        >>> narrow = Netlist(4, 5, True, (), (0,))
        >>> [identifier(name, narrow) for name in ("mul4x5s_1", "mul8u_1", "wire", "2.5-bit")]
        ['mul4x5s_1', 'm_mul8u_1', 'm_wire', 'm_2_5_bit']
    """
    text = re.sub(r"[^A-Za-z0-9_]", "_", name)
    refused = text in _RESERVED or _SIGNAL.fullmatch(text) or not text[0].isalpha()
    return _PREFIX + text if refused or _misleads(text, netlist) else text


def _misleads(name: str, netlist: Netlist) -> bool:
    match = _WIDTHS.match(name)
    if match is None:
        return False
    widths = int(match[1]), int(match[2] or match[1])
    kind = (match[3] or "").lower()
    signs = {"s": True, "u": False}.get(kind, netlist.signed)
    return widths != (netlist.bits_a, netlist.bits_w) or signs != netlist.signed


def signal_names(
    netlist: Netlist, bit: Callable[[str, int], str], constants: tuple[str, str]
) -> list[str]:
    """Return the name of every signal: ``n`` and its number for those of gates.

    Args:
        netlist: The gates.
        bit: Returns the name of a bit of an operand: ``bit("a", 3)``.
        constants: The names of 0 and 1.

    Example:
        >>> netlist = Netlist(2, 2, False, (), (0,))
        >>> signal_names(netlist, "{}{}".format, ("0", "1"))
        ['0', '1', 'a0', 'a1', 'b0', 'b1']
    """
    operands = [bit("a", place) for place in range(netlist.bits_a)]
    operands += [bit("b", place) for place in range(netlist.bits_w)]
    gates = [f"n{netlist.first_gate + number}" for number in range(len(netlist.gates))]
    return [*constants, *operands, *gates]


def output_signals(netlist: Netlist) -> list[int]:
    """Return the signals of all ``bits_a + bits_w`` bits of the product, from the lowest.

    Example:
        >>> output_signals(Netlist(2, 2, True, (), (2, 4)))
        [2, 4, 4, 4]
    """
    missing = netlist.bits_a + netlist.bits_w - len(netlist.outputs)
    above = netlist.outputs[-1] if netlist.signed else 0
    return [*netlist.outputs, *[above] * missing]
