"""Sums of kept partial products: what most truncated and broken multipliers are.

The bits of the operands are a_i and w_j; in signed ones the top bit weighs negative. The product
is the sum of ``a_i w_j weight_i weight_j`` over the kept pairs (i, j), and a constant. Partial
products of negative weight enter complemented [Baugh1973]_: ``-x = (1 - x) - 1``, and the ones
add up to one constant.

.. [Baugh1973] C. R. Baugh and B. A. Wooley, "A two's complement parallel array multiplication
   algorithm", IEEE Transactions on Computers C-22(12), 1973. doi:10.1109/T-C.1973.223648
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from axopt.circuits.builder import ONE, ZERO, NetlistBuilder
from axopt.circuits.families.reduction import Rows, sum_of_rows
from axopt.circuits.netlist import Netlist
from axopt.errors import CircuitError

Kept = npt.NDArray[np.bool_]


def sum_of_kept(kept: Kept, *, signed: bool, constant: int | str, reduction: str) -> Netlist:
    """Make the multiplier that adds the kept partial products and a constant.

    Args:
        kept: ``(bits_a, bits_w)`` bool: whether ``a_i w_j`` is kept.
        signed: Whether operands and product are in two's complement.
        constant: What is added to all products; ``"mean"`` for the mean, over uniform operands,
            of what is left out, rounded.
        reduction: How the partial products are added, one of `REDUCTIONS`.

    Raises:
        CircuitError: If ``constant`` takes products out of their ``bits_a + bits_w`` bits.

    Example:
        >>> kept = np.array([[False, False], [False, True]])
        >>> sum_of_kept(kept, signed=False, constant="mean", reduction="array").table().tolist()
        [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 5, 5], [1, 1, 5, 5]]
    """
    added = _mean_of_dropped(kept, signed) if constant == "mean" else int(constant)
    width = _width(kept, signed, added)
    build = NetlistBuilder(*kept.shape, signed=signed)
    products, complement = partial_products(build, kept, signed)
    rows: Rows = []
    for i in range(len(kept)):
        row = [ZERO] * width
        for j in np.flatnonzero(kept[i]):
            row[i + j] = products[i, int(j)]
        if any(row):
            rows.append(row)
    insert_constant(rows, (added + complement) % 2**width, width)
    return build.netlist(sum_of_rows(build, rows, width, reduction))


def partial_products(
    build: NetlistBuilder, kept: Kept, signed: bool
) -> tuple[dict[tuple[int, int], int], int]:
    """Add the gates of kept partial products; those of negative weight are complemented.

    Args:
        build: Where the gates are added.
        kept: ``(bits_a, bits_w)`` bool.
        signed: Whether the operands are in two's complement.

    Returns:
        The signal of each kept ``(i, j)``, of weight ``2**(i + j)``, and what has to be added to
        their sum.
    """
    products, constant = {}, 0
    negative = _weights(kept, signed) < 0
    for i, j in np.argwhere(kept).tolist():
        product = build.and_(build.a[i], build.w[j])
        products[i, j] = build.not_(product) if negative[i, j] else product
        constant -= int(negative[i, j]) << (i + j)
    return products, constant


def insert_constant(rows: Rows, constant: int, width: int) -> None:
    """Set the ones of a constant in rows that have no bit of that weight; add rows if needed."""
    for column in range(width):
        if constant >> column & 1:
            free = [row for row in rows if row[column] == ZERO]
            if not free:
                free = [[ZERO] * width]
                rows.extend(free)
            free[0][column] = ONE


def _weights(kept: Kept, signed: bool) -> npt.NDArray[np.int64]:
    """Return the weights of all partial products."""
    weights = [1 << np.arange(size, dtype=np.int64) for size in kept.shape]
    if signed:
        for weight in weights:
            weight[-1] = -weight[-1]
    products: npt.NDArray[np.int64] = np.multiply.outer(*weights)
    return products


def _mean_of_dropped(kept: Kept, signed: bool) -> int:
    return int(np.floor(_weights(kept, signed)[~kept].sum() / 4 + 0.5))


def _width(kept: Kept, signed: bool, constant: int) -> int:
    """Return the number of bits that all products need."""
    patterns = [np.arange(2**size)[:, None] >> np.arange(size) & 1 for size in kept.shape]
    weights = np.where(kept, _weights(kept, signed), 0)
    products = patterns[0] @ weights @ patterns[1].T + constant
    least, most = int(products.min()), int(products.max())
    bits = sum(kept.shape)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if least < low or most > high:
        raise CircuitError(
            f"`constant` must keep products within {low}..{high}, got {constant}, with which they"
            f" are {least}..{most}."
        )
    if not signed:
        return max(1, most.bit_length())
    return max(most.bit_length(), (-least - 1).bit_length() if least < 0 else 0) + 1
