"""``.npy`` files: a ``(256, 256)`` integer array in numeric order of the operands.

A signed table in the order of bit patterns (rows and columns 0..127, -128..-1) is recognised by
its error, which is far smaller once it is reordered.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.multipliers.formats.bit_patterns import swap_halves
from axopt.multipliers.formats.registry import (
    Imported,
    check_range,
    likeliest,
    read_table_file,
    register_importer,
    register_table_writer,
)
from axopt.multipliers.metrics import TABLE_SHAPE
from axopt.npy import read_npy_header

_FAR_SMALLER = 2.0
"""Ratio of mean absolute errors that shows the order; an exact table has 0 instead of 5462."""


@register_importer("npy", suffixes=(".npy",), title="NumPy array")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the table of a file, which does not say whether its operands are signed.

    Raises:
        LutFormatError: If it is not exactly one ``(256, 256)`` integer array of 16-bit products.
    """
    table = parse_npy(read_table_file(path), str(path), shape=TABLE_SHAPE)
    readings, refused = [], []
    for kind in (True, False) if signed is None else (signed,):
        try:
            check_range(table, path, kind)
            readings.append(Imported(table, kind))
        except LutFormatError as error:
            refused.append(error)
    if not readings:
        raise refused[0]
    numeric = likeliest(readings)
    reordered = Imported(swap_halves(table), signed=True)
    if not readings[0].signed or _FAR_SMALLER * reordered.mae >= numeric.mae:
        return [numeric]
    note = (
        f"{path}: rows and columns are recognised as two's-complement bit patterns "
        f"(0..127, -128..-1) and put in numeric order: the mean absolute error is then "
        f"{reordered.mae:.4g} instead of {numeric.mae:.4g}."
    )
    return [replace(reordered, notes=(note,))]


@register_table_writer("npy", suffixes=(".npy",), title="NumPy array")
def write(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return the file's content: int16 for signed products, uint16 for unsigned ones."""
    file = io.BytesIO()
    np.save(file, table.astype("<i2" if signed else "<u2"), allow_pickle=False)
    return file.getvalue()


def parse_npy(content: bytes, where: str, *, shape: tuple[int, ...]) -> npt.NDArray[np.integer]:
    """Parse an integer array of known shape.

    Args:
        content: The whole file, of format version 1.0 or 2.0.
        where: The file's name, for messages.
        shape: The shape the array must have.

    Raises:
        LutFormatError: If the content is anything else, to the byte.
    """
    stream = io.BytesIO(content)
    try:
        header = read_npy_header(stream)
    except ValueError as error:
        raise LutFormatError(f"{where}: {error}.") from error
    if header.shape != shape or header.dtype.kind not in "iu":
        raise LutFormatError(
            f"{where}: expected integers of shape {shape}, "
            f"got {header.dtype.str!r} of shape {header.shape}."
        )
    expected = math.prod(shape) * header.dtype.itemsize
    begin = stream.tell()
    if len(content) - begin != expected:
        raise LutFormatError(
            f"{where}: expected {expected} bytes of data, got {len(content) - begin}."
        )
    array: npt.NDArray[np.integer] = np.frombuffer(content, header.dtype, offset=begin)
    return array.reshape(shape, order="F" if header.fortran_order else "C")
