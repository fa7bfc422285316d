"""Linear layers that use existing parameters."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with the given parameters. It draws no random numbers.

    Args:
        weight: ``(out_features, in_features)``.
        bias: ``(out_features,)`` or None.
    """
    out_features, in_features = weight.shape
    linear = nn.Linear(in_features, out_features, bias=bias is not None, device="meta")
    linear.weight = cast(nn.Parameter, weight)
    linear.register_parameter("bias", cast(nn.Parameter | None, bias))
    return linear
