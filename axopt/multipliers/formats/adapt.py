"""C headers of AdaPT and TransAxx: ``const int16_t lut [256][256] = {{...}, ...};``.

TransAxx writes ``const __device__ short`` instead. Rows and columns of a signed table are in the
order of bit patterns: 0..127, then -128..-1. Rows are the first argument of the multiplier's C
function. (AdaPT's convolution looks up ``lut[w][x]``, its linear layer ``lut[x][w]``.) Unsigned
tables are ``uint16_t`` in numeric order; AdaPT has none.

Headers are parsed, never compiled. Anything except comments, preprocessor lines and one array is
refused.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.multipliers.formats.bit_patterns import swap_halves
from axopt.multipliers.formats.interpretation import interpret
from axopt.multipliers.formats.registry import (
    Imported,
    check_full_width,
    read_table_file,
    register_importer,
    register_table_writer,
)
from axopt.multipliers.formats.text import decode, stated_figures, without_comments

_ARRAY = re.compile(
    r"\s*(?:(?:static|const|__device__|__constant__)\s+)*"
    r"(u?int16_t|(?:unsigned\s+)?short)\s+\w+\s*\[\s*256\s*\]\s*\[\s*256\s*\]\s*"
    r"=\s*\{([-\d\s,{}]*)\}\s*;\s*",
    re.ASCII,
)
_ROW = re.compile(r"\s*\{([-\d\s,]*)\}\s*")
_NUMBER = re.compile(r"\s*(-?(?:0|[1-9]\d{0,8}))\s*")  # 010 would be octal in C
_SYNONYMS = {"short": "int16_t", "unsigned short": "uint16_t"}
_LIMITS = {"int16_t": (-32768, 32767), "uint16_t": (0, 65535)}


@register_importer("adapt", suffixes=(".h",), title="AdaPT header")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the table of a header; ``int16_t`` is signed, ``uint16_t`` is not.

    Raises:
        LutFormatError: If the header is anything but one table, of the kind that is asked for.
    """
    text = decode(read_table_file(path), path)
    declared, body = _declaration(text, str(path))
    if signed is not None and (declared == "int16_t") != signed:
        kind = "signed" if signed else "unsigned"
        raise LutFormatError(f"{path}: declares {declared}, but `signed` says {kind}.")
    rows = [_row(row, f"{path}: row {i}") for i, row in enumerate(_rows(body, str(path)))]
    table: npt.NDArray[np.integer] = np.array(rows, dtype=np.int32)
    low, high = _LIMITS[declared]
    if table.min() < low or table.max() > high:
        raise LutFormatError(
            f"{path}: {declared} holds {low}..{high}, got {table.min()}..{table.max()}."
        )
    return [
        interpret(
            table,
            path,
            order="patterns",
            declared=declared == "int16_t",
            signed=signed,
            figures=stated_figures(text),
        )
    ]


@register_table_writer("adapt", suffixes=(".h",), title="AdaPT header")
def write(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return a header that AdaPT compiles and `read` reads.

    Raises:
        LutFormatError: If the table is not one of 8 x 8 bits.
    """
    check_full_width(table, "an AdaPT header")
    ordered = swap_halves(table) if signed else table
    rows = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in ordered.tolist())
    declared = "int16_t" if signed else "uint16_t"
    text = f"#include <stdint.h>\n\nconst {declared} lut [256][256] = {{{rows}}};\n"
    return text.encode("ascii")


def _declaration(text: str, where: str) -> tuple[str, str]:
    """Return the element type and the text between the outer braces."""
    text = without_comments(text, where)
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    match = _ARRAY.fullmatch("\n".join(lines))
    if match is None:
        raise LutFormatError(
            f"{where}: expected exactly one array `const int16_t lut[256][256] = {{...}};` or"
            " uint16_t, and nothing else."
        )
    declared = " ".join(match[1].split())
    return _SYNONYMS.get(declared, declared), match[2]


def _rows(body: str, where: str) -> list[str]:
    """Split the body into the texts of its 256 rows; as in C, the last may have a comma."""
    rows = []
    position = 0
    while match := _ROW.match(body, position):
        rows.append(match[1])
        position = match.end()
        if not body.startswith(",", position):
            break
        position += 1
    if body[position:].strip():
        raise LutFormatError(f"{where}: expected rows `{{...}}` separated by commas.")
    if len(rows) != 256:
        raise LutFormatError(f"{where}: expected 256 rows, got {len(rows)}.")
    return rows


def _row(text: str, where: str) -> list[int]:
    cells = text.split(",")
    if not cells[-1].strip():
        cells.pop()
    if len(cells) != 256:
        raise LutFormatError(f"{where}: expected 256 numbers, got {len(cells)}.")
    matches = [_NUMBER.fullmatch(cell) for cell in cells]
    if None in matches:
        cell = cells[matches.index(None)].strip()
        raise LutFormatError(f"{where}: expected a decimal number, got {cell[:40]!r}.")
    return [int(match[1]) for match in matches if match]
