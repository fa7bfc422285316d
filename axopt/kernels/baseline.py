"""The loop that emulators use which know nothing of a table: what the kernels are measured by."""

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
        w: Column codes 0..255, ``(n, k)`` int32.
        table: The products.

    Returns:
        ``(m, n)`` int32, entry ``[i, j]`` is the sum over p of ``table[a[i, p], w[j, p]]``.
    """
    out = np.empty((len(a), len(w)), np.int32)
    _lut_gemm.scalar_gemm(table.columns, table.bias, a, w, out)
    return out
