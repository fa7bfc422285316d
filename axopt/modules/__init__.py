"""Float modules whose products are submodules, so that `axopt.prepare` can emulate them."""

from axopt.modules.attention import Attention
from axopt.modules.linear import linear_of
from axopt.modules.lowering import LOWERINGS, lower_
from axopt.modules.products import Einsum, MatMul, ScaledDotProductAttention, einsum_letters
from axopt.modules.recurrent import Recurrent, RecurrentCell

__all__ = [
    "LOWERINGS",
    "Attention",
    "Einsum",
    "MatMul",
    "Recurrent",
    "RecurrentCell",
    "ScaledDotProductAttention",
    "einsum_letters",
    "linear_of",
    "lower_",
]
