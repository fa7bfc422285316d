"""The scalar look-up loop of emulators that use no structure of a table: the bench's baseline."""

import numpy as np
from numpy.typing import NDArray

import axopt._lut_gemm as _lut_gemm
from axopt.kernels.table import PackedTable


def scalar_gemm(
    a: NDArray[np.int32], w: NDArray[np.int32], table: PackedTable
) -> NDArray[np.int32]:
    """Sum products, one scalar look-up each, on one thread.

    Args:
        a: Row codes 0..255, ``(m, k)`` int32; the caller has gathered the windows.
        w: Column codes 0..255, ``(n, k)`` int32, C-contiguous like ``a``.
        table: The products.

    Returns:
        ``(m, n)`` int32, entry ``[i, j]`` is the sum over p of ``table[a[i, p], w[j, p]]``.

    Raises:
        ArgumentError: If a dtype, shape or code is wrong.

    Example:
        >>> import numpy as np
        >>> from axopt.kernels import PackedTable, scalar_gemm
        >>> table = PackedTable.of(np.multiply.outer(np.arange(256), np.arange(256)))
        >>> a, w = np.array([[1, 2]], np.int32), np.array([[10, 100]], np.int32)
        >>> scalar_gemm(a, w, table)
        array([[210]], dtype=int32)
    """
    out = np.empty((len(a), len(w)), np.int32)
    _lut_gemm.scalar_gemm(table.columns, table.bias, a, w, out)
    return out
