"""``nn.MultiheadAttention`` built from linear layers and matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.errors import ArgumentError
from axopt.modules.linear import linear_of
from axopt.modules.products import ScaledDotProductAttention, excluding


class Attention(ScaledDotProductAttention):
    """The same function as ``nn.MultiheadAttention``, with the same arguments and parameters.

    A query whose keys are all masked gets the bias of ``out_proj``. torch's module returns NaN for
    it, or the same, depending on ``need_weights``.

    Args:
        attention: The module to replace.

    Attributes:
        q_proj: Projection of the queries; ``k_proj`` of the keys, ``v_proj`` of the values.
        scores: Product of queries and keys.
        context: Product of attention weights and values.
        out_proj: Projection of the result.

    Example:
        >>> original = nn.MultiheadAttention(8, 2, batch_first=True).eval()
        >>> x = torch.rand(1, 5, 8)
        >>> torch.allclose(Attention(original)(x, x, x)[0], original(x, x, x)[0], atol=1e-6)
        True
    """

    # torch's transformers read these before they use a fused kernel; these values prevent it
    in_proj_weight = None
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = attention.embed_dim, attention.num_heads
        self.head_dim, self.batch_first = attention.head_dim, attention.batch_first
        self.dropout, self.add_zero_attn = attention.dropout, attention.add_zero_attn
        self.bias_k, self.bias_v = attention.bias_k, attention.bias_v
        self.q_proj, self.k_proj, self.v_proj = _projections(attention)
        self.out_proj = linear_of(attention.out_proj.weight, attention.out_proj.bias)
        self.training = attention.training

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute attention; arguments and results are those of ``nn.MultiheadAttention``.

        Args:
            query: ``(queries, batch, embed_dim)``, or with the batch first if the module says so,
                or without the batch; so are ``key`` and ``value``.
            key: ``(keys, batch, kdim)``.
            value: ``(keys, batch, vdim)``.
            key_padding_mask: ``(batch, keys)``: True for masked keys, or values to add.
            need_weights: Whether to return the attention weights too.
            attn_mask: ``(queries, keys)`` or ``(batch * heads, queries, keys)``, likewise.
            average_attn_weights: Whether to average the weights over the heads.
            is_causal: A hint that ``attn_mask`` is the causal mask.

        Returns:
            ``(queries, batch, embed_dim)``, and ``(batch, queries, keys)``,
            ``(batch, heads, queries, keys)`` or None.
        """
        batched = query.ndim == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        batch_axis = 0 if self.batch_first or not batched else 1
        if is_causal and attn_mask is None:
            raise ArgumentError("`attn_mask` must be given if `is_causal` is True.")
        q = self._heads(self.q_proj(query), batch_axis)
        k = self._extended(self._heads(self.k_proj(key), batch_axis), self.bias_k)
        v = self._extended(self._heads(self.v_proj(value), batch_axis), self.bias_v)
        mask = self._mask(q, k, key_padding_mask, attn_mask)
        weights = self.attention_weights(q, k, mask, False, 1 / math.sqrt(self.head_dim))
        if self.training and self.dropout > 0:
            weights = functional.dropout(weights, self.dropout)
        y = self.attended(weights, v)
        order = (0, 2, 1, 3) if batch_axis == 0 else (2, 0, 1, 3)
        y = self.out_proj(y.permute(order).flatten(2))
        y = y if batched else y[0]
        if not need_weights:
            return y, None
        weights = weights.mean(1) if average_attn_weights else weights
        return y, weights if batched else weights[0]

    def _heads(self, x: Tensor, batch_axis: int) -> Tensor:
        """Split a projection into heads, ``(batch, heads, length, head_dim)``."""
        heads = x.view(*x.shape[:2], self.num_heads, self.head_dim)
        return heads.permute(0, 2, 1, 3) if batch_axis == 0 else heads.permute(1, 2, 0, 3)

    def _extended(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Append the keys or values that the module adds."""
        batch = len(x)
        if bias is not None:
            added = bias.view(1, self.num_heads, 1, self.head_dim)
            x = torch.cat([x, added.expand(batch, -1, -1, -1)], 2)
        if self.add_zero_attn:
            x = torch.cat([x, x.new_zeros(batch, self.num_heads, 1, self.head_dim)], 2)
        return x

    def _mask(
        self, q: Tensor, k: Tensor, padding: Tensor | None, attn_mask: Tensor | None
    ) -> Tensor | None:
        """Return the mask to add to the scores; keys that the module adds are never masked."""
        batch, heads, queries = q.shape[:3]
        keys = k.shape[2]
        masks = []
        if attn_mask is not None:
            added = _additive(attn_mask, q.dtype)
            masks.append(added if added.ndim == 2 else added.view(batch, heads, queries, -1))
        if padding is not None:
            masks.append(_additive(padding, q.dtype)[:, None, None])
        if not masks:
            return None
        mask = masks[0] if len(masks) == 1 else masks[0] + masks[1]
        return functional.pad(mask, (0, keys - mask.shape[-1]))


def _projections(attention: nn.MultiheadAttention) -> list[nn.Linear]:
    """Return the projections of queries, keys and values with parameters of their own."""
    if attention._qkv_same_embed_dim:
        weights = attention.in_proj_weight.chunk(3)
    else:
        weights = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
    biases = (None,) * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    return [
        linear_of(_own(weight), None if bias is None else _own(bias))
        for weight, bias in zip(weights, biases, strict=True)
    ]


def _own(part: Tensor) -> nn.Parameter:
    """Copy a part of a parameter to a new parameter."""
    return nn.Parameter(part.detach().clone(), requires_grad=part.requires_grad)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask to add, from a boolean mask (True: masked) or from one to add."""
    return excluding(mask, dtype) if mask.dtype == torch.bool else mask.to(dtype)


def without_nested_tensors(encoder: nn.TransformerEncoder) -> nn.TransformerEncoder:
    """Prevent an encoder from packing its input for fused kernels."""
    encoder.use_nested_tensor = False
    return encoder
