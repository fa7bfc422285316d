"""Float modules whose products `axopt.prepare` can emulate, and what composites become."""

from axopt.modules.attention import Attention
from axopt.modules.lowering import LOWERINGS, lower_
from axopt.modules.products import Einsum, MatMul, ScaledDotProductAttention
from axopt.modules.recurrent import Recurrent, RecurrentCell

__all__ = [
    "LOWERINGS",
    "Attention",
    "Einsum",
    "MatMul",
    "Recurrent",
    "RecurrentCell",
    "ScaledDotProductAttention",
    "lower_",
]
