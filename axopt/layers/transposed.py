"""Emulated transposed convolutions over one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.errors import ArgumentError
from axopt.layers.conv import ConvolutionLayer, Sizes
from axopt.layers.gradients import Gradients
from axopt.layers.parts import Layout, transposed_layout
from axopt.layers.weighted import WeightedLayer
from axopt.multipliers import Multiplier

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


class EmulatedConvTranspose(ConvolutionLayer):
    """``nn.ConvTranspose1d``, ``2d`` or ``3d`` with products from a table.

    The layer is one convolution for each phase of the stride (see `axopt.layers.parts`). Zeros
    between inputs are never multiplied. A tap at a position outside the input is a padded one.
    Channels of weight scales and corrections are output channels.

    Args:
        conv: The original layer, whose parameters are used.
        multiplier: The multiplier to start with.
        **options: See `EmulatedLayer`.
    """

    def __init__(self, conv: Transposed, multiplier: Multiplier, **options: Any) -> None:
        self.groups = conv.groups
        super().__init__(conv.weight, conv.bias, multiplier, **options)
        self.stride: Sizes = tuple(conv.stride)
        self.dilation: Sizes = tuple(conv.dilation)
        self.padding: Sizes = cast(Sizes, tuple(conv.padding))
        self.output_padding: Sizes = tuple(conv.output_padding)

    @property
    def filters(self) -> Tensor:
        return _exchanged(self.weight, self.groups)

    @property
    def layout(self) -> Layout:
        return transposed_layout(
            self.weight.shape[2:], self.stride, self.dilation, self.padding, self.output_padding
        )

    def geometry(self) -> str:
        return (
            f"weight={tuple(self.weight.shape)}, stride={self.stride}, padding={self.padding}, "
            f"output_padding={self.output_padding}, dilation={self.dilation}, "
            f"groups={self.groups}"
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Emulate the layer.

        Args:
            input: Batched or not.
            output_size: Size of the results, with or without samples and channels; by default
                the one that follows from the layer's ``output_padding``.

        Raises:
            ArgumentError: If no output padding leads to ``output_size``.
            CalibrationError: If the layer was never calibrated.
        """
        return WeightedLayer.forward(self._of_output_size(input, output_size), input)

    def unbounded(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return WeightedLayer.unbounded(self._of_output_size(input, output_size), input)

    def _of_output_size(
        self, x: Tensor, output_size: Sequence[int] | None
    ) -> EmulatedConvTranspose:
        """Return this layer, for one call, with the output padding for ``output_size``."""
        if output_size is None:
            return self
        sizes = self._least_size(self._batched(x).shape[2:])
        wanted = tuple(output_size)[-self.dims :]
        extra = tuple(n - least for n, least in zip(wanted, sizes, strict=False))
        fits = [0 <= e < s for e, s in zip(extra, self.stride, strict=False)]
        if len(extra) != self.dims or not all(fits):
            most = tuple(n + s - 1 for n, s in zip(sizes, self.stride, strict=True))
            raise ArgumentError(
                f"`output_size` must be within {sizes}..{most}, got {tuple(output_size)}."
            )
        layer = object.__new__(type(self))
        layer.__dict__ = {**self.__dict__, "output_padding": extra}  # shares everything else
        return layer

    def _least_size(self, size: Sequence[int]) -> Sizes:
        kernel = self.weight.shape[2:]
        along = zip(size, kernel, self.stride, self.dilation, self.padding, strict=True)
        return tuple((n - 1) * s + d * (k - 1) + 1 - 2 * p for n, k, s, d, p in along)

    def result_size(self, size: Sequence[int]) -> Sizes:
        least = self._least_size(size)
        results = tuple(n + extra for n, extra in zip(least, self.output_padding, strict=True))
        if min(results) < 1 or min(size) < 1:
            raise ArgumentError(
                f"`x` must be large enough for a result, got the size {tuple(size)}, which gives "
                f"results of the size {results}."
            )
        return results

    def exact_float(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        output_padding = self._of_output_size(input, output_size).output_padding
        bias = None if self.bias is None else self.bias.to(input.dtype)
        convolve: Any = _FLOAT[self.dims]
        y: Tensor = convolve(
            input, self.weight.to(input.dtype), bias, self.stride, self.padding, output_padding,
            self.groups, self.dilation,
        )  # fmt: skip
        return y

    def _batch_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        least = self._least_size(x.shape[2:])
        extra = [n - m for n, m in zip(grad.shape[2:], least, strict=True)]
        to_x, to_w, to_bias = torch.ops.aten.convolution_backward(
            grad, x, _exchanged(weight, self.groups), [len(weight)], self.stride, self.padding,
            self.dilation, True, extra, self.groups, needs,
        )  # fmt: skip
        return to_x, None if to_w is None else _exchanged(to_w, self.groups), to_bias

    def sums_by_tap(self, grad: Tensor, sums: Tensor) -> Tensor:
        """Sum a gradient by tap: a tap contributes to the results of its phase only."""
        batch = self._batched(grad)
        found = batch.sum(0)
        for dim in range(self.dims):
            results = torch.arange(batch.shape[2 + dim], device=grad.device)
            _, unmet = self._met(dim, results)
            met = (~unmet).to(found.dtype)  # (results, taps)
            found = (found.movedim(1 + dim, -1) @ met).movedim(-1, 1 + dim)
        return found[:, None]

    def _as_parts_take(self, codes: Tensor) -> Tensor:
        return codes.flip(tuple(range(2, codes.ndim)))

    def _met(self, dim: int, result: Tensor) -> tuple[Tensor, Tensor]:
        taps = torch.arange(self.weight.shape[2 + dim], device=result.device)
        place = (result + self.padding[dim])[:, None] - taps * self.dilation[dim]
        stride = self.stride[dim]
        return place.div(stride, rounding_mode="floor"), place % stride != 0


class EmulatedConvTranspose1d(EmulatedConvTranspose):
    """``nn.ConvTranspose1d`` with products from a table; see `EmulatedConvTranspose`.

    Example:
        >>> from axopt import load_library
        >>> float_layer = nn.ConvTranspose1d(3, 4, 3, stride=2)
        >>> layer = EmulatedConvTranspose1d(float_layer, load_library().exact(signed=True))
        >>> layer.observing = True  # calibrate
        >>> x = torch.rand(2, 3, 4)
        >>> _ = layer(x)
        >>> layer.observing = False
        >>> layer(x).shape
        torch.Size([2, 4, 9])
    """

    kind = "conv_transpose1d"
    dims = 1


class EmulatedConvTranspose2d(EmulatedConvTranspose):
    """``nn.ConvTranspose2d`` with products from a table; see `EmulatedConvTranspose`.

    Example:
        >>> from axopt import load_library
        >>> float_layer = nn.ConvTranspose2d(3, 4, 3, stride=2)
        >>> layer = EmulatedConvTranspose2d(float_layer, load_library().exact(signed=True))
        >>> layer.observing = True  # calibrate
        >>> x = torch.rand(2, 3, 4, 4)
        >>> _ = layer(x)
        >>> layer.observing = False
        >>> layer(x).shape
        torch.Size([2, 4, 9, 9])
    """

    kind = "conv_transpose2d"
    dims = 2


class EmulatedConvTranspose3d(EmulatedConvTranspose):
    """``nn.ConvTranspose3d`` with products from a table; see `EmulatedConvTranspose`.

    Example:
        >>> from axopt import load_library
        >>> float_layer = nn.ConvTranspose3d(3, 4, 3, stride=2)
        >>> layer = EmulatedConvTranspose3d(float_layer, load_library().exact(signed=True))
        >>> layer.observing = True  # calibrate
        >>> x = torch.rand(2, 3, 4, 4, 4)
        >>> _ = layer(x)
        >>> layer.observing = False
        >>> layer(x).shape
        torch.Size([2, 4, 9, 9, 9])
    """

    kind = "conv_transpose3d"
    dims = 3


_FLOAT = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def transposed_products(conv: nn.modules.conv._ConvTransposeNd, size: Sequence[int]) -> int:
    """Return the multiplications for one sample with results of ``size``, padded taps included.

    Args:
        conv: A transposed convolution.
        size: Size of the results, without samples and channels.

    Example:
        >>> transposed_products(nn.ConvTranspose1d(2, 3, 4, stride=2), (10,))
        120
    """
    padding = cast(Sizes, conv.padding)
    return transposed_multiplications(conv.weight.shape, conv.stride, padding, conv.dilation, size)


def transposed_multiplications(
    weight: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    size: Sequence[int],
) -> int:
    """Count the multiplications of a transposed convolution for one sample.

    Args:
        weight: Shape of the weight, ``(in_channels, out_channels of a group, *kernel)``.
        stride: Of each dimension, as are ``padding`` and ``dilation``.
        padding: Positions that are cut off the results on either side.
        dilation: Distance of neighbouring taps.
        size: Of the results, without samples and channels.

    Returns:
        The products of taps and positions of the input; taps that lie beyond the input count too.

    Example:
        >>> from axopt.layers import transposed_multiplications
        >>> transposed_multiplications((2, 3, 4), (2,), (0,), (1,), (22,))
        264
    """
    kernel = weight[2:]
    along = zip(size, kernel, stride, dilation, padding, strict=True)
    met = (
        sum((t + p - k * d) % s == 0 for t in range(n) for k in range(taps))
        for n, taps, s, d, p in along
    )
    return math.prod(weight[:2]) * math.prod(met)


def _exchanged(weight: Tensor, groups: int) -> Tensor:
    """Exchange input and output channels of each group: from torch's weight to filters, or back.

    ``(groups * a, b, ...)`` becomes ``(groups * b, a, ...)``.
    """
    grouped = weight.view(groups, -1, *weight.shape[1:])
    return grouped.transpose(1, 2).flatten(0, 1)
