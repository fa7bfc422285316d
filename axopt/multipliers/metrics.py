"""Error metrics of a product table against the exact product, over all operand pairs.

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

TABLE_SHAPE = (256, 256)
PUBLISHED_NAMES = ("mae", "mae_pct", "wce", "wce_pct", "wcre_pct", "mre_pct", "ep_pct", "mse")

_PRODUCT_VALUES = 65536


@dataclass(frozen=True, slots=True)
class ErrorMetrics:
    """Errors of a product table, over all 65,536 pairs of operands a and w.

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

    def published_figures(self) -> dict[str, float]:
        """Return the figures that EvoApproxLib publishes, by the names that it uses.

        ``mae_pct`` and ``wce_pct`` are per cent of 65,536, the number of 16-bit products.
        """
        return {
            "mae": self.mae,
            "mae_pct": 100.0 * self.mae / _PRODUCT_VALUES,
            "wce": self.wce,
            "wce_pct": 100.0 * self.wce / _PRODUCT_VALUES,
            "wcre_pct": self.wcre,
            "mre_pct": self.mre,
            "ep_pct": self.ep,
            "mse": self.mse,
        }

    @classmethod
    def of(cls, table: npt.NDArray[np.integer], signed: bool) -> "ErrorMetrics":
        """Compute the errors of a table.

        Args:
            table: ``(256, 256)`` integers in numeric order of the operands.
            signed: Whether the operands run from -128 to 127 instead of 0 to 255.
        """
        exact = exact_table(signed)
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


def operand_values(signed: bool) -> npt.NDArray[np.int32]:
    """Return the operand of each row and column: -128..127 or 0..255, ``(256,)`` int32."""
    return np.arange(-128, 128, dtype=np.int32) if signed else np.arange(256, dtype=np.int32)


@cache
def exact_table(signed: bool) -> npt.NDArray[np.int32]:
    """Return the exact products in numeric order, ``(256, 256)`` int32, read-only."""
    values = operand_values(signed)
    table = np.multiply.outer(values, values)
    table.setflags(write=False)
    return table
