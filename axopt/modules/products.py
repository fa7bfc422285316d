"""Products of two activations as modules, so that they have names and can be emulated.

A call of ``torch.matmul`` in a forward pass cannot be replaced like a module. A model that calls
`MatMul` computes the same, and `axopt.prepare` emulates it like any other layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from axopt.errors import ArgumentError


class MatMul(nn.Module):
    """``torch.matmul`` of two tensors with two axes or more.

    Args:
        transpose_b: Whether the second tensor is ``(..., n, k)`` rather than ``(..., k, n)``.

    Example:
        >>> MatMul(transpose_b=True)(torch.ones(2, 3), torch.ones(4, 3)).shape
        torch.Size([2, 4])
    """

    def __init__(self, *, transpose_b: bool = False) -> None:
        super().__init__()
        self.transpose_b = transpose_b

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply.

        Args:
            a: ``(..., m, k)``.
            b: ``(..., k, n)``, or ``(..., n, k)``; leading axes are broadcast.

        Returns:
            ``(..., m, n)``.
        """
        if a.ndim < 2 or b.ndim < 2:
            raise ArgumentError(
                "`a` and `b` must have two axes or more, got shapes "
                f"{tuple(a.shape)} and {tuple(b.shape)}."
            )
        return torch.matmul(a, b.mT if self.transpose_b else b)

    def extra_repr(self) -> str:
        return f"transpose_b={self.transpose_b}"


class Einsum(nn.Module):
    """``torch.einsum`` of two tensors whose equation is a batched matrix product.

    Args:
        equation: Such as "bhqd,bhkd->bhqk": letters only, each at most once in a tensor. A letter
            of both tensors and the result is a batch axis. A letter of both tensors that the
            result lacks is summed over. All letters of the result are in a tensor.

    Attributes:
        matmul: The product of the two matrices.

    Raises:
        ArgumentError: If the equation is not of this kind.

    Example:
        >>> Einsum("bqd,bkd->bqk")(torch.ones(2, 3, 8), torch.ones(2, 5, 8)).shape
        torch.Size([2, 3, 5])
    """

    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation
        self._a, self._b, self._result = _parsed(equation)
        self._batch = [x for x in self._result if x in self._a and x in self._b]
        self._summed = [x for x in self._a if x in self._b and x not in self._result]
        self._rows = [x for x in self._a if x not in self._b]
        self._columns = [x for x in self._b if x not in self._a]
        self.matmul = MatMul(transpose_b=True)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply tensors with the axes of the equation."""
        for name, tensor, letters in (("a", a, self._a), ("b", b, self._b)):
            if tensor.ndim != len(letters):
                raise ArgumentError(
                    f"`{name}` must have the axes {letters!r}, got shape {tuple(tensor.shape)}."
                )
        first, second = self.matrices(a, b)
        return self.result(self.matmul(first, second), a, b)

    def matrices(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return both tensors as ``(*batch, rows, summed)`` and ``(*batch, columns, summed)``."""
        return self._matrices(a, self._a, self._rows), self._matrices(b, self._b, self._columns)

    def result(self, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return a product ``(*batch, rows, columns)`` with the axes that the equation says."""
        size = dict(zip(self._a + self._b, (*a.shape, *b.shape), strict=True))
        order = [*self._batch, *self._rows, *self._columns]
        y = y.reshape([size[letter] for letter in order])
        return y.permute([order.index(letter) for letter in self._result])

    @property
    def sums(self) -> bool:
        """Whether the equation sums over an axis."""
        return bool(self._summed)

    @property
    def weight_axes(self) -> tuple[tuple[int, ...], int]:
        """The axes of the second tensor in the order of its matrix, and how many are columns."""
        order = [*self._columns, *self._summed]
        return tuple(self._b.index(letter) for letter in order), len(self._columns)

    def _matrices(self, x: Tensor, letters: str, own: list[str]) -> Tensor:
        """Return ``x`` as ``(*batch, own, summed)``, with its own and its summed axes joined."""
        order = [*self._batch, *own, *self._summed]
        x = x.permute([letters.index(letter) for letter in order])
        batch, rows = len(self._batch), len(self._batch) + len(own)
        shape = x.shape
        return x.reshape(*shape[:batch], math.prod(shape[batch:rows]), math.prod(shape[rows:]))

    def extra_repr(self) -> str:
        return repr(self.equation)


def _parsed(equation: str) -> tuple[str, str, str]:
    """Return the letters of both tensors and of the result."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    tensors = left.split(",")
    parts = [*tensors, result]
    fits = (
        bool(arrow)
        and len(tensors) == 2
        and all(part.isascii() and (part.isalpha() or not part) for part in parts)
        and all(len(set(part)) == len(part) for part in parts)
        and set(result) <= set(left)
        and set(tensors[0]) ^ set(tensors[1]) <= set(result)
    )
    if not fits:
        raise ArgumentError(
            "`equation` must be a batched product of two matrices, as 'bij,bjk->bik', "
            f"got {equation!r}."
        )
    return tensors[0], tensors[1], result


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum_letters(equation: str, ndims: Sequence[int]) -> list[str] | None:
    """Return the letters of all axes of an equation of ``torch.einsum``.

    Args:
        equation: Such as "...ij,jk" or "bij,bjk->bik".
        ndims: Number of axes of each tensor.

    Returns:
        The letters of the axes of each tensor and, last, of the result; an ellipsis is replaced
        by letters that the equation does not use. None if the equation does not fit the tensors.

    Example:
        >>> einsum_letters("...ij,jk", [4, 2])
        ['abij', 'jk', 'abik']
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    tensors = left.split(",")
    if len(tensors) != len(ndims):
        return None
    free = [letter for letter in _LETTERS if letter not in equation]
    hidden = [n - len(part.replace("...", "")) for part, n in zip(tensors, ndims, strict=True)]
    if any(
        n < 0 or (n > 0 and "..." not in part) for part, n in zip(tensors, hidden, strict=True)
    ):
        return None
    most = max((n for part, n in zip(tensors, hidden, strict=True) if "..." in part), default=0)
    dots = "".join(free[:most])
    if not arrow:  # letters that occur once, in the order of the alphabet
        once = sorted(x for x in set(left) if x.isalpha() and left.count(x) == 1)
        result = ("..." if "..." in left else "") + "".join(once)
    written = [
        part.replace("...", dots[most - n :] if n else "")
        for part, n in zip(tensors, hidden, strict=True)
    ]
    return [*written, result.replace("...", dots)]


class ScaledDotProductAttention(nn.Module):
    """``torch.nn.functional.scaled_dot_product_attention``, softmax(Q K^T scale + mask) V.

    Scale, mask, softmax and dropout are computed in floating point.

    Attributes:
        scores: Product of queries and keys.
        context: Product of attention weights and values.

    Example:
        >>> q, k, v = torch.rand(2, 3, 8), torch.rand(2, 5, 8), torch.rand(2, 5, 4)
        >>> ScaledDotProductAttention()(q, k, v).shape
        torch.Size([2, 3, 4])
    """

    def __init__(self) -> None:
        super().__init__()
        self.scores = MatMul(transpose_b=True)
        self.context = MatMul()

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Compute attention; arguments and result are those of the function.

        Args:
            query: ``(..., queries, d)``.
            key: ``(..., keys, d)``.
            value: ``(..., keys, e)``.
            attn_mask: ``(..., queries, keys)``: False for masked keys, or float values to add.
            dropout_p: Probability of dropping a weight, in training mode or not.
            is_causal: Whether later keys are masked for each query.
            scale: Factor of the scores; 1 / sqrt(d) by default.
            enable_gqa: Whether ``key`` and ``value`` have fewer heads (axis -3) than ``query``;
                each is used for several neighbouring heads.

        Returns:
            ``(..., queries, e)``.
        """
        if enable_gqa:
            key, value = (_repeated(x, query.shape[-3]) for x in (key, value))
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        weights = self.attention_weights(query, key, attn_mask, is_causal, scale)
        return self.attended(weights, value, dropout_p)

    def attention_weights(
        self,
        query: Tensor,
        key: Tensor,
        attn_mask: Tensor | None,
        is_causal: bool,
        scale: float,
    ) -> Tensor:
        """Return the softmax of the scores, ``(..., queries, keys)``; 0 if all keys are masked."""
        if is_causal and attn_mask is not None:
            raise ArgumentError("`attn_mask` must be None if `is_causal` is True.")
        scores = self.scores(query * scale, key)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
            attn_mask = attn_mask.tril()
        if attn_mask is None:
            return torch.softmax(scores, -1)
        added = attn_mask if attn_mask.dtype != torch.bool else excluding(~attn_mask, scores.dtype)
        blind = (added == -math.inf).all(-1, keepdim=True)
        return torch.softmax(scores + added, -1).masked_fill(blind, 0.0)

    def attended(self, weights: Tensor, value: Tensor, dropout_p: float = 0.0) -> Tensor:
        """Return the weighted sum of the values, ``(..., queries, e)``."""
        if dropout_p > 0:
            weights = nn.functional.dropout(weights, dropout_p)
        attended: Tensor = self.context(weights, value)
        return attended


def excluding(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask to add to scores: minus infinity where a boolean mask is True."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)


def _repeated(x: Tensor, heads: int) -> Tensor:
    """Repeat each head so that there are ``heads``."""
    if heads % x.shape[-3]:
        raise ArgumentError(
            f"`query` must have a multiple of {x.shape[-3]} heads, those of `key`, got {heads}."
        )
    return x.repeat_interleave(heads // x.shape[-3], -3)
