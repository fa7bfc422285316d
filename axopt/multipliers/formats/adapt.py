"""C headers of AdaPT and TransAxx: ``const int16_t lut [256][256] = {{...}, ...};``.

Rows and columns of a signed table are in the order of bit patterns: 0..127, then -128..-1. Rows
are the first argument of the multiplier's C function. (AdaPT's convolution looks up ``lut[w][x]``,
its linear layer ``lut[x][w]``.) Unsigned tables are ``uint16_t`` in numeric order; AdaPT has none.

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
from axopt.multipliers.formats.registry import (
    Imported,
    TableWarning,
    read_table_file,
    register_importer,
    register_table_writer,
)

_ARRAY = re.compile(
    r"\s*(?:(?:static|const)\s+)*(u?int16_t)\s+\w+\s*\[\s*256\s*\]\s*\[\s*256\s*\]\s*"
    r"=\s*\{([-\d\s,{}]*)\}\s*;\s*",
    re.ASCII,
)
_ROW = re.compile(r"\s*\{([-\d\s,]*)\}\s*")
_NUMBER = re.compile(r"\s*(-?(?:0|[1-9]\d{0,8}))\s*")  # 010 would be octal in C
_LIMITS = {"int16_t": (-32768, 32767), "uint16_t": (0, 65535)}


class BrokenQuadrantWarning(TableWarning):
    """A header holds M(abs(a), abs(w)) where both operands are negative.

    Example:
        >>> issubclass(BrokenQuadrantWarning, TableWarning)
        True
    """


@register_importer("adapt", suffixes=(".h",), title="AdaPT header")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the table of a header; ``int16_t`` is signed, ``uint16_t`` is not.

    Raises:
        LutFormatError: If the header is anything but one table, of the kind that is asked for.
    """
    declared, body = _declaration(read_table_file(path), str(path))
    if signed is not None and (declared == "int16_t") != signed:
        kind = "signed" if signed else "unsigned"
        raise LutFormatError(f"{path}: declares {declared}, but `signed` says {kind}.")
    rows = [_row(text, f"{path}: row {i}") for i, text in enumerate(_rows(body, str(path)))]
    table: npt.NDArray[np.integer] = np.array(rows, dtype=np.int32)
    low, high = _LIMITS[declared]
    if table.min() < low or table.max() > high:
        raise LutFormatError(
            f"{path}: {declared} holds {low}..{high}, got {table.min()}..{table.max()}."
        )
    if declared == "uint16_t":
        return [Imported(table, signed=False)]
    table = swap_halves(table)
    return [Imported(table, signed=True, notes=_notes(table, path))]


def _notes(table: npt.NDArray[np.integer], path: Path) -> Sequence[TableWarning]:
    if not has_broken_quadrant(table):
        return ()
    return (
        BrokenQuadrantWarning(
            f"{path}: products of two negative operands are M(|a|, |w|), and products with -128"
            " have the wrong sign there, as AdaPT's converter writes them; the multiplier itself"
            " computes something else."
        ),
    )


@register_table_writer("adapt", suffixes=(".h",), title="AdaPT header")
def write(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return a header that AdaPT compiles and `read` reads."""
    ordered = swap_halves(table) if signed else table
    rows = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in ordered.tolist())
    declared = "int16_t" if signed else "uint16_t"
    text = f"#include <stdint.h>\n\nconst {declared} lut [256][256] = {{{rows}}};\n"
    return text.encode("ascii")


def has_broken_quadrant(table: npt.NDArray[np.integer]) -> bool:
    """Return whether the converter of AdaPT and TransAxx made a signed table.

    That converter evaluates M(abs(a), abs(w)) where a and w are both negative, and abs(-128) wraps
    to -128. The quadrant of negative operands then repeats the positive one, and in row and column
    -128 the products of two negative operands are negative. A correct table may be symmetric too,
    M(-a, -w) = M(a, w), as the exact one is, but its products with -128 change their sign.

    Args:
        table: ``(256, 256)`` in numeric order, -128..127.
    """
    negative = np.arange(-128, 0)
    size = np.where(negative == -128, -128, -negative)
    quadrant = table[:128, :128].copy()
    copied = table[np.ix_(size + 128, size + 128)]
    copied[0, 0] = quadrant[0, 0]  # (-128, -128) is computed from itself
    wrong_sign = (copied[0, 1:] < 0).any() or (copied[1:, 0] < 0).any()
    return bool(wrong_sign) and np.array_equal(quadrant, copied)


def _declaration(content: bytes, where: str) -> tuple[str, str]:
    """Return the element type and the text between the outer braces."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LutFormatError(f"{where}: not a text file: {error}.") from error
    text = _without_comments(text, where)
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    match = _ARRAY.fullmatch("\n".join(lines))
    if match is None:
        raise LutFormatError(
            f"{where}: expected exactly one array `const int16_t lut[256][256] = {{...}};` or"
            " uint16_t, and nothing else."
        )
    return match[1], match[2]


def _without_comments(text: str, where: str) -> str:
    pieces = []
    position = 0
    while (start := text.find("/", position)) >= 0:
        pieces.append(text[position:start])
        opening = text[start : start + 2]
        if opening not in ("/*", "//"):
            raise LutFormatError(f"{where}: unexpected '/' at character {start}.")
        closing = "*/" if opening == "/*" else "\n"
        end = text.find(closing, start + 2)
        if end < 0 and opening == "/*":
            raise LutFormatError(f"{where}: the comment at character {start} never ends.")
        pieces.append("\n")
        position = len(text) if end < 0 else end + len(closing)
    pieces.append(text[position:])
    return "".join(pieces)


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
