"""``.npy`` files: a ``(256, 256)`` integer array in numeric order of the operands."""

import io
import math

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.multipliers.metrics import TABLE_SHAPE
from axopt.npy import read_npy_header


def read(content: bytes, where: str, signed: bool) -> npt.NDArray[np.integer]:
    """Parse a file's content; the kind of the operands shows in nothing but the values.

    Raises:
        LutFormatError: If it is not exactly one ``(256, 256)`` integer array.
    """
    return parse_npy(content, where, shape=TABLE_SHAPE)


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
