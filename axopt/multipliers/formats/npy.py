"""``.npy`` files: a ``(256, 256)`` integer array in numeric order of the operands.

The header is a Python dictionary. It is matched, not evaluated: numpy's own reader evaluates a
literal, allocates what the header asks for, and fails in many ways where that is nonsense.
"""

import io
import math
import re

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.multipliers.metrics import TABLE_SHAPE

_LENGTH_BYTES = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}
_HEADER = re.compile(
    rb"\{\s*'descr'\s*:\s*'([<>|=]?[A-Za-z][0-9]*)'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    rb"\s*'shape'\s*:\s*\(([0-9]{1,18}(?:,\s*[0-9]{1,18}){0,3}),?\s*\)\s*,?\s*\}\s*"
)
_INTEGER = re.compile(r"[<>|=]?[iu][1248]")


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
    begin = 8 + _LENGTH_BYTES.get(content[:8], 0)
    end = begin + int.from_bytes(content[8:begin], "little")
    header = _HEADER.fullmatch(content[begin:end])
    if header is None:
        raise LutFormatError(f"{where}: not a .npy file of numbers, or its header is damaged.")
    descr = header[1].decode("ascii")
    actual = tuple(int(size) for size in header[3].split(b","))
    if actual != shape or not _INTEGER.fullmatch(descr):
        raise LutFormatError(
            f"{where}: expected integers of shape {shape}, got {descr!r} of shape {actual}."
        )
    dtype = np.dtype(descr)
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - end != expected:
        raise LutFormatError(
            f"{where}: expected {expected} bytes of data, got {len(content) - end}."
        )
    array: npt.NDArray[np.integer] = np.frombuffer(content, dtype, offset=end)
    return array.reshape(shape, order="F" if header[2] == b"True" else "C")
