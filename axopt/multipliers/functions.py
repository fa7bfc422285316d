"""From a Python function of two integers to a product table."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from axopt.errors import MultiplierError
from axopt.multipliers.metrics import MAX_BITS, MIN_BITS, operand_values

Function = Callable[[Any, Any], Any]


def table_of_function(
    f: Function, key: str, signed: bool, bits_a: int, bits_w: int
) -> npt.NDArray[np.integer]:
    """Evaluate a function at all pairs of operands, at once or one pair after the other.

    Args:
        f: The function, see `Multiplier.from_function`.
        key: Name of the multiplier in messages.
        signed: Whether the operands are signed.
        bits_a: Width of the first operand.
        bits_w: Width of the second operand.

    Returns:
        The products, ``(2**bits_a, 2**bits_w)`` integers in numeric order of the operands. Whether
        they fit the product's bits is not checked.

    Raises:
        MultiplierError: If a width is not 2..8, ``f`` is not callable, raises for a pair of
            operands, or returns anything but integers.
    """
    for argument, bits in (("bits_a", bits_a), ("bits_w", bits_w)):
        if type(bits) is not int or not MIN_BITS <= bits <= MAX_BITS:
            raise MultiplierError(
                f"{key}: `{argument}` must be in {MIN_BITS}..{MAX_BITS}, got {bits!r}."
            )
    if not callable(f):
        raise MultiplierError(f"{key}: `f` must be a function, got {type(f).__name__}.")
    values = (operand_values(signed, bits).astype(np.int64) for bits in (bits_a, bits_w))
    a, w = np.meshgrid(*values, indexing="ij")
    try:
        products = f(a.copy(), w.copy())
    except Exception:  # any function may refuse arrays in any way
        return _pair_by_pair(f, key, a, w)
    if not isinstance(products, np.ndarray) or products.shape != a.shape:
        got = getattr(products, "shape", f"{type(products).__name__} {products!r:.60}")
        raise MultiplierError(
            f"{key}: `f` was called with two int64 arrays of the shape {a.shape} and must return"
            f" an array of that shape, got {got}."
        )
    if products.dtype.kind not in "iu":
        raise MultiplierError(f"{key}: `f` must return integers, got dtype {products.dtype}.")
    return products


def _pair_by_pair(
    f: Function, key: str, a: npt.NDArray[np.int64], w: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    products = np.empty(a.shape, np.int64)
    for place in np.ndindex(*a.shape):
        pair = int(a[place]), int(w[place])
        try:
            product = f(*pair)
        except Exception as error:
            raise MultiplierError(
                f"{key}: `f` raises {type(error).__name__} for the operands {pair}: {error}"
            ) from error
        if isinstance(product, bool) or not isinstance(product, (int, np.integer)):
            raise MultiplierError(
                f"{key}: `f` must return integers, got {product!r} for the operands {pair}."
            )
        # a value beyond 16 bits is refused with the table; it need not fit an int64
        products[place] = max(-(2**31), min(int(product), 2**31))
    return products
