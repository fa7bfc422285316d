"""Tables as text: a matrix of products, or one line ``a, w, product`` for each pair of operands.

Cells are decimal integers between commas, semicolons, tabs or blanks. Rows are the first operand.
A matrix may have a header row and a header column: where they are the operands, they give the
order; other labels are ignored. Lines that start with ``#`` or ``//`` are comments, which may
state figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.multipliers.formats.interpretation import TABLE_SHAPES, interpret, is_table_shape
from axopt.multipliers.formats.registry import (
    Imported,
    read_table_file,
    register_importer,
    register_table_writer,
)
from axopt.multipliers.formats.text import decode, stated_figures

_INTEGER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_MIN_TRIPLES = 16

Cells = list[list[str]]
Integers = npt.NDArray[np.int64]


@register_importer("matrix", suffixes=(".csv", ".tsv", ".txt"), title="text matrix")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the table of a text file.

    Raises:
        LutFormatError: If the file is no such table; the message names the line.
    """
    text = decode(read_table_file(path), path)
    numbers, cells = _cells(text, path)
    if len(cells) >= _MIN_TRIPLES and {len(row) for row in cells} == {3}:
        table, known = _from_triples(cells, numbers, path)
    else:
        table, known = _from_matrix(cells, numbers, path)
    kind = True if known else signed  # who says otherwise gets an error
    return [interpret(table, path, order="numeric", signed=kind, figures=stated_figures(text))]


@register_table_writer("matrix", suffixes=(".csv", ".txt"), title="text matrix")
def write(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return the file's content: the operands as header row and column, commas between cells."""
    return _content(table, signed, ",")


@register_table_writer("tsv", suffixes=(".tsv",), title="text matrix with tabs")
def write_with_tabs(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return the file's content: the operands as header row and column, tabs between cells."""
    return _content(table, signed, "\t")


def _content(table: npt.NDArray[np.int32], signed: bool, separator: str) -> bytes:
    first, second = (np.arange(size) - (size // 2 if signed else 0) for size in table.shape)
    lines = [separator.join(["", *map(str, second.tolist())])]
    lines += [
        separator.join(map(str, [operand, *row]))
        for operand, row in zip(first.tolist(), table.tolist(), strict=True)
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def _cells(text: str, where: object) -> tuple[list[int], Cells]:
    """Return the numbers and the cells of all lines that hold any."""
    numbers, cells = [], []
    lines = text.split("\n")
    told = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith(("#", "//"))
    ]
    separator = next((s for s in ",;\t" if any(s in line for _, line in told)), None)
    for number, line in told:
        row = [cell.strip().strip('"') for cell in line.split(separator)]
        if separator is not None and row[-1] == "":
            row.pop()  # a separator at the end of the line
        numbers.append(number)
        cells.append(row)
    if not cells:
        raise LutFormatError(f"{where}: expected a table, got none.")
    return numbers, cells


def _integers(rows: Cells, numbers: Sequence[int], where: object) -> Integers:
    """Return cells as integers; all rows must have the same length."""
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != len(rows[0]):
            raise LutFormatError(
                f"{where}:{number}: expected {len(rows[0])} cells as in the first row, "
                f"got {len(row)}."
            )
        for cell in row:
            if not _INTEGER.fullmatch(cell):
                raise LutFormatError(
                    f"{where}:{number}: expected a decimal integer, got {cell[:40]!r}."
                )
    return np.array([[int(cell) for cell in row] for row in rows], np.int64)


def _from_matrix(cells: Cells, numbers: list[int], where: object) -> tuple[Integers, bool]:
    """Return the table of a matrix in the order of its operands, and whether they are signed."""
    rows, columns = len(cells), len(cells[-1])
    top, left = _has_header(rows), _has_header(columns)
    body = _integers([row[left:] for row in cells[top:]], numbers[top:], where)
    if not is_table_shape(body.shape):
        raise LutFormatError(
            f"{where}: expected a table of shape {TABLE_SHAPES}, got {body.shape}."
        )
    first = [row[0] for row in cells[top:]] if left else []
    second = cells[0][-body.shape[1] :] if top else []
    orders = [
        _operands(labels, size, f"{where}: the header {line}")
        for labels, size, line in zip((first, second), body.shape, ("column", "row"), strict=True)
    ]
    _check_kinds([int(order.min()) for order in orders if order is not None], where)
    for axis, order in enumerate(orders):
        if order is not None:
            body = np.take(body, np.argsort(order), axis)
    return body, any(order is not None and order.min() < 0 for order in orders)


def _has_header(size: int) -> bool:
    """Return whether a matrix has one row or column more than a table."""
    return size > 2 and (size - 1) & (size - 2) == 0


def _check_kinds(starts: Sequence[int], where: object) -> None:
    """Refuse a signed and an unsigned operand; ``starts`` are the least ones."""
    if min(starts, default=0) < 0 <= max(starts):
        raise LutFormatError(
            f"{where}: one operand is signed and the other one unsigned, by their least values "
            f"{' and '.join(map(str, starts))}; both must be of one kind."
        )


def _operands(labels: Sequence[str], size: int, where: str) -> Integers | None:
    """Return the operands that labels name, each once; None if they are words.

    Raises:
        LutFormatError: If they are integers, but not all operands: they may be products.
    """
    if len(labels) != size or not all(_INTEGER.fullmatch(label) for label in labels):
        return None
    operands = np.array([int(label) for label in labels], np.int64)
    ordered = np.sort(operands)
    start = ordered[0]
    complete = start in (0, -(size // 2)) and np.array_equal(
        ordered, np.arange(start, start + size)
    )
    if not complete:
        raise LutFormatError(
            f"{where} holds integers, but not each operand once: 0..{size - 1} or"
            f" {-size // 2}..{size // 2 - 1}."
        )
    return operands


def _from_triples(cells: Cells, numbers: list[int], where: object) -> tuple[Integers, bool]:
    """Return the table of lines ``a, w, product``, and whether the operands are signed."""
    labelled = not all(_INTEGER.fullmatch(cell) for cell in cells[0])
    triples = _integers(cells[labelled:], numbers[labelled:], where)
    starts, sizes = triples.min(0)[:2], np.ptp(triples, 0)[:2] + 1
    shape = tuple(int(size) for size in sizes)
    if not is_table_shape(shape) or len(triples) != sizes[0] * sizes[1]:
        raise LutFormatError(
            f"{where}: expected a line for each pair of operands, got {len(triples)} lines with"
            f" operands of {shape[0]} and {shape[1]} values."
        )
    if not all(start in (0, -(size // 2)) for start, size in zip(starts, sizes, strict=True)):
        raise LutFormatError(
            f"{where}: operands must start at 0 or at their least value, got {starts.tolist()}."
        )
    _check_kinds(starts.tolist(), where)
    table = np.zeros(shape, np.int64)
    given = np.zeros(shape, bool)
    places = tuple((triples[:, :2] - starts).T)
    table[places], given[places] = triples[:, 2], True
    if not given.all():
        raise LutFormatError(f"{where}: a pair of operands occurs twice.")
    return table, bool((starts < 0).any())
