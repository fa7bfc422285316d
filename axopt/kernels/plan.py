"""Find how the products of a table are computed: by exact separable terms, or looked up."""

import functools
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from axopt.kernels.residual import Residual, find_residual
from axopt.kernels.table import PackedTable, checked_table
from axopt.kernels.terms import Terms, find_terms

MAX_TERMS = 8
"""Most terms of a plan; with more, looking up the products is faster on every processor."""

_CACHED_PLANS = 256
_CODES = np.arange(256)
_OPERANDS = "(a, w are codes 0..255)"


@dataclass(frozen=True, eq=False)
class Plan:
    """A table with its exact decompositions, as the kernels use it; made by `plan`.

    Attributes:
        table: The products, ``(256, 256)`` int32; rows are activation codes.
        terms: An exact decomposition into separable terms, proven on all 65,536 products, or
            None.
        residual: An exact decomposition into one term less a small residual, proven likewise, or
            None. A table of one term has none.
        packed: The table in the layout of the look-up kernels.

    Example:
        >>> import numpy as np
        >>> from axopt.kernels import plan
        >>> operands = np.arange(-128, 128)
        >>> exact = plan(np.multiply.outer(operands, operands))
        >>> exact.term_count, exact.residual, exact.k_max
        (1, None, 131071)
    """

    table: NDArray[np.int32]
    terms: Terms | None
    residual: Residual | None
    packed: PackedTable

    @property
    def term_count(self) -> int:
        """Number of separable terms; 0 if the products must be looked up."""
        return 0 if self.terms is None else len(self.terms.weight)

    @property
    def k_max(self) -> int:
        """The largest depth at which every sum fits int32."""
        return self.packed.k_max

    def k_max_affine(self, *, signed: bool) -> int:
        """The largest depth at which every sum fits int32, zero-point sums included.

        sum M(a, w) - zw a - za w + za zw = sum (M(a, w) - a w) + (a - za) (w - zw), where zw is 0
        for signed multipliers.
        """
        product_max = 255 * 128 if signed else 255 * 255
        return (2**31 - 1) // (self._largest_errors[signed] + product_max)

    @functools.cached_property
    def _largest_errors(self) -> tuple[int, int]:
        """The largest error of a product, of unsigned and of signed operands."""
        unsigned, signed = (
            int(np.abs(self.table - np.multiply.outer(operands, operands)).max())
            for operands in (_CODES, _CODES - 128)
        )
        return unsigned, signed

    def __str__(self) -> str:
        lines = []
        if self.terms is not None:
            count = f"{self.term_count} separable term{'s' * (self.term_count > 1)}"
            lines.append(f"{count}, equal to the table on all products {_OPERANDS}:")
            lines += _product_names(self.terms)
        if self.residual is not None:
            lines.append(f"one term less a residual, equal on all products {_OPERANDS}:")
            lines += _product_names(self.residual.term)
            lines.append(f"  - rows(a)[class(w)], at most {self.residual.maximum}")
        return "\n".join(lines) or (
            f"table look-up: no exact sum of at most {MAX_TERMS} terms and no residual found"
        )


def _product_names(terms: Terms) -> list[str]:
    names = []
    for mask, weights in zip(terms.masks, terms.weight, strict=True):
        activation = "map(a)" if mask is None else f"(a & 0b{mask:08b})"
        names.append(f"  {activation} * {_factor_name(weights)}")
    return names


def _factor_name(weights: NDArray[np.int8]) -> str:
    """Return a text for the weight factor: a masked operand if it is one, else a general name."""
    for mask in range(256):
        masked = _CODES & mask
        for offset in (0, 128):
            if np.array_equal(weights, masked - offset):
                return f"((w & 0b{mask:08b}) - {offset})"
    return "map(w)"


def plan(table: NDArray[np.integer]) -> Plan:
    """Find exact ways to compute the products of a table, or return those found before.

    Args:
        table: Products, ``(256, 256)``, any integer dtype; ``table[i, j]`` is the product of
            activation code ``i`` and weight code ``j``.

    Returns:
        The decompositions that were found, each proven on all 65,536 products.

    Raises:
        ArgumentError: If the shape, dtype or range of the entries is wrong (see `PackedTable`).

    Example:
        >>> import axopt
        >>> from axopt.kernels import plan
        >>> print(plan(axopt.load_library()["mul8s_1KVA"].table))
        3 separable terms, equal to the table on all products (a, w are codes 0..255):
        ...
    """
    entries = checked_table(table)
    key = hashlib.sha256(entries.tobytes()).digest()
    with _lock:
        if key in _plans:
            _plans.move_to_end(key)
            return _plans[key]
    entries = entries.copy()
    entries.flags.writeable = False
    terms = find_terms(entries, max_terms=MAX_TERMS)
    if terms is not None and len(terms.weight) == 0:
        terms = None  # a table that needs no term is looked up
    found = Plan(entries, terms, find_residual(entries), PackedTable.of(entries))
    with _lock:
        _plans[key] = found
        if len(_plans) > _CACHED_PLANS:
            _plans.popitem(last=False)
    return found


@functools.cache
def first_operand_plan() -> Plan:
    """Return the plan of the table ``table[a, w] = a``, whose sums are those of activation codes.

    Returns:
        A plan with one term.

    Example:
        >>> from axopt.kernels import first_operand_plan
        >>> first_operand_plan().table[7].tolist() == [7] * 256
        True
    """
    terms = Terms(
        np.arange(256, dtype=np.uint8)[None],
        np.ones((1, 256), np.int8),
        np.zeros(256, np.int32),
        activation_scale=0,
        activation_mask=0,
    )
    return Plan(terms.table(), terms, None, PackedTable.of(terms.table()))


_plans: OrderedDict[bytes, Plan] = OrderedDict()
_lock = threading.Lock()
