"""Emulated convolutions over one, two and three dimensions."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.errors import ArgumentError
from axopt.kernels import Convolution, Window
from axopt.layers.gradients import Gradients
from axopt.layers.native import Convolutions
from axopt.layers.parts import Border, Layout, bordered, convolution_layout
from axopt.layers.sums import Products
from axopt.layers.weighted import WeightedLayer
from axopt.multipliers import Multiplier

Sizes = tuple[int, ...]

_AXES = "DHW"


class ConvolutionLayer(WeightedLayer):
    """Base of convolutions and transposed convolutions over any number of dimensions."""

    convolves = True
    dims: ClassVar[int]
    stride: Sizes
    dilation: Sizes
    groups: int
    padding_mode: str

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """Parts of the layer: one native convolution each."""

    @abstractmethod
    def result_size(self, size: Sequence[int]) -> Sizes:
        """Return the size of the results for a prepared input of ``size``.

        Both are without samples and channels.

        Raises:
            ArgumentError: If the input is too small.
        """

    @abstractmethod
    def _met(self, dim: int, result: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the input positions of the taps of some results, along one dimension.

        Args:
            dim: Dimension of the input, without samples and channels.
            result: ``(n,)`` int64 positions of results.

        Returns:
            ``(n, taps)`` int64 positions in the prepared input, and a mask of the taps that a
            result lacks; None if it has all.
        """

    @abstractmethod
    def _batch_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        """Return `surrogate_gradients` of a batch."""

    def by_channel(self, y: Tensor) -> Tensor:
        return y.movedim(-1 - self.dims, 0).flatten(1)

    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        if self._is_batch(x):
            return self._batch_gradients(grad, x, weight, needs)
        to_x, to_w, to_bias = self._batch_gradients(grad[None], x[None], weight, needs)
        return None if to_x is None else to_x[0], to_w, to_bias

    def integer_sums(self, x: Tensor, products: Products) -> Tensor:
        activation = products.quantisation.activation
        zeros = torch.zeros(len(products.codes), dtype=torch.int32, device=x.device)
        parts = zip(self._images(x), self._as_kernels(products.codes), strict=True)
        return self._joined(
            [
                zeros
                if image is None or kernel is None
                else products.image_sums(activation.codes(image), *kernel)
                for image, kernel in parts
            ],
            x,
        )

    def _convolved(
        self,
        convolutions: Convolutions,
        x: Tensor,
        bounds: tuple[float, float] | None,
    ) -> Tensor:
        if self.layout.direct:  # in a small layer, the general way would take as long again
            return self._as_given(cast(Convolution, convolutions[0])(self._batched(x), bounds), x)
        results = []
        for image, convolution in zip(self._images(x), convolutions, strict=True):
            if isinstance(convolution, Tensor):
                results.append(convolution if bounds is None else convolution.clamp(*bounds))
            elif image is None:
                results.append(x.new_zeros(()))
            else:
                results.append(convolution(image, bounds))
        return self._joined(results, x)

    def _as_kernels(self, codes: Tensor) -> list[tuple[Tensor, Window] | None]:
        codes = self._as_parts_take(codes)
        return [
            (part.kernel(codes), part.window(self.groups))
            if all(part.kernel_size(codes.shape[2:]))
            else None
            for part in self.layout.parts
        ]

    def _as_parts_take(self, codes: Tensor) -> Tensor:
        """Return the filters with their taps in the order of the parts."""
        return codes

    def _images(self, x: Tensor) -> list[Tensor | None]:
        """Return the prepared input as images for each part; None for a part without results."""
        batch, layout = self._batched(x), self.layout
        size = self.result_size(batch.shape[2:])
        batch = bordered(batch, layout.border)
        kernel = self.weight.shape[2:]
        return [
            part.images(batch, part.kernel_size(kernel)[0])
            if all(part.result_size(size))
            else None
            for part in layout.parts
        ]

    def _joined(self, results: list[Tensor], x: Tensor) -> Tensor:
        """Join the results of all parts, in the memory format of torch's layer."""
        batch = self._batched(x)
        size, parts = self.result_size(batch.shape[2:]), self.layout.parts
        channels_last = _is_channels_last(x) or _is_channels_last(self.weight)
        if len(parts) == 1 and results[0].ndim == 4:
            y = _from_images(results[0], len(batch), size)
        else:
            y = results[0].new_empty(len(batch), len(self.filters), *size)
            if channels_last:
                y = y.contiguous(memory_format=torch.channels_last)
            for part, result in zip(parts, results, strict=True):
                own = part.result_size(size)
                if result.ndim == 4:
                    result = _from_images(result, len(batch), own)
                else:
                    result = result.view(-1, *(1,) * self.dims)
                y[(slice(None), slice(None), *part.results)] = result
        return self._as_given(y, x)

    def _as_given(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the results in the memory format of torch's layer."""
        if not (_is_channels_last(x) or _is_channels_last(self.weight)):
            y = y.contiguous()
        return y if self._is_batch(x) else y[0]

    def prepared(self, x: Tensor) -> Tensor:
        if x.ndim not in (self.dims + 1, self.dims + 2):
            axes = ", ".join(("C", *_AXES[-self.dims :]))
            raise ArgumentError(
                f"`x` must have shape (N, {axes}) or ({axes}), got {tuple(x.shape)}."
            )
        return x

    def _is_batch(self, x: Tensor) -> bool:
        return x.ndim == self.dims + 2

    def _batched(self, x: Tensor) -> Tensor:
        return x if self._is_batch(x) else x[None]

    @property
    def pads(self) -> bool:
        layout = self.layout
        return any(map(any, layout.border)) or any(any(part.padding) for part in layout.parts)

    def _count_channels(self, x: Tensor) -> None:
        batch = self._batched(x)
        self.channels.update(batch.transpose(0, 1).flatten(1))
        taps = met = inside = 1  # products over the dimensions
        for dim, results in enumerate(self.result_size(batch.shape[2:])):
            at, unmet = self._met(dim, torch.arange(results))
            meets = torch.ones_like(at, dtype=torch.bool) if unmet is None else ~unmet
            real = meets & (at >= 0) & (at < batch.shape[2 + dim])
            taps *= at.numel()
            met *= int(meets.sum())
            inside *= int(real.sum())
        skips = self.padded_taps == "skip"
        self.channels.padded_share = 0.0 if skips or not met else 1 - inside / met
        self.channels.tap_share = (inside if skips else met) / taps

    def _outputs(self, x: Tensor) -> int:
        batch = self._batched(x)
        return len(batch) * math.prod(self.result_size(batch.shape[2:]))

    def _windows_at(self, x: Tensor, at: Tensor, padding: float) -> tuple[Tensor, Tensor | None]:
        batch = self._batched(x)
        sizes = batch.shape[2:]
        places: list[Tensor] = []
        outside = unmet = at.new_zeros((), dtype=torch.bool)
        for dim, results in reversed(list(enumerate(self.result_size(sizes)))):
            met, other = self._met(dim, at % results)
            at = at // results
            shape = [1] * (self.dims + 1)
            shape[0], shape[dim + 1] = met.shape
            outside = outside | ((met < 0) | (met >= sizes[dim])).view(shape)
            unmet = unmet if other is None else unmet | other.view(shape)
            places.insert(0, met.clamp(0, sizes[dim] - 1).view(shape))
        image = at.view(-1, *(1,) * self.dims)
        windows = batch.movedim(1, -1)[(image, *places)].movedim(-1, 1)
        windows = windows.masked_fill((outside | unmet)[:, None], padding)
        absent = outside | unmet if self.padded_taps == "skip" else unmet
        return self._by_group(windows), self._by_group(absent[:, None]) if absent.ndim else None

    def _from_rows(self, rows: Tensor, x: Tensor) -> Tensor:
        batch = self._batched(x)
        y = rows.view(len(batch), *self.result_size(batch.shape[2:]), rows.shape[1])
        y = y.movedim(-1, 1)
        return y if self._is_batch(x) else y[0]

    def _by_group(self, windows: Tensor) -> Tensor:
        """Reshape ``(n, channels, *kernel)`` to ``(n, groups, depth)``; expand one channel."""
        n, channels, *kernel = windows.shape
        if channels == 1:
            windows = windows.expand(n, self.filters.shape[1], *kernel)
            return windows.flatten(1)[:, None]
        return windows.reshape(n, self.groups, channels // self.groups * math.prod(kernel))

    def _per_output(self, values: Tensor) -> Tensor:
        return values.view(-1, *(1,) * self.dims) if values.ndim else values


class EmulatedConvolution(ConvolutionLayer):
    """``nn.Conv1d``, ``nn.Conv2d`` or ``nn.Conv3d`` with products from a table.

    Padded positions hold the value of the padding mode and are multiplied like any other. A padded
    zero has the code of the activation's zero point, so a multiplier with M(0, w) != 0 makes
    errors there too, unless ``padded_taps`` is "skip".

    Args:
        conv: The original layer, whose parameters are used.
        multiplier: The multiplier to start with.
        **options: See `EmulatedLayer`.

    Attributes:
        padding: Padded positions before and behind, the last dimension first.
    """

    def __init__(
        self, conv: nn.Conv1d | nn.Conv2d | nn.Conv3d, multiplier: Multiplier, **options: Any
    ) -> None:
        super().__init__(conv.weight, conv.bias, multiplier, **options)
        self.stride = tuple(conv.stride)
        self.dilation = tuple(conv.dilation)
        self.groups = conv.groups
        self.padding_mode = conv.padding_mode
        border = _border(conv)
        self.padding = tuple(n for sides in reversed(border) for n in sides)
        self._zeros = border if conv.padding_mode == "zeros" else ((0, 0),) * self.dims
        self._layout = convolution_layout(self.stride, self.dilation, self._zeros)

    @property
    def layout(self) -> Layout:
        return self._layout

    def geometry(self) -> str:
        return (
            f"weight={tuple(self.weight.shape)}, stride={self.stride}, padding={self.padding}, "
            f"padding_mode={self.padding_mode}, dilation={self.dilation}, groups={self.groups}"
        )

    def result_size(self, size: Sequence[int]) -> Sizes:
        kernel = self.weight.shape[2:]
        padded = [n + sum(border) for n, border in zip(size, self._zeros, strict=True)]
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, self.dilation, strict=True)]
        if any(n < e for n, e in zip(padded, extent, strict=True)):
            raise ArgumentError(
                f"`x` must be at least {' x '.join(map(str, extent))} with its padding, the "
                f"extent of the kernel, got {' x '.join(map(str, padded))}."
            )
        return tuple((n - e) // s + 1 for n, e, s in zip(padded, extent, self.stride, strict=True))

    def exact_float(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(input.dtype)
        convolve: Any = _FLOAT[self.dims]
        y: Tensor = convolve(
            self._padded(input), self.weight.to(input.dtype), bias, self.stride, 0,
            self.dilation, self.groups,
        )  # fmt: skip
        return y

    def _batch_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        padding = [before if before == behind else 0 for before, behind in self._zeros]
        uneven = [(0, 0) if a == b else (a, b) for a, b in self._zeros]
        to_x, to_w, to_bias = torch.ops.aten.convolution_backward(
            grad, bordered(x, uneven), weight, [len(weight)], self.stride, padding,
            self.dilation, False, [0] * self.dims, self.groups, needs,
        )  # fmt: skip
        return (
            None if to_x is None else bordered(to_x, [(-a, -b) for a, b in uneven]),
            to_w,
            to_bias,
        )

    def prepared(self, x: Tensor) -> Tensor:
        x = super().prepared(x)
        return x if self.padding_mode == "zeros" else self._padded(x)

    def _padded(self, x: Tensor) -> Tensor:
        """Return the input padded by the padding mode."""
        if not any(self.padding):
            return x
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return functional.pad(x, self.padding, mode=mode)

    def _met(self, dim: int, result: Tensor) -> tuple[Tensor, Tensor | None]:
        taps = torch.arange(self.weight.shape[2 + dim], device=result.device)
        first = result * self.stride[dim] - self._zeros[dim][0]
        return first[:, None] + taps * self.dilation[dim], None


class EmulatedConv1d(EmulatedConvolution):
    """``nn.Conv1d`` with products from a table; see `EmulatedConvolution`.

    Example:
        >>> from axopt import load_library
        >>> layer = EmulatedConv1d(nn.Conv1d(3, 4, 3), load_library().exact(signed=True))
        >>> layer.observing = True  # calibrate
        >>> x = torch.rand(2, 3, 8)
        >>> _ = layer(x)
        >>> layer.observing = False
        >>> layer(x).shape
        torch.Size([2, 4, 6])
    """

    kind = "conv1d"
    dims = 1


class EmulatedConv2d(EmulatedConvolution):
    """``nn.Conv2d`` with products from a table; see `EmulatedConvolution`.

    Example:
        >>> from axopt import load_library
        >>> layer = EmulatedConv2d(nn.Conv2d(3, 4, 3), load_library().exact(signed=True))
        >>> layer.observing = True  # calibrate
        >>> x = torch.rand(2, 3, 8, 8)
        >>> _ = layer(x)
        >>> layer.observing = False
        >>> layer(x).shape
        torch.Size([2, 4, 6, 6])
    """

    kind = "conv2d"
    dims = 2


class EmulatedConv3d(EmulatedConvolution):
    """``nn.Conv3d`` with products from a table; see `EmulatedConvolution`.

    Example:
        >>> from axopt import load_library
        >>> layer = EmulatedConv3d(nn.Conv3d(3, 4, 3), load_library().exact(signed=True))
        >>> layer.observing = True  # calibrate
        >>> x = torch.rand(2, 3, 8, 8, 8)
        >>> _ = layer(x)
        >>> layer.observing = False
        >>> layer(x).shape
        torch.Size([2, 4, 6, 6, 6])
    """

    kind = "conv3d"
    dims = 3


_FLOAT = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def _from_images(y: Tensor, samples: int, size: Sizes) -> Tensor:
    """Reshape results of images to ``(samples, out_channels, *size)``."""
    if len(size) == 1:
        return y[:, :, 0]
    return y if len(size) == 2 else y.view(samples, size[0], *y.shape[1:]).transpose(1, 2)


def _is_channels_last(x: Tensor) -> bool:
    """Return whether torch's convolutions treat ``x`` as channels-last."""
    return (
        x.ndim == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )


def _border(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> Border:
    """Return the positions that the layer pads before and behind, for each dimension."""
    sizes = zip(conv.dilation, conv.kernel_size, strict=True)
    if conv.padding == "valid":
        return tuple((0, 0) for _ in sizes)
    if conv.padding == "same":
        total = [d * (k - 1) for d, k in sizes]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple((n, n) for n in cast(Sizes, conv.padding))
