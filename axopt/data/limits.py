"""Bounds on the memory that a file may make a reader take; real data sets stay far below.

A file of a few kilobytes can declare, or unpack to, gigabytes. A reader therefore compares what it
is about to allocate with the bytes that are there, before it allocates.
"""

import gzip
import io
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from axopt.errors import DatasetError

MAX_DECODED_BYTES = 8 << 30
"""Most bytes of samples that are read into memory."""

MAX_IMAGE_FILE_BYTES = 32 << 20
"""Largest compressed file of one image."""

MAX_IMAGE_PIXELS = 16 << 20
"""Most pixels of one image."""

MAX_JPEG_SCANS = 64
"""Most scans of one progressive JPEG; encoders write about 10, and each costs a pass."""

MAX_CLASSES = 1 << 16
"""Most classes that labels may name."""

BYTES_PER_SAMPLE = 32
"""Memory that a sample takes besides its values: an int64 label and the indices of a split."""

_CHUNK = 1 << 20
_SMALL_FILE_BYTES = 1 << 20
_SMALL_FILE_UNPACKED = 64 << 20  # a reader holds the samples and, while it splits them, a copy
_MAX_RATIO = 256  # MNIST's files unpack to 5 times their size, dSprites' to 115 times


def largest_unpacked(packed: int) -> int:
    """Return how many bytes of memory the samples of a source may take.

    64 MiB for a source of less than 1 MiB, else 256 times its size, and never more than
    `MAX_DECODED_BYTES`.

    Args:
        packed: Bytes of the source.
    """
    ratio_limit = _SMALL_FILE_UNPACKED if packed < _SMALL_FILE_BYTES else _MAX_RATIO * packed
    return min(ratio_limit, MAX_DECODED_BYTES)


def check_unpacked(where: object, *, packed: int, unpacked: int) -> None:
    """Refuse a source that would take too much memory for its size.

    Args:
        where: Named in messages.
        packed: Bytes of the source.
        unpacked: Bytes that its samples would take in memory.

    Raises:
        DatasetError: If ``unpacked`` is more than `largest_unpacked` allows.
    """
    limit = largest_unpacked(packed)
    if unpacked > limit:
        raise DatasetError(
            f"{where}: {packed} bytes that unpack to {unpacked}; more than {limit} are refused "
            f"for a source of this size."
        )


def read_values(stream: IO[bytes], values: npt.NDArray[Any]) -> int:
    """Fill an array with the next bytes of a stream.

    The bytes are read in pieces: where the stream ends early, the rest of a large array was never
    touched and takes no memory.

    Args:
        stream: A binary stream.
        values: A one-dimensional array of numbers.

    Returns:
        How many bytes were read: fewer than the array has where the stream ends early.
    """
    content = values.view(np.uint8)
    count = 0
    while count < len(content):
        piece = stream.read(min(_CHUNK, len(content) - count))
        if not piece:
            break
        content[count : count + len(piece)] = np.frombuffer(piece, np.uint8)
        count += len(piece)
    return count


class BoundedGzip(io.RawIOBase):
    """The content of a gzip file as a stream that ends with an error beyond a number of bytes.

    Args:
        file: The gzip file.
        limit: The most bytes that are unpacked.
        where: Named in messages.
    """

    def __init__(self, file: IO[bytes], limit: int, where: object) -> None:
        super().__init__()
        self._stream = gzip.GzipFile(fileobj=file)
        self._left = limit
        self._where = where

    def readable(self) -> bool:
        """Whether `read` works: always."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fill ``buffer`` with the next bytes and return how many there were.

        Raises:
            DatasetError: If the content goes beyond the limit.
        """
        count = self._stream.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise DatasetError(
                f"{self._where}: unpacks to more bytes than a file of this kind has."
            )
        return count
