"""Products that a module computes by calling a function, as modules of their own.

``functional.conv2d(x, w, b, ...)`` in a forward pass becomes a `CalledConv2d` that is called with
``x`` alone. Its weight and bias are expressions (`axopt.modules.recorded`), not parameters of its
own: the parameters stay where they are, under their names.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.modules.recorded import Operation, Recorded, Source

Given = tuple[Tensor, Tensor | None]
"""Weight and bias of one call, through which gradients flow."""


class FoldedNorm(nn.Module):
    """What is left of a batch norm that a `Called` took over: an identity with its tensors.

    Args:
        scale: ``(out_channels,)`` float64. A result ``y`` of the product becomes
            ``scale * (y - mean) + shift``.
        mean: ``(out_channels,)`` float64.
        shift: ``(out_channels,)`` float64; it becomes a parameter.
        groups: Of a transposed convolution, whose weight has input channels first; else None.
        dtype: Of the weight.
    """

    def __init__(
        self,
        scale: Tensor,
        mean: Tensor,
        shift: Tensor,
        groups: int | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("mean", mean)
        self.shift = nn.Parameter(shift.to(dtype))
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x

    def folded(self, weight: Recorded, bias: Recorded | None) -> tuple[Recorded, Recorded]:
        """Return the expressions of weight and bias with the batch norm in them."""
        scale, mean, shift = (Source(self, name) for name in ("scale", "mean", "shift"))
        return (
            Operation(scaled, (weight, scale, self.groups), {}),
            Operation(shifted, (bias, scale, mean, shift), {}),
        )

    def folded_given(self, given: Given) -> Given:
        """Return the weight and bias of one call with the batch norm in them."""
        scale, mean = cast(Tensor, self.scale), cast(Tensor, self.mean)
        return scaled(given[0], scale, self.groups), shifted(given[1], scale, mean, self.shift)


def scaled(weight: Tensor, scale: Tensor, groups: int | None) -> Tensor:
    """Return a weight with its output channels scaled, computed in float64.

    Args:
        weight: ``(out_channels, ...)``; of a transposed convolution
            ``(in_channels, out_channels of a group, ...)``.
        scale: ``(out_channels,)``.
        groups: Of a transposed convolution; else None.
    """
    scale = scale.double()
    if groups is not None:
        scale = scale.view(groups, -1).repeat_interleave(len(weight) // groups, dim=0)
    axes = (1,) * (weight.ndim - scale.ndim)
    return (weight.double() * scale.view(*scale.shape, *axes)).to(weight.dtype)


def shifted(bias: Tensor | None, scale: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
    """Return ``shift + scale * (bias - mean)``, computed in float64."""
    bias = torch.zeros_like(mean) if bias is None else bias
    return (shift.double() + scale.double() * (bias.double() - mean.double())).to(shift.dtype)


class Called(nn.Module):
    """A product with a weight that follows from parameters.

    Args:
        weight: Shaped as PyTorch's module of that kind has it.
        bias: One value an output channel, or None.

    Attributes:
        function: The function of PyTorch.
        expressions: Of weight and bias.
        norms: The batch norm that is part of weight and bias; empty if there is none.
    """

    function: ClassVar[Any]

    def __init__(self, weight: Recorded, bias: Recorded | None) -> None:
        super().__init__()
        self.expressions: tuple[Recorded, Recorded | None] = (weight, bias)
        self.norms: tuple[FoldedNorm, ...] = ()  # no module of its own: it stays where it is

    def fold(self, norm: FoldedNorm) -> None:
        """Take a batch norm behind the product over."""
        self.expressions, self.norms = norm.folded(*self.expressions), (norm,)

    @property
    def weight(self) -> Tensor:
        """The present weight, without gradients."""
        return self.expressions[0].value()

    @property
    def bias(self) -> Tensor | None:
        """The present bias, without gradients."""
        bias = self.expressions[1]
        return None if bias is None else bias.value()

    def forward(self, input: Tensor, given: Given | None = None) -> Tensor:
        """Multiply.

        Args:
            input: As the function takes it.
            given: Weight and bias of the call, if they are at hand.
        """
        if given is not None and self.norms:
            given = self.norms[0].folded_given(given)
        weight, bias = (self.weight, self.bias) if given is None else given
        y: Tensor = type(self).function(input, weight, bias, **self.options())
        return y

    def options(self) -> dict[str, Any]:
        """The keyword arguments of the function."""
        return {}


class CalledLinear(Called):
    """A call of ``functional.linear``, or a product with a matrix that follows from parameters."""

    function = staticmethod(functional.linear)

    @property
    def in_features(self) -> int:
        """Length of the rows."""
        return int(self.weight.shape[1])


class CalledConvolution(Called):
    """A call of ``functional.conv1d`` to ``conv3d``; the attributes are those of ``nn.Conv2d``."""

    padding_mode = "zeros"

    def __init__(
        self,
        weight: Recorded,
        bias: Recorded | None,
        *,
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> None:
        super().__init__(weight, bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.kernel_size = tuple(self.weight.shape[2:])

    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}


class CalledConv1d(CalledConvolution):
    """A call of ``functional.conv1d``."""

    function = staticmethod(functional.conv1d)


class CalledConv2d(CalledConvolution):
    """A call of ``functional.conv2d``."""

    function = staticmethod(functional.conv2d)


class CalledConv3d(CalledConvolution):
    """A call of ``functional.conv3d``."""

    function = staticmethod(functional.conv3d)


class CalledTransposed(CalledConvolution):
    """A call of ``functional.conv_transpose1d`` to ``conv_transpose3d``."""

    def __init__(
        self,
        weight: Recorded,
        bias: Recorded | None,
        *,
        output_padding: tuple[int, ...],
        **options: Any,
    ) -> None:
        super().__init__(weight, bias, **options)
        self.output_padding = output_padding

    def options(self) -> dict[str, Any]:
        return {**super().options(), "output_padding": self.output_padding}


class CalledConvTranspose1d(CalledTransposed):
    """A call of ``functional.conv_transpose1d``."""

    function = staticmethod(functional.conv_transpose1d)


class CalledConvTranspose2d(CalledTransposed):
    """A call of ``functional.conv_transpose2d``."""

    function = staticmethod(functional.conv_transpose2d)


class CalledConvTranspose3d(CalledTransposed):
    """A call of ``functional.conv_transpose3d``."""

    function = staticmethod(functional.conv_transpose3d)
