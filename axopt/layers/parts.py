"""Convolutions over one to three dimensions as native convolutions of images.

A line is an image of one row. A volume becomes one image for each plane of results. The planes
under the kernel are the channels of this image. Planes of one input channel are neighbours, so
that groups stay together.

A convolution is one `Part`. A transposed convolution has one part for each phase of its stride.
With stride s and dilation d, tap k of input i contributes to the position u = i s + k d, and u is
the result t = u - padding. So the results of phase r (u = r modulo s) use only the taps with
k d = r modulo s. With g = gcd(s, d), these taps are s / g apart, and of two neighbouring taps the
second one uses the input d / g positions before that of the first. This is an ordinary convolution
of stride 1 and dilation d / g with its taps reversed. No inserted zero is ever multiplied.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from axopt.kernels import Window

Border = tuple[tuple[int, int], ...]
"""Number of positions before and behind, for each dimension."""


@dataclass(frozen=True)
class Part:
    """A convolution that makes some of a layer's results. All fields have a value per dimension.

    Attributes:
        stride: Distance of its windows.
        dilation: Distance of the taps of a window.
        padding: Zeros that the native operation pads on either side.
        crop: Positions of the input that are cut off before and behind.
        taps: Taps of the layer's kernel that it uses.
        results: Positions of its results among those of the layer.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    crop: Border
    taps: tuple[slice, ...]
    results: tuple[slice, ...]

    def window(self, groups: int) -> Window:
        """Return the window of its native operation on images."""
        pairs = (self.stride, self.padding, self.dilation)
        ones = (1, 0, 1)
        stride, padding, dilation = (
            (one, *pair)[-2:] for one, pair in zip(ones, pairs, strict=True)
        )
        return Window(stride, padding, dilation, groups)  # type: ignore[arg-type]

    def kernel(self, weight: Tensor) -> Tensor:
        """Return its taps of ``weight``, as ``(out_channels, channels, kernel_h, kernel_w)``."""
        weight = weight[(slice(None), slice(None), *self.taps)]
        return weight[:, :, None] if weight.ndim == 3 else weight.flatten(1, -3)

    def result_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the size of its own results where those of the layer have ``size``."""
        return _lengths(self.results, size)

    def kernel_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the size of its own kernel where that of the layer has ``size``."""
        return _lengths(self.taps, size)

    def images(self, x: Tensor, taps: int) -> Tensor:
        """Return its input as images.

        Args:
            x: ``(samples, channels, ...)`` with the border of the layout.
            taps: Number of its taps in the first of three dimensions.

        Returns:
            ``(images, channels, height, width)``; a view of ``x`` for one or two dimensions.
        """
        kept = [
            slice(before, size - behind)
            for size, (before, behind) in zip(x.shape[2:], self.crop, strict=True)
        ]
        x = x[(slice(None), slice(None), *kept)]
        if x.ndim == 3:
            return x[:, :, None]
        if x.ndim == 4:
            return x
        planes = x.unfold(2, (taps - 1) * self.dilation[0] + 1, self.stride[0])
        planes = planes[..., :: self.dilation[0]].permute(0, 2, 1, 5, 3, 4)
        return planes.flatten(2, 3).flatten(0, 1)


def _lengths(slices: Sequence[slice], size: Sequence[int]) -> tuple[int, ...]:
    return tuple(len(range(*s.indices(n))) for s, n in zip(slices, size, strict=True))


@dataclass(frozen=True)
class Layout:
    """The parts of a layer.

    Attributes:
        border: Zeros that are padded around the input before the parts run.
        parts: The native convolutions.
        direct: Whether there is one part, and it runs on the input as it is.
    """

    border: Border
    parts: tuple[Part, ...]
    direct: bool = False


def bordered(x: Tensor, border: Sequence[tuple[int, int]]) -> Tensor:
    """Pad ``x`` with zeros; cut it where the border is negative."""
    if not any(map(any, border)):
        return x
    return functional.pad(x, [n for sides in reversed(border) for n in sides])


def convolution_layout(
    stride: tuple[int, ...], dilation: tuple[int, ...], border: Border
) -> Layout:
    """Return the one part of a convolution; the native operation pads if both sides are equal."""
    dims = len(stride)
    alike = [a == b and d >= dims - 2 for d, (a, b) in enumerate(border)]
    whole = (slice(None),) * dims
    padding = tuple(side[0] if native else 0 for side, native in zip(border, alike, strict=True))
    explicit = tuple(
        (0, 0) if native else side for side, native in zip(border, alike, strict=True)
    )
    part = Part(stride, dilation, padding, ((0, 0),) * dims, whole, whole)
    return Layout(explicit, (part,), direct=dims == 2 and not any(map(any, explicit)))


@dataclass(frozen=True)
class _Phase:
    """A part along one dimension; ``taps`` are those of the reversed kernel."""

    border: tuple[int, int]
    dilation: int
    taps: slice
    results: slice


@functools.lru_cache(maxsize=256)
def transposed_layout(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
) -> Layout:
    """Return the phases of a transposed convolution, with the taps of the reversed kernel.

    All arguments have a value per dimension. A phase without taps has an empty slice of taps.
    """
    along = [
        [_phase(r, *sizes) for r in range(sizes[1])]
        for sizes in zip(kernel, stride, dilation, padding, output_padding, strict=True)
    ]
    border = tuple(
        (max(0, *(p.border[0] for p in phases)), max(0, *(p.border[1] for p in phases)))
        for phases in along
    )
    parts = tuple(
        Part(
            (1,) * len(phases),
            tuple(p.dilation for p in phases),
            (0,) * len(phases),
            tuple(
                (most[0] - p.border[0], most[1] - p.border[1])
                for most, p in zip(border, phases, strict=True)
            ),
            tuple(p.taps for p in phases),
            tuple(p.results for p in phases),
        )
        for phases in itertools.product(*along)
    )
    return Layout(border, parts)


def _phase(r: int, kernel: int, stride: int, dilation: int, padding: int, extra: int) -> _Phase:
    """Return the phase r: the results t with t + padding = r modulo the stride.

    Args:
        r: Number of the phase, 0..stride - 1.
        kernel: Number of taps of the layer.
        stride: Stride of the layer.
        dilation: Dilation of the layer.
        padding: Positions that are cut off the results on either side.
        extra: Output padding.
    """
    divisor = math.gcd(stride, dilation)
    first = -(-(padding - r) // stride)  # the least q with t = q stride + r - padding >= 0
    results = slice(first * stride + r - padding, None, stride)
    apart = stride // divisor
    first_tap = next((k for k in range(min(apart, kernel)) if k * dilation % stride == r), None)
    if first_tap is None:
        return _Phase((0, 0), 1, slice(0, 0), results)
    count = len(range(first_tap, kernel, apart))
    last_tap = first_tap + (count - 1) * apart
    spacing = dilation // divisor
    offset = (r - first_tap * dilation) // stride  # input position of the first tap for q = 0
    before = (count - 1) * spacing - offset - first
    behind = offset + (dilation * (kernel - 1) + extra - padding - r) // stride
    return _Phase((before, behind), spacing, slice(kernel - 1 - last_tap, None, apart), results)
