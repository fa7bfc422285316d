"""Simulation of exported Verilog by Icarus Verilog, for all pairs of operands.

The simulator runs in a temporary folder. It gets texts without system tasks and compiler
directives only, so that no text reads or writes files.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.errors import CircuitError, MissingPackageError

SECONDS = 60
"""Time for the simulation of one module, which takes 0.6 s of processor time."""

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_REFUSED = re.compile(r"[`$]\s*\w*|\\")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def has_simulator() -> bool:
    """Return whether Icarus Verilog is installed."""
    return shutil.which("iverilog") is not None and shutil.which("vvp") is not None


def simulate(
    modules: Mapping[str, str], *, bits_a: int, bits_w: int, signed: bool = False
) -> dict[str, npt.NDArray[np.int32]]:
    """Return the product tables of Verilog modules with the ports of exported ones.

    Args:
        modules: Name of each module -> its text. All have operands of the same widths.
        bits_a: Width of the first operand.
        bits_w: Width of the second operand.
        signed: Whether the tables are those of signed operands.

    Returns:
        Name -> ``(2**bits_a, 2**bits_w)`` int32 in numeric order.

    Raises:
        MissingPackageError: If Icarus Verilog is not installed.
        CircuitError: If a text holds a system task, a directive or an escaped name, the simulator
            refuses a text, a product is not defined, or the simulation takes more than 60 s a
            module.

    Example:
        >>> from axopt.circuits import generate
        >>> from axopt.circuits.formats.writers import netlist_text
        >>> text = netlist_text(generate("exact", bits_a=2, bits_w=2), name="m", format="verilog")
        >>> if has_simulator():
        ...     assert simulate({"m": text}, bits_a=2, bits_w=2)["m"][3].tolist() == [0, 3, 6, 9]
    """
    if not has_simulator():
        raise MissingPackageError(
            "simulating Verilog needs Icarus Verilog; run: apt-get install iverilog."
        )
    for name, text in modules.items():
        _check_text(name, text)
    bench = _bench(list(modules), bits_a, bits_w)
    with tempfile.TemporaryDirectory(prefix="axopt-iverilog-") as temporary:
        folder = Path(temporary)
        source = folder / "design.v"
        source.write_text("\n".join([*modules.values(), bench]), encoding="utf-8")
        limit = SECONDS * len(modules)
        _run(["iverilog", "-g2001", "-o", "design.vvp", "design.v"], folder, limit)
        output = _run(["vvp", "-n", "design.vvp"], folder, limit)
    words = output.split()
    if len(words) != 2 ** (bits_a + bits_w) * len(modules):
        raise CircuitError(f"the simulation must print all products, got {len(words)} of them.")
    try:
        products = np.array([int(word, 16) for word in words], np.int64)
    except ValueError as error:  # x and z are the digits of what is not driven
        raise CircuitError(f"a simulated product is not defined: {error}") from error
    printed = products.reshape(2**bits_a, 2**bits_w, len(modules))
    rows, columns = (np.arange(2**bits) ^ (np.arange(2**bits) >> 1) for bits in (bits_a, bits_w))
    tables = np.empty_like(printed)
    tables[np.ix_(rows, columns)] = printed
    if signed:
        half = 2 ** (bits_a + bits_w - 1)
        tables = (tables ^ half) - half
        tables = np.roll(tables, (2 ** (bits_a - 1), 2 ** (bits_w - 1)), axis=(0, 1))
    return {name: tables[:, :, i].astype(np.int32) for i, name in enumerate(modules)}


def _check_text(name: str, text: str) -> None:
    code = _COMMENT.sub(" ", text)
    found = _REFUSED.search(code)
    if found is not None:
        raise CircuitError(f"{name}: {found[0]!r} is not simulated: texts may not name files.")
    if not _NAME.fullmatch(name) or not re.search(rf"\bmodule\s+{name}\b", code):
        raise CircuitError(f"{name}: the text holds no module of that name.")


def _bench(names: list[str], bits_a: int, bits_w: int) -> str:
    """Return a module that prints the products of all pairs, those of all modules in a line.

    Operands follow the order of a Gray code, in which gates switch least often.
    """
    wires = [f"  wire [{bits_a + bits_w - 1}:0] p{i};" for i in range(len(names))]
    parts = [f"  {n} u{i} (.a(a), .b(b), .product(p{i}));" for i, n in enumerate(names)]
    shown = ", ".join(f"p{i}" for i in range(len(names)))
    pattern = " ".join(["%h"] * len(names))
    return "\n".join(
        [
            "module axopt_testbench;",
            f"  reg [{bits_a - 1}:0] a;",
            f"  reg [{bits_w - 1}:0] b;",
            "  integer i, j;",
            *wires,
            *parts,
            "  initial begin",
            f"    for (i = 0; i < {2**bits_a}; i = i + 1)",
            f"      for (j = 0; j < {2**bits_w}; j = j + 1) begin",
            f'        a = i ^ (i >> 1); b = j ^ (j >> 1); #1 $display("{pattern}", {shown});',
            "      end",
            "    $finish;",
            "  end",
            "endmodule",
            "",
        ]
    )


def _run(command: list[str], folder: Path, seconds: int) -> str:
    """Run a program of Icarus Verilog in a folder and return what it prints."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CircuitError(f"{command[0]} takes more than {seconds} s.") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise CircuitError(f"{command[0]} refuses the text: {lines[0][:200]}")
    return done.stdout
