"""Float modules whose products `axopt.prepare` can emulate."""

from axopt.modules.products import Einsum, MatMul, ScaledDotProductAttention

__all__ = ["Einsum", "MatMul", "ScaledDotProductAttention"]
