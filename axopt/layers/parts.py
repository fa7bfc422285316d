"""Convolutions over one to three dimensions as native ones over rows and columns.

A line is an image of one row. A volume is one image for each plane of its results, which has the
planes under a kernel for channels: those of a channel side by side, so that groups stay together.

A convolution is one `Part`. A transposed one is several, one for each phase: with the stride s
and the dilation d, the result t lies at the place u = t + padding of the input, s apart, and tap k
of the input i at i s + k d. So the results of a phase, u = r modulo s, meet only the taps with
k d = r modulo s. Those are s / g apart, g being the greatest common divisor of s and d, and of two
neighbours the second meets the input d / g before the first: an ordinary convolution of stride 1
and dilation d / g with the taps reversed. No inserted zero is ever multiplied.
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
"""Positions before and behind, for each dimension."""


@dataclass(frozen=True)
class Part:
    """A convolution over some dimensions that makes some of a layer's results.

    Attributes:
        stride: Between its windows, for each dimension.
        dilation: Between the taps of a window.
        padding: Zeros on either side that the native operation puts there.
        crop: What is left out of the input, before and behind.
        taps: Which of the kernel's taps it has.
        results: Where its results are among those of the layer.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    crop: Border
    taps: tuple[slice, ...]
    results: tuple[slice, ...]

    def window(self, groups: int) -> Window:
        """How its kernel moves over images."""
        pairs = (self.stride, self.padding, self.dilation)
        ones = (1, 0, 1)
        stride, padding, dilation = (
            (one, *pair)[-2:] for one, pair in zip(ones, pairs, strict=True)
        )
        return Window(stride, padding, dilation, groups)  # type: ignore[arg-type]

    def kernel(self, weight: Tensor) -> Tensor:
        """Its taps of ``weight``, as ``(out_channels, channels, kernel_h, kernel_w)``."""
        weight = weight[(slice(None), slice(None), *self.taps)]
        return weight[:, :, None] if weight.ndim == 3 else weight.flatten(1, -3)

    def result_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """How many of a layer's results of ``size`` are its own, for each dimension."""
        return _lengths(self.results, size)

    def kernel_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """How many of the taps of a kernel of ``size`` it has, for each dimension."""
        return _lengths(self.taps, size)

    def images(self, x: Tensor, taps: int) -> Tensor:
        """Its input as images.

        Args:
            x: ``(samples, channels, ...)``, padded but for what the native operation pads.
            taps: Of its kernel in the first of three dimensions.

        Returns:
            ``(images, channels, height, width)``, a view of ``x`` unless there are planes.
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
        border: Zeros that are put around the input first.
        parts: What then runs.
        direct: Whether that is one native operation on the input as it is.
    """

    border: Border
    parts: tuple[Part, ...]
    direct: bool = False


def bordered(x: Tensor, border: Sequence[tuple[int, int]]) -> Tensor:
    """``x`` with zeros around it, or cut where there are less than none."""
    if not any(map(any, border)):
        return x
    return functional.pad(x, [n for sides in reversed(border) for n in sides])


def convolution_layout(
    stride: tuple[int, ...], dilation: tuple[int, ...], border: Border
) -> Layout:
    """The one part of a convolution: the native operation pads where both sides are alike."""
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
    """A part along one dimension; ``taps`` of the reversed kernel."""

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
    """The phases of a transposed convolution, their taps being those of the reversed kernel.

    A phase without taps has an empty slice of them.
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
    """The results with t + padding = r modulo the stride, see the module's text."""
    divisor = math.gcd(stride, dilation)
    first = -(-(padding - r) // stride)  # the least q with t = q stride + r - padding >= 0
    results = slice(first * stride + r - padding, None, stride)
    apart = stride // divisor
    taps = [k for k in range(min(apart, kernel)) if k * dilation % stride == r]
    if not taps:
        return _Phase((0, 0), 1, slice(0, 0), results)
    count = len(range(taps[0], kernel, apart))
    last_tap = taps[0] + (count - 1) * apart
    step = dilation // divisor
    offset = (r - taps[0] * dilation) // stride  # where the first tap of q = 0 lies
    before = (count - 1) * step - offset - first
    behind = offset + (dilation * (kernel - 1) + extra - padding - r) // stride
    return _Phase((before, behind), step, slice(kernel - 1 - last_tap, None, apart), results)
