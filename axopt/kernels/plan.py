"""How the products of a table are formed: as exact separable terms, or looked up."""

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
"""Terms beyond this never pay: looking the products up is then faster on every processor."""

_CACHED_PLANS = 256
_INDICES = np.arange(256)
_OPERANDS = "(a, w are indices 0..255)"


@dataclass(frozen=True, eq=False)
class Plan:
    """What the kernels need to know of a table; make one with `plan`.

    Attributes:
        table: The products, ``(256, 256)`` int32; rows are activation indices.
        terms: An exact decomposition into separable terms, proven on all 65,536 products, or
            None.
        residual: An exact decomposition into one term less a small residual, proven likewise, or
            None. A table of one term has none.
        packed: The table as the look-up kernels read it.
    """

    table: NDArray[np.int32]
    terms: Terms | None
    residual: Residual | None
    packed: PackedTable

    @property
    def term_count(self) -> int:
        """Separable terms; 0 if the products have to be looked up."""
        return 0 if self.terms is None else len(self.terms.weight)

    @property
    def k_max(self) -> int:
        """Most products whose sum fits int32, whatever the operands."""
        return self.packed.k_max

    def k_max_affine(self, *, signed: bool) -> int:
        """Most products whose sum fits int32 once the zero-point terms are taken off.

        sum M(a, w) - zw a - za w + za zw = sum (M(a, w) - a w) + (a - za) (w - zw), where zw is 0
        for signed circuits.
        """
        operands = _INDICES - 128 if signed else _INDICES
        errors = self.table - np.multiply.outer(operands, operands)
        product_max = 255 * 128 if signed else 255 * 255
        return int((2**31 - 1) // (int(np.abs(errors).max()) + product_max))

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
    """The weight factor, as a masked operand where it is one."""
    for mask in range(256):
        masked = _INDICES & mask
        for offset in (0, 128):
            if np.array_equal(weights, masked - offset):
                return f"((w & 0b{mask:08b}) - {offset})"
    return "map(w)"


def plan(table: NDArray[np.integer]) -> Plan:
    """Find the cheapest exact plans for ``table``, or return those found before.

    Args:
        table: Products, ``(256, 256)``, any integer dtype; ``table[i, j]`` is the product of
            activation index ``i`` and weight index ``j``.

    Raises:
        ArgumentError: If the shape, dtype or range of the entries is wrong (see `PackedTable`).
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
        terms = None  # a table without products to speak of: looked up like any other
    found = Plan(entries, terms, find_residual(entries), PackedTable.of(entries))
    with _lock:
        _plans[key] = found
        if len(_plans) > _CACHED_PLANS:
            _plans.popitem(last=False)
    return found


@functools.cache
def first_operand_plan() -> Plan:
    """Return the plan of the table that ignores the weight: sums of the activation indices."""
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
