"""Float modules whose products `axopt.prepare` can emulate."""

from axopt.modules.attention import Attention
from axopt.modules.lowering import LOWERINGS, lower_
from axopt.modules.products import Einsum, MatMul, ScaledDotProductAttention

__all__ = [
    "LOWERINGS",
    "Attention",
    "Einsum",
    "MatMul",
    "ScaledDotProductAttention",
    "lower_",
]
