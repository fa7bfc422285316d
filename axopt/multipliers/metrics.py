"""Error metrics of a product table against the exact product, over all operand pairs.

Operands have 2 to 8 bits each, so a table has 4 to 256 rows and 4 to 256 columns.

Definitions and units are those of EvoApproxLib [Mrazek2017]_. Tests compare the metrics with the
figures that it publishes.

.. [Mrazek2017] V. Mrazek, R. Hrbacek, Z. Vasicek and L. Sekanina, "EvoApprox8b: Library of
   approximate adders and multipliers for circuit design and benchmarking of approximation
   methods", DATE 2017, doi 10.23919/DATE.2017.7926993.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from axopt.errors import MultiplierError

MIN_BITS, MAX_BITS = 2, 8
"""Least and most bits of an operand."""

TABLE_SHAPE = (256, 256)
"""Shape of the table of an 8 x 8-bit multiplier."""

PUBLISHED_NAMES = ("mae", "mae_pct", "wce", "wce_pct", "wcre_pct", "mre_pct", "ep_pct", "mse")

_BITS_OF_LENGTH = {2**bits: bits for bits in range(MIN_BITS, MAX_BITS + 1)}


@dataclass(frozen=True, slots=True)
class ErrorMetrics:
    """Errors of a product table, over all pairs of operands a and w (65,536 of 8 x 8 bits).

    The error of a pair is ``e = M(a, w) - a w``.

    Attributes:
        mae: Mean of ``|e|``, in units of the product.
        wce: Largest ``|e|``, in units of the product.
        mre: Mean of ``|e| / |a w|`` in percent, over the pairs with a non-zero product.
        wcre: Largest ``|e| / |a w|`` in percent, over the same pairs.
        ep: Share of pairs with ``e != 0``, in percent.
        mse: Mean of ``e`` squared, in squared units of the product.
        bias: Mean of ``e``, in units of the product.

    Example:
        >>> metrics = ErrorMetrics.of(exact_table(True) + 2, signed=True)
        >>> metrics.mae, metrics.wce, metrics.ep
        (2.0, 2.0, 100.0)
    """

    mae: float
    wce: float
    mre: float
    wcre: float
    ep: float
    mse: float
    bias: float

    def published_figures(self, product_bits: int = 16) -> dict[str, float]:
        """Return the figures that EvoApproxLib publishes, by the names that it uses.

        Args:
            product_bits: Bits of a product, the sum of both operands'. ``mae_pct`` and
                ``wce_pct`` are per cent of ``2**product_bits``, the number of such products.
        """
        values = 2**product_bits
        return {
            "mae": self.mae,
            "mae_pct": 100.0 * self.mae / values,
            "wce": self.wce,
            "wce_pct": 100.0 * self.wce / values,
            "wcre_pct": self.wcre,
            "mre_pct": self.mre,
            "ep_pct": self.ep,
            "mse": self.mse,
        }

    @classmethod
    def of(cls, table: npt.NDArray[np.integer], signed: bool) -> "ErrorMetrics":
        """Compute the errors of a table.

        Args:
            table: ``(2**bits_a, 2**bits_w)`` integers in numeric order of the operands.
            signed: Whether the operands are signed: of 8 bits, -128..127 instead of 0..255.

        Raises:
            MultiplierError: If the table has another shape.
        """
        exact = exact_table(signed, *bits_of_shape(table.shape))
        error = table.astype(np.int64) - exact
        size = np.abs(error)
        product = np.abs(exact)
        nonzero = product != 0
        relative = size[nonzero] / product[nonzero]
        return cls(
            mae=float(size.mean()),
            wce=float(size.max()),
            mre=100.0 * float(relative.mean()),
            wcre=100.0 * float(relative.max()),
            ep=100.0 * float(np.count_nonzero(error)) / error.size,
            mse=float(np.square(error).mean()),
            bias=float(error.mean()),
        )


def bits_of_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the widths of both operands that the shape of a table means.

    Args:
        shape: ``(2**bits_a, 2**bits_w)``.

    Raises:
        MultiplierError: If the shape is another one, or a width is not 2..8 bits.
    """
    if len(shape) == 2 and all(length in _BITS_OF_LENGTH for length in shape):
        return _BITS_OF_LENGTH[shape[0]], _BITS_OF_LENGTH[shape[1]]
    raise MultiplierError(
        f"`table` must have 2**bits_a rows and 2**bits_w columns, of operands of {MIN_BITS} to"
        f" {MAX_BITS} bits, such as a (256, 256) array, got {tuple(shape)}."
    )


def operand_values(signed: bool, bits: int = 8) -> npt.NDArray[np.int32]:
    """Return the operands in numeric order, ``(2**bits,)`` int32: -128..127 or 0..255 of 8."""
    least = -(2 ** (bits - 1)) if signed else 0
    return np.arange(least, least + 2**bits, dtype=np.int32)


def product_range(signed: bool, bits_a: int, bits_w: int) -> tuple[int, int]:
    """Return the least and the largest product that ``bits_a + bits_w`` bits can hold."""
    values = 2 ** (bits_a + bits_w)
    return (-values // 2, values // 2 - 1) if signed else (0, values - 1)


@cache
def exact_table(signed: bool, bits_a: int = 8, bits_w: int = 8) -> npt.NDArray[np.int32]:
    """Return the exact products in numeric order, ``(2**bits_a, 2**bits_w)``, read-only int32."""
    table = np.multiply.outer(operand_values(signed, bits_a), operand_values(signed, bits_w))
    table.setflags(write=False)
    return table
