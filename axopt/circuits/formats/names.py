"""Names in the texts of gate lists: of modules, of signals and of outputs."""

from __future__ import annotations

import re
from collections.abc import Callable

from axopt.circuits.netlist import Netlist

_PORTS = {"a", "b", "product", "zero", "one"}
_VERILOG = """
accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
checker class clocking cmos config const constraint context continue cover covergroup coverpoint
cross deassign default defparam design disable dist do edge else end endcase endchecker endclass
endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually
expect export extends extern final first_match for force foreach forever fork forkjoin function
generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies
import incdir include initial inout input inside instance int integer interconnect interface
intersect join join_any join_none large let liblist library local localparam logic longint
macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive
priority program property protected pull0 pull1 pulldown pullup pulsestyle_ondetect
pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg reject_on
release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually
s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled signed small
soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran
tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until
until_with untyped use uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while
wildcard wire with within wor xnor xor
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
