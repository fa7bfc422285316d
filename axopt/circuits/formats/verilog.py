"""Verilog files, synthesised by Yosys: structural, ``assign`` and behavioural.

The top module is that of the file's name, else the first that no other one uses. It has two
operands as inputs and their product as output, as buses or as single bits that are named by their
numbers. The first input is the first operand. Clocks, memories, latches and unknown modules are
refused; the cells of the 45 nm library that EvoApproxLib's files use are known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from axopt.circuits.builder import ONE, ZERO, NetlistBuilder
from axopt.circuits.formats.bit_vectors import BitVector
from axopt.circuits.formats.gates import Driver, operands, product, signals_of
from axopt.circuits.formats.reading import imported_circuit, order_note
from axopt.circuits.formats.yosys import synthesise
from axopt.errors import CircuitError, LutFormatError
from axopt.files import read_bytes
from axopt.multipliers import Imported, register_importer
from axopt.multipliers.formats.text import decode, stated_figures

MAX_FILE_BYTES = 1 << 20
"""Longest Verilog file; EvoApproxLib's have 13 KB."""

_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_MODULE = re.compile(r"\bmodule\s{1,20}([A-Za-z_]\w{0,99})\b", re.ASCII)

Make = Callable[[NetlistBuilder, Sequence[int]], int]


def _inverted(make: Make) -> Make:
    return lambda build, inputs: build.not_(make(build, inputs))


def _and(build: NetlistBuilder, inputs: Sequence[int]) -> int:
    return build.and_(*inputs)


def _or(build: NetlistBuilder, inputs: Sequence[int]) -> int:
    return build.or_(*inputs)


def _xor(build: NetlistBuilder, inputs: Sequence[int]) -> int:
    return build.xor(*inputs)


def _mux(build: NetlistBuilder, inputs: Sequence[int]) -> int:
    return build.mux(inputs[2], inputs[0], inputs[1])


CELLS: dict[str, tuple[str, Make]] = {
    "$_BUF_": ("A", lambda build, inputs: inputs[0]),
    "$_NOT_": ("A", lambda build, inputs: build.not_(inputs[0])),
    **{"$_AND_": ("AB", _and), "$_NAND_": ("AB", _inverted(_and))},
    **{"$_OR_": ("AB", _or), "$_NOR_": ("AB", _inverted(_or))},
    **{"$_XOR_": ("AB", _xor), "$_XNOR_": ("AB", _inverted(_xor))},
    "$_ANDNOT_": ("AB", lambda build, x: build.and_(x[0], build.not_(x[1]))),
    "$_ORNOT_": ("AB", lambda build, x: build.or_(x[0], build.not_(x[1]))),
    **{"$_MUX_": ("ABS", _mux), "$_NMUX_": ("ABS", _inverted(_mux))},
}
"""Gates of Yosys: their inputs, and what makes them."""

_PDK45 = {
    **{f"{name}X{x}": (f"A{b}", f"Y = {text}") for x in (1, 2, 4) for name, b, text in (
        ("AND2", "B", "A & B"), ("OR2", "B", "A | B"), ("XOR2", "B", "A ^ B"),
        ("NAND2", "B", "~(A & B)"), ("NOR2", "B", "~(A | B)"), ("XNOR2", "B", "~(A ^ B)"),
        ("NAND3", "BC", "~(A & B & C)"), ("NOR3", "BC", "~(A | B | C)"),
        ("AOI21", "BC", "~((A & B) | C)"), ("OAI21", "BC", "~((A | B) & C)"),
        ("AOI22", "BCD", "~((A & B) | (C & D))"), ("OAI22", "BCD", "~((A | B) & (C | D))"),
        ("MUX2", "BS", "S ? B : A"), ("INV", "", "~A"), ("BUF", "", "A"),
    )},
    "HAX1": ("AB", "{YC, YS} = A + B"),
    "FAX1": ("ABC", "{YC, YS} = A + B + C"),
}  # fmt: skip


def read_many(
    paths: Sequence[Path], signed: bool | None
) -> list[Sequence[Imported] | LutFormatError]:
    """Read several files like `read`, which is faster than one by one.

    Returns:
        For each file its multiplier, or the error that refuses it.

    Raises:
        MissingPackageError: If there is no Yosys.
    """
    results: dict[Path, Sequence[Imported] | LutFormatError] = {}
    texts: dict[Path, str] = {}
    for path in paths:
        try:
            texts[path] = decode(read_bytes(path, limit=MAX_FILE_BYTES), path)
        except OSError as error:
            results[path] = LutFormatError(f"{path}: cannot be read: {error.strerror}.")
        except LutFormatError as error:
            results[path] = error
    for system_verilog in (False, True):
        chosen = [p for p in texts if (p.suffix.lower() == ".sv") == system_verilog]
        completed = [texts[path] + _missing_cells(texts[path]) for path in chosen]
        tops = [_top_name(texts[path], path) for path in chosen]
        designs = synthesise(completed, chosen, tops, sv=system_verilog) if chosen else []
        for path, design in zip(chosen, designs, strict=True):
            results[path] = _multiplier(design, texts[path], path, signed)
    return [results[path] for path in paths]


@register_importer("verilog", suffixes=(".v", ".sv"), title="Verilog", read_many=read_many)
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the multiplier that the top module of a file describes.

    Raises:
        LutFormatError: If Yosys refuses the file, or its top module is no such multiplier.
        MissingPackageError: If there is no Yosys.
    """
    [found] = read_many([path], signed)
    if isinstance(found, LutFormatError):
        raise found
    return found


def _top_name(text: str, path: Path) -> str:
    """Return the module that is the multiplier, or "" to let Yosys decide."""
    code = _COMMENT.sub(" ", text)
    names = _MODULE.findall(code)
    if path.stem in names:
        return path.stem
    counts = Counter(re.findall(r"\w+", code))
    unused = [name for name in names if counts[name] == 1]
    return unused[0] if unused else ""


def _missing_cells(text: str) -> str:
    """Return the modules of cells of the 45 nm library that a text uses and does not define."""
    used = set(re.findall(r"\b[A-Z]{2,4}[0-9]{0,2}X[124]\b", text)) & _PDK45.keys()
    modules = ""
    for name in sorted(used):
        if not re.search(rf"\bmodule\s+{name}\b", text):
            inputs, function = _PDK45[name]
            outputs = "YC, output YS" if "{" in function else "Y"
            ports = "".join(f"input {port}, " for port in inputs)
            modules += f"\nmodule {name}({ports}output {outputs}); assign {function}; endmodule"
    return modules


def _multiplier(
    design: dict[str, Any] | LutFormatError, text: str, path: Path, signed: bool | None
) -> Sequence[Imported] | LutFormatError:
    if isinstance(design, LutFormatError):
        return design
    try:
        name, module = _top(design, path)
        return [_imported(name, module, text, path, signed)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, LutFormatError):
            return error
        if isinstance(error, CircuitError):
            return LutFormatError(f"{path}: {error}")
        return LutFormatError(f"{path}: Yosys wrote a design of another layout: {error!r}.")


def _top(design: dict[str, Any], path: Path) -> tuple[str, dict[str, Any]]:
    """Return name and content of the top module."""
    modules: dict[str, dict[str, Any]] = design["modules"]
    tops = [name for name, m in modules.items() if int(m["attributes"].get("top", "0"), 2)]
    if not tops:
        raise LutFormatError(f"{path}: expected a module, got none.")
    return tops[0], modules[tops[0]]


def _imported(
    name: str, module: dict[str, Any], text: str, path: Path, signed: bool | None
) -> Imported:
    ports = module["ports"]
    directions = {port["direction"] for port in ports.values()}
    if not directions <= {"input", "output"}:
        raise LutFormatError(f"{path}: a port is bidirectional.")
    inputs = [(n, p["bits"]) for n, p in ports.items() if p["direction"] == "input"]
    outputs = [(n, p["bits"]) for n, p in ports.items() if p["direction"] == "output"]
    first, second = operands(inputs, path)
    _, nets = product(outputs, path)
    build = NetlistBuilder(len(first[1]), len(second[1]), signed=False)
    known = dict(zip([*first[1], *second[1]], [*build.a, *build.w], strict=True))
    known |= {"0": ZERO, "1": ONE}
    bits = signals_of(build, _drivers(module["cells"], path), known, nets, path)
    flags = [bool(ports[n].get("signed", 0)) for n in (first[0], second[0]) if n in ports]
    declared = all(flags) if flags and any(flags) else None
    above = bits[-1] if declared else ZERO
    return imported_circuit(
        build,
        BitVector(tuple(bits), above),
        path,
        name=name,
        figures=stated_figures(text),
        declared=declared,
        signed=signed,
        notes=order_note(path, first[0], second[0]),
    )


def _drivers(cells: dict[str, Any], path: Path) -> dict[object, Driver]:
    """Return the driver of each net of Yosys' gates."""
    drivers: dict[object, Driver] = {}
    for cell in cells.values():
        kind, connections = cell["type"], cell["connections"]
        if kind not in CELLS:
            raise LutFormatError(f"{path}: `{kind[:60]}` is no gate of combinational logic.")
        inputs, make = CELLS[kind]
        drivers[connections["Y"][0]] = Driver(tuple(connections[i][0] for i in inputs), make)
    return drivers
