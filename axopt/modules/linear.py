"""Linear layers that use existing parameters."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with the given parameters. It draws no random numbers.

    Args:
        weight: ``(out_features, in_features)``.
        bias: ``(out_features,)`` or None.

    Returns:
        A layer whose parameters are the given tensors.

    Example:
        >>> import torch
        >>> from axopt.modules import linear_of
        >>> linear_of(nn.Parameter(torch.ones(2, 3)), None)(torch.ones(1, 3))
        tensor([[3., 3.]], grad_fn=<MmBackward0>)
    """
    out_features, in_features = weight.shape
    linear = nn.Linear(in_features, out_features, bias=bias is not None, device="meta")
    linear.weight = cast(nn.Parameter, weight)
    linear.register_parameter("bias", cast(nn.Parameter | None, bias))
    return linear
