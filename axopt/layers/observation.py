"""What calibration keeps of a layer's inputs, so that corrections need no forward pass.

Every input channel has a histogram, coarser than the layer's own (`Histogram`), and a few hundred
windows of the input - each with all the values that meet in one output - are kept as they are;
NaN stands for what a window lacks.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

BINS = 1024
WINDOWS = 1024
"""At most so many windows are kept, and at least half as many where there are more."""

_COUNTED = 1 << 19
"""About so many values of a batch are counted, spread over all."""

_LEAST_LIMIT = 2.0**-20
_GOLDEN = 2654435769  # 2^32 times the golden ratio less 1


@dataclass
class ChannelHistograms:
    """Counts over ``BINS`` equal bins of [-limit, limit] for every input channel, zeros apart.

    The limit doubles as that of `Histogram` does. Exact zeros, the spike that a rectifier leaves,
    are not in the bins.

    Attributes:
        counts: ``(channels, BINS)`` int64.
        zeros: ``(channels,)`` int64.
        sums: ``(channels,)`` float64, of the values.
        squares: ``(channels,)`` float64, sums of the squared values.
        padded_share: Part of the values met by the kernel that are padding zeros.
        tap_share: Part of its taps that an output meets a value with, on average: less than 1 in
            transposed convolutions, and where padded taps are skipped.
    """

    limit: float = _LEAST_LIMIT
    counts: Tensor = field(default_factory=lambda: torch.zeros(0, BINS, dtype=torch.int64))
    zeros: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    sums: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    squares: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    padded_share: float = 0.0
    tap_share: float = 1.0

    def update(self, x: Tensor) -> None:
        """Count the values of ``x``, ``(channels, n)`` finite floats."""
        if x.numel() == 0:
            return
        x = x.detach()[:, :: _stride(x)].float().cpu()
        channels = len(x)
        largest = float(x.abs().max())
        while largest > self.limit:
            self._double()
        if len(self.counts) == 0:
            self.counts = torch.zeros(channels, BINS, dtype=torch.int64)
            self.zeros = torch.zeros(channels, dtype=torch.int64)
            self.sums = torch.zeros(channels, dtype=torch.float64)
            self.squares = torch.zeros(channels, dtype=torch.float64)
        bins = ((x / self.limit + 1) * (BINS // 2)).long().clamp_(max=BINS - 1)
        bins += torch.arange(channels)[:, None] * BINS
        counted = x != 0
        # in place: a histogram of this batch alone would be as large for a few values
        self.counts.view(-1).scatter_add_(0, bins.flatten(), counted.flatten().long())
        self.zeros += x.shape[1] - counted.sum(1)
        self.sums += x.sum(1, dtype=torch.float64)
        self.squares += x.double().square().sum(1)

    def _double(self) -> None:
        self.limit *= 2
        if len(self.counts) == 0:
            return
        merged = self.counts.view(-1, BINS // 2, 2).sum(2)
        self.counts = torch.zeros_like(self.counts)
        self.counts[:, BINS // 4 : -BINS // 4] = merged

    @property
    def totals(self) -> Tensor:
        """``(channels,)`` float64: values counted, without padding."""
        return (self.counts.sum(1) + self.zeros).double()

    def means(self) -> Tensor:
        """``(channels,)`` float64 mean of the values that the kernel meets."""
        return self.sums / self.totals * (1 - self.padded_share)

    def mean_squares(self) -> Tensor:
        """``(channels,)`` float64 mean square of the values that the kernel meets."""
        return self.squares / self.totals * (1 - self.padded_share)

    def shares_between(self, borders: Tensor) -> Tensor:
        """Part of the values that the kernel meets between neighbouring borders.

        Values are taken to be spread evenly over their bin; zeros are left out.

        Args:
            borders: ``(n,)`` float64, rising; the first and the last may be infinite.

        Returns:
            ``(channels, n - 1)`` float64.
        """
        edges = torch.linspace(-self.limit, self.limit, BINS + 1, dtype=torch.float64)
        below = torch.nn.functional.pad(self.counts.cumsum(1).double(), (1, 0))
        at = torch.searchsorted(edges, borders.clamp(-self.limit, self.limit)).clamp(1, BINS)
        part = (borders.clamp(-self.limit, self.limit) - edges[at - 1]) / (
            edges[at] - edges[at - 1]
        )
        cumulated = below[:, at - 1] + part * (below[:, at] - below[:, at - 1])
        return cumulated.diff(dim=1) / self.totals[:, None] * (1 - self.padded_share)

    def zero_shares(self) -> Tensor:
        """``(channels,)`` float64: part of the values that the kernel meets that are zeros."""
        return self.zeros / self.totals * (1 - self.padded_share) + self.padded_share


def _stride(x: Tensor) -> int:
    """Between the counted values of a channel; no columns or rows of images are preferred."""
    stride = x.numel() // _COUNTED + 1
    while math.gcd(stride, x.shape[1]) > 1:
        stride += 1
    return stride


@dataclass
class WindowSample:
    """Windows of a layer's input, spread evenly over all that calibration offered.

    Window i has the place ``i * golden ratio mod 1``; those below ``share`` are kept. When these
    are more than ``WINDOWS``, the share is halved. So the sample depends on the order of the
    windows alone, and no period of theirs can coincide with it.

    Attributes:
        windows: ``(n, groups, depth)`` float32.
        places: ``(n,)`` int64 places in units of 2^-32.
        share: Part that is kept, in units of 2^-32.
        offered: Windows seen so far.
        most: In place of ``WINDOWS``.
    """

    windows: Tensor = field(default_factory=lambda: torch.zeros(0, 1, 1))
    places: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    share: int = 2**32
    offered: int = 0
    most: int = WINDOWS

    def wanted(self, n: int) -> Tensor:
        """Which of ``n`` further windows to `add`, ``(m,)`` int64, most often m <= ``most``."""
        while n * self.share > self.most * 2**32:
            self.share //= 2
        places = self._places(n)
        return (places < self.share).nonzero()[:, 0]

    def add(self, windows: Tensor, n: int) -> None:
        """Take the windows that `wanted` chose of ``n``, ``(m, groups, depth)``."""
        places = self._places(n)
        self.places = torch.cat([self.places, places[places < self.share]])
        windows = windows.detach().float().cpu()
        self.windows = torch.cat([self.windows, windows]) if len(self.windows) else windows
        self.offered += n
        kept = self.places < self.share
        while int(kept.sum()) > self.most:
            self.share //= 2
            kept = self.places < self.share
        self.windows, self.places = self.windows[kept], self.places[kept]

    def _places(self, n: int) -> Tensor:
        return (self.offered + torch.arange(n)) * _GOLDEN % 2**32
