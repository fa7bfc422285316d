"""Strides of codes on which a multiplier is exact."""

import functools

import numpy as np

from axopt.layers import STRIDES
from axopt.multipliers import Multiplier

_CODES = np.arange(256)


@functools.lru_cache(maxsize=512)
def exact_strides(multiplier: Multiplier) -> tuple[tuple[int, int], ...]:
    """Return the minimal strides of both operands' codes on which a multiplier is exact.

    A multiplier that leaves out low partial products is exact on operands whose low bits are 0.
    Rounding operands to such codes turns its truncation error, which is biased, into a rounding
    error, which is not.

    Returns:
        Pairs (first operand, second operand) of powers of two up to 64, in units of codes. The
        pairs are minimal: halving either stride makes the table inexact, or gives codes that a
        narrow operand does not have. `Multiplier.strides` for an exact multiplier, ``()`` if the
        table is exact on no such codes.

    Example:
        >>> from axopt import load_library
        >>> exact_strides(load_library()["mul8s_1L1G"])
        ((8, 8),)
    """
    operands = _CODES - 128 if multiplier.signed else _CODES
    exact = multiplier.code_table == np.multiply.outer(operands, operands)
    usable = STRIDES[:-1]  # the last one leaves two codes
    least_a, least_w = multiplier.strides
    pairs = [
        (a, w)
        for a in usable
        for w in usable
        if a >= least_a and w >= least_w and exact[::a, ::w].all()
    ]
    return tuple(
        pair
        for pair in pairs
        if not any(
            other != pair and other[0] <= pair[0] and other[1] <= pair[1] for other in pairs
        )
    )
