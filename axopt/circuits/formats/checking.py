"""Comparison of an exported circuit with the table of its multiplier, over all operands."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.circuits.formats.simulation import has_simulator, simulate
from axopt.circuits.formats.yosys import engine
from axopt.errors import CircuitError, LutFormatError, MissingPackageError
from axopt.files import as_path, read_bytes
from axopt.multipliers import IMPORTERS, TABLE_WRITERS, Importer, Multiplier, read_tables

MAX_FILE_BYTES = 16 << 20

_VERILOG = (".v", ".sv")
_MODULE = re.compile(r"^module (\w{1,200}) \($", re.ASCII | re.MULTILINE)


def check_export(
    file: str | os.PathLike[str],
    multiplier: Multiplier,
    *,
    format: str | None = None,
    quick: bool = False,
) -> str:
    """Compare a file that axopt exported with the table of the multiplier, on all operand pairs.

    Verilog is simulated by Icarus Verilog where that is installed. Other files, and Verilog
    elsewhere (with Yosys), are read by the importer of the format.

    Args:
        file: The file.
        multiplier: The multiplier that was exported.
        format: Name of the format; by default it follows from the suffix.
        quick: Whether to give up where Yosys has to be compiled first, which takes a minute.

    Returns:
        What computed the products: ``"Icarus Verilog"`` or the title of the importer.

    Raises:
        CircuitError: If a product of the file differs from the table, or the file is refused.
        MissingPackageError: If nothing that is installed can read the file.
        OSError: If the file cannot be read.

    Example:
        >>> from axopt.circuits import load_netlists, write_netlist
        >>> from axopt.multipliers import load_library
        >>> multiplier = load_library(narrow=True)["v2022/mul8x2u_0AJ"]
        >>> gates = load_netlists()[multiplier.key]
        >>> file = write_netlist(gates, "mine.c", name=multiplier.name, multiplier=multiplier)
        >>> check_export(file, multiplier)
        'C model reader'
    """
    file = as_path(file, "file")
    if _is_verilog(file, format) and has_simulator():
        table, method = _simulated(file, multiplier)
    else:
        if _is_verilog(file, format) and quick and not engine().is_prepared:
            raise MissingPackageError(f"{file}: Yosys is not prepared yet; --check does it.")
        table, method = _read(file, multiplier, format)
    if table.shape != multiplier.table.shape:
        raise CircuitError(
            f"{file}: must have a table of {multiplier.table.shape} products, as"
            f" {multiplier.key} has, got {table.shape}."
        )
    wrong = np.argwhere(table != multiplier.table)
    if len(wrong):
        i, j = wrong[0]
        first = [0, 0]
        if multiplier.signed:
            first = [-(size // 2) for size in table.shape]
        raise CircuitError(
            f"{file}: {len(wrong):,} of {table.size:,} products differ from those of"
            f" {multiplier.key}; {first[0] + i} x {first[1] + j} gives {table[i, j]} instead of"
            f" {multiplier.table[i, j]} ({method})."
        )
    return method


def _simulated(file: Path, multiplier: Multiplier) -> tuple[npt.NDArray[np.integer], str]:
    text = read_bytes(file, limit=MAX_FILE_BYTES).decode("utf-8", "replace")
    match = _MODULE.search(text)
    if match is None:
        raise CircuitError(f"{file}: expected a module that axopt wrote, got none.")
    try:
        tables = simulate(
            {match[1]: text},
            bits_a=multiplier.bits_a,
            bits_w=multiplier.bits_w,
            signed=multiplier.signed,
        )
    except CircuitError as error:
        raise CircuitError(f"{file}: {error}") from error
    return tables[match[1]], "Icarus Verilog"


def _is_verilog(file: Path, format: str | None) -> bool:
    return format == "verilog" or (format is None and file.suffix.lower() in _VERILOG)


def _read(
    file: Path, multiplier: Multiplier, format: str | None
) -> tuple[npt.NDArray[np.integer], str]:
    importer = _importer(file, format)
    if importer is None:
        what = format or f"{file.suffix.lower()} files"
        raise MissingPackageError(f"{file}: nothing that is installed reads {what}.")
    try:
        found = read_tables(file, signed=multiplier.signed, format=importer.name)
    except LutFormatError as error:
        raise CircuitError(str(error)) from error
    if len(found) != 1:
        raise CircuitError(f"{file}: expected one table, got {len(found)}.")
    return found[0].table, f"{importer.title} reader"


def _importer(file: Path, format: str | None) -> Importer | None:
    """Return the importer of a format or of its suffix, None if there is none."""
    if format is not None and format in IMPORTERS:
        return IMPORTERS[format]
    suffix = file.suffix.lower() if format is None else _suffix_of(format)
    importers = (IMPORTERS[name] for name in IMPORTERS.names())
    return next((i for i in importers if suffix in i.suffixes), None)


def _suffix_of(format: str) -> str:
    """Return the first suffix of the files that a writer of tables writes, "" for another."""
    return TABLE_WRITERS[format].suffixes[0] if format in TABLE_WRITERS else ""
