"""A product table in the layouts that the kernels read."""

import functools
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axopt.errors import ArgumentError

CODES = 256
_MIN_ENTRY, _MAX_ENTRY, _MAX_SPAN = -(2**15), 2**16 - 1, 2**16 - 1
_INT32_MAX = 2**31 - 1
_CACHE_LINE = 64
# 256 KB each. Every table of a library in both operand orders should stay.
_CACHED_TABLES = 256


@dataclass(frozen=True, eq=False)
class PackedTable:
    """A ``(256, 256)`` product table in the layouts of the kernels; made by `PackedTable.of`.

    Attributes:
        columns: ``columns[w, a]`` is ``table[a, w] - bias``, ``(256, 256)`` uint16.
        planes: Low and high bytes of ``columns``: ``(256, 2, 256)`` uint8 at ``[w, plane, a]``.
        bias: The smallest entry of the table; the stored differences to it fit uint16.
        k_max: The largest depth at which every sum fits int32.

    Example:
        >>> import numpy as np
        >>> from axopt.kernels import PackedTable
        >>> packed = PackedTable.of(np.multiply.outer(np.arange(256), np.arange(256)))
        >>> packed.bias, packed.k_max
        (0, 33025)
    """

    columns: NDArray[np.uint16]
    planes: NDArray[np.uint8]
    bias: int
    k_max: int

    @functools.cached_property
    def transposed(self) -> "PackedTable":
        """The table with its operands swapped."""
        return _pack_columns(self.columns.T, self.bias, self.k_max)

    @staticmethod
    def of(table: NDArray[np.integer]) -> "PackedTable":
        """Pack a table, or return the one packed before from the same entries.

        Args:
            table: Products, ``(256, 256)``, any integer dtype; ``table[i, j]`` is the product of
                activation code ``i`` and weight code ``j``.

        Returns:
            The packed table; its arrays are read-only.

        Raises:
            ArgumentError: If the shape or dtype is another, or the entries do not fit 16 bits
                (-32768..65535, largest minus smallest at most 65535).
        """
        entries = checked_table(table)
        key = hashlib.sha256(entries.tobytes()).digest()
        with _cache_lock:
            if key in _cache:
                _cache.move_to_end(key)
                return _cache[key]
        packed = _pack(entries)
        with _cache_lock:
            _cache[key] = packed
            if len(_cache) > _CACHED_TABLES:
                _cache.popitem(last=False)
        return packed


_cache: OrderedDict[bytes, PackedTable] = OrderedDict()
_cache_lock = threading.Lock()


def checked_table(table: NDArray[np.integer]) -> NDArray[np.int32]:
    array = np.asarray(table)
    if array.shape != (CODES, CODES) or array.dtype.kind not in "iu":
        raise ArgumentError(
            "`table` must be an integer array of shape (256, 256), "
            f"got {array.dtype} {array.shape}."
        )
    low, high = int(array.min()), int(array.max())
    if low < _MIN_ENTRY or high > _MAX_ENTRY or high - low > _MAX_SPAN:
        raise ArgumentError(
            f"`table` must fit 16 bits ({_MIN_ENTRY}..{_MAX_ENTRY}, span at most {_MAX_SPAN}), "
            f"got {low}..{high}."
        )
    return np.ascontiguousarray(array, np.int32)


def _pack(entries: NDArray[np.int32]) -> PackedTable:
    bias = int(entries.min())
    k_max = _INT32_MAX // max(1, int(np.abs(entries).max()))
    return _pack_columns((entries - bias).T.astype(np.uint16), bias, k_max)


def _pack_columns(entries: NDArray[np.uint16], bias: int, k_max: int) -> PackedTable:
    columns = _aligned(2 * CODES * CODES).view(np.uint16).reshape(CODES, CODES)
    columns[:] = entries
    planes = _aligned(2 * CODES * CODES).reshape(CODES, 2, CODES)
    planes[:, 0] = columns & 0xFF
    planes[:, 1] = columns >> 8
    columns.flags.writeable = planes.flags.writeable = False
    return PackedTable(columns, planes, bias, k_max)


def _aligned(n_bytes: int) -> NDArray[np.uint8]:
    """Allocate memory that starts on a cache line, which the vector kernels' loads need."""
    memory = np.empty(n_bytes + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + n_bytes]
