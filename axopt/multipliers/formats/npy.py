"""``.npy`` files: a ``(256, 256)`` integer array in numeric order of the operands.

Narrower operands have ``(2**bits_a, 2**bits_w)`` products.
"""

import io
import math
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
from axopt.npy import read_npy_header


@register_importer("npy", suffixes=(".npy",), title="NumPy array")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the table of a file, which does not say whether its operands are signed.

    Raises:
        LutFormatError: If it is not exactly one integer array of such a shape.
    """
    table = parse_npy(read_table_file(path), str(path))
    return [interpret(table, path, order="numeric", signed=signed)]


@register_table_writer("npy", suffixes=(".npy",), title="NumPy array")
def write(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return the file's content: int16 for signed products, uint16 for unsigned ones."""
    file = io.BytesIO()
    np.save(file, table.astype("<i2" if signed else "<u2"), allow_pickle=False)
    return file.getvalue()


def parse_npy(
    content: bytes, where: str, *, shape: tuple[int, ...] | None = None
) -> npt.NDArray[np.integer]:
    """Parse an integer array.

    Args:
        content: The whole file, of format version 1.0 or 2.0.
        where: The file's name, for messages.
        shape: The shape that the array must have; None for the shape of a product table.

    Raises:
        LutFormatError: If the content is anything else, to the byte.
    """
    stream = io.BytesIO(content)
    try:
        header = read_npy_header(stream)
    except ValueError as error:
        raise LutFormatError(f"{where}: {error}.") from error
    fitting = is_table_shape(header.shape) if shape is None else header.shape == shape
    if not fitting or header.dtype.kind not in "iu":
        raise LutFormatError(
            f"{where}: expected integers of shape {shape or TABLE_SHAPES}, "
            f"got {header.dtype.str!r} of shape {header.shape}."
        )
    expected = math.prod(header.shape) * header.dtype.itemsize
    begin = stream.tell()
    if len(content) - begin != expected:
        raise LutFormatError(
            f"{where}: expected {expected} bytes of data, got {len(content) - begin}."
        )
    array: npt.NDArray[np.integer] = np.frombuffer(content, header.dtype, offset=begin)
    return array.reshape(header.shape, order="F" if header.fortran_order else "C")
