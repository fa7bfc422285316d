"""``.bin`` files of TFApprox: 65,536 little-endian 16-bit products and nothing else.

The product of bit patterns a and b lies at index ``a << 8 | b``, the first operand in the high
byte. TFApprox itself has unsigned multipliers only. A signed one is written here the same way,
with two's-complement patterns and products.
"""

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.multipliers.formats.bit_patterns import swap_halves
from axopt.multipliers.metrics import TABLE_SHAPE

_BYTES = 2 * 65536


def read(content: bytes, where: str, signed: bool) -> npt.NDArray[np.integer]:
    """Parse a file's content into ``(256, 256)`` in numeric order, int16 or uint16.

    Raises:
        LutFormatError: If it is not exactly 131,072 bytes.
    """
    if len(content) != _BYTES:
        raise LutFormatError(f"{where}: expected {_BYTES} bytes, got {len(content)}.")
    if signed:
        return swap_halves(np.frombuffer(content, "<i2").reshape(TABLE_SHAPE))
    return np.frombuffer(content, "<u2").reshape(TABLE_SHAPE)


def write(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return the file's content."""
    return (swap_halves(table) if signed else table).astype("<i4").astype("<u2").tobytes()
