"""What calibration keeps of a layer's inputs, so that corrections need no forward pass.

Every input channel has a histogram, coarser than the layer's own (`Histogram`). A sample of input
windows is kept as it is: a window holds all values that contribute to one output. NaN stands for
values that a window lacks.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

BINS = 1024
WINDOWS = 1024
"""Largest number of windows kept. At least half as many are kept if there are more."""

_COUNTED = 1 << 19
"""Approximate number of values that are counted of a batch, spread over all of it."""

_LEAST_LIMIT = 2.0**-20
_GOLDEN = 2654435769  # 2^32 times the golden ratio less 1


@dataclass
class ChannelHistograms:
    """Counts over ``BINS`` equal bins of [-limit, limit] for every input channel.

    The limit doubles as in `Histogram`. Exact zeros, which a ReLU makes many of, are counted apart
    from the bins.

    Attributes:
        counts: ``(channels, BINS)`` int64.
        zeros: ``(channels,)`` int64.
        sums: ``(channels,)`` float64 sums of the values.
        squares: ``(channels,)`` float64 sums of the squared values.
        padded_share: Share of padded zeros in the values that the kernel sees.
        tap_share: Mean share of the kernel's taps that have a value: less than 1 in transposed
            convolutions and where padded taps are skipped.
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
        # in place: a histogram of this batch alone would be as large, however few its values
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
        """Number of values counted, without padding, ``(channels,)`` float64."""
        return (self.counts.sum(1) + self.zeros).double()

    def means(self) -> Tensor:
        """Return the mean of the values that the kernel sees, ``(channels,)`` float64."""
        return self.sums / self.totals * (1 - self.padded_share)

    def mean_squares(self) -> Tensor:
        """Return the mean square of the values that the kernel sees, ``(channels,)`` float64."""
        return self.squares / self.totals * (1 - self.padded_share)

    def shares_between(self, borders: Tensor) -> Tensor:
        """Return the share of the values that the kernel sees between neighbouring borders.

        The values of a bin count as evenly spread over it. Exact zeros are excluded.

        Args:
            borders: ``(n,)`` float64, ascending; the first and the last may be infinite.

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
        """Return the share of zeros among the values that the kernel sees, ``(channels,)``."""
        return self.zeros / self.totals * (1 - self.padded_share) + self.padded_share


def _stride(x: Tensor) -> int:
    """Return the distance of counted values, coprime to their number: no column is favoured."""
    stride = x.numel() // _COUNTED + 1
    while math.gcd(stride, x.shape[1]) > 1:
        stride += 1
    return stride


@dataclass
class WindowSample:
    """A sample of the windows of a layer's input, spread evenly over all calibration data.

    Window i has the place ``i * golden ratio mod 1``. Windows with places below ``share`` are
    kept. When these exceed ``WINDOWS``, the share is halved. So the sample depends only on the
    order of the windows, and it cannot fall into step with a period in the data.

    Attributes:
        windows: ``(n, groups, depth)`` float32.
        places: ``(n,)`` int64 places in units of 2^-32.
        share: Share of the windows that is kept, in units of 2^-32.
        offered: Windows seen so far.
        most: Largest number of windows kept.
    """

    windows: Tensor = field(default_factory=lambda: torch.zeros(0, 1, 1))
    places: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    share: int = 2**32
    offered: int = 0
    most: int = WINDOWS

    def wanted(self, n: int) -> Tensor:
        """Return which of ``n`` further windows to `add`, ``(m,)`` int64."""
        while n * self.share > self.most * 2**32:
            self.share //= 2
        places = self._places(n)
        return (places < self.share).nonzero()[:, 0]

    def add(self, windows: Tensor, n: int) -> None:
        """Add the windows that `wanted` chose of ``n``, ``(m, groups, depth)``."""
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
