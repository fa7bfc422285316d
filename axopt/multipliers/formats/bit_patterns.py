"""The order of operands as bit patterns, in which C programs store their tables."""

import numpy as np
import numpy.typing as npt


def swap_halves(table: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Convert between numeric order (-128..127) and bit-pattern order (0..127, -128..-1).

    Args:
        table: ``(256, 256)``, or narrower; rows and columns in one of the two orders.

    Returns:
        A copy in the other order.
    """
    rows, columns = table.shape
    return np.roll(table, (rows // 2, columns // 2), axis=(0, 1))
