"""On which multiples of powers of two a circuit multiplies exactly."""

import functools

import numpy as np

from axopt.layers import STRIDES
from axopt.multipliers import Multiplier

_INDICES = np.arange(256)


@functools.lru_cache(maxsize=512)
def exact_strides(multiplier: Multiplier) -> tuple[tuple[int, int], ...]:
    """The pairs (first, second) of least strides whose multiples the circuit multiplies exactly.

    A circuit that leaves out low partial products is exact on operands whose low bits are 0:
    rounding operands to such codes turns its truncation error, which has one sign, into a
    rounding error, which has both. Of the pairs that are exact, those are returned of which no
    stride can be halved.

    Returns:
        Pairs of powers of two up to 64; ``((1, 1),)`` for an exact circuit, and none for a circuit
        that is exact on no such codes.
    """
    operands = _INDICES - 128 if multiplier.signed else _INDICES
    exact = multiplier.table == np.multiply.outer(operands, operands)
    usable = STRIDES[:-1]  # with the last, two codes are left
    pairs = [(a, w) for a in usable for w in usable if exact[::a, ::w].all()]
    return tuple(
        pair
        for pair in pairs
        if not any(
            other != pair and other[0] <= pair[0] and other[1] <= pair[1] for other in pairs
        )
    )
