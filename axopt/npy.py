"""The header of a ``.npy`` file, parsed by NumPy within bounds.

NumPy reads as many header bytes as the file declares and fails with several exception types where
they are nonsense. Here the length is checked first and every failure is a `ValueError`.
"""

import io
import warnings
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

MAX_HEADER_BYTES = 4096
"""Longest header that is parsed; NumPy writes 118 bytes for an array of numbers."""

_READERS = {
    (1, 0): (2, npy_format.read_array_header_1_0),
    (2, 0): (4, npy_format.read_array_header_2_0),
}
_MAGIC_BYTES = npy_format.MAGIC_LEN


class NpyHeader(NamedTuple):
    """What a ``.npy`` file says of the array behind its header.

    Attributes:
        shape: Sizes of the array's dimensions.
        fortran_order: Whether the first index changes fastest.
        dtype: Type of the numbers.

    Example:
        >>> NpyHeader((2, 3), False, np.dtype("uint8")).shape
        (2, 3)
    """

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]


def read_npy_header(stream: IO[bytes]) -> NpyHeader:
    """Read the header of a ``.npy`` file and leave the stream at the first byte of the array.

    Args:
        stream: A binary stream at the start of the file, of format version 1.0 or 2.0.

    Returns:
        Shape, order and dtype as the file states them. Nothing is allocated for the array.

    Raises:
        ValueError: If there is no such header, or it has more than `MAX_HEADER_BYTES` bytes.

    Example:
        >>> content = io.BytesIO()
        >>> np.save(content, np.zeros((2, 3), np.uint8))
        >>> _ = content.seek(0)
        >>> read_npy_header(content)
        NpyHeader(shape=(2, 3), fortran_order=False, dtype=dtype('uint8'))
    """
    magic = stream.read(_MAGIC_BYTES)
    try:
        version = npy_format.read_magic(io.BytesIO(magic))
    except ValueError:
        raise ValueError("not a .npy file") from None
    if version not in _READERS:
        raise ValueError(f"not a .npy file of version 1.0 or 2.0, got {version[0]}.{version[1]}")
    prefix_bytes, parse = _READERS[version]
    prefix = stream.read(prefix_bytes)
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(
            f"the .npy header must have at most {MAX_HEADER_BYTES} bytes, it declares {length}"
        )
    header = io.BytesIO(prefix + stream.read(length))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # headers of Python 2, odd escapes in strings
            shape, fortran_order, dtype = parse(header, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # SyntaxError, TokenError, RecursionError, MemoryError, ...
        raise ValueError("the .npy header is damaged") from error
    if any(size < 0 for size in shape):
        raise ValueError(f"the .npy header declares the shape {shape}")
    return NpyHeader(shape, fortran_order, dtype)
