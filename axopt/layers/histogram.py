"""A histogram of a layer's input, gathered in one pass over batches of unknown range."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from axopt.errors import CalibrationError

BINS = 8192
_LEAST_LIMIT = 2.0**-20


@dataclass
class Histogram:
    """Counts over ``BINS`` equal bins of [-limit, limit], and the exact extremes.

    The limit is a power of two. When a batch exceeds it, it doubles and bins are merged in pairs,
    so the result does not depend on the order or the size of the batches.

    Attributes:
        limit: Bound of the bins.
        counts: ``(BINS,)`` int64.
        low: Smallest value seen.
        high: Largest value seen.

    Example:
        >>> seen = Histogram()
        >>> seen.update(torch.tensor([-1.0, 3.0, 0.5]))
        >>> seen.low, seen.high, seen.limit, int(seen.counts.sum())
        (-1.0, 3.0, 4.0, 3)
    """

    limit: float = _LEAST_LIMIT
    counts: Tensor = field(default_factory=lambda: torch.zeros(BINS, dtype=torch.int64))
    low: float = math.inf
    high: float = -math.inf

    def update(self, x: Tensor) -> None:
        """Count the elements of ``x`` (any shape, float).

        Raises:
            CalibrationError: If ``x`` holds NaN or infinity; nothing is then counted.
        """
        if x.numel() == 0:
            return
        x = x.detach().float().flatten()
        low, high = (float(bound) for bound in torch.aminmax(x))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CalibrationError("calibration data hold NaN or infinite values")
        while max(-low, high) > self.limit:
            self._double()
        counts = torch.histc(x.double(), BINS, -self.limit, self.limit)
        self.counts += counts.long().cpu()
        self.low, self.high = min(self.low, low), max(self.high, high)

    def _double(self) -> None:
        merged = self.counts.view(-1, 2).sum(1)
        self.counts = torch.zeros_like(self.counts)
        self.counts[BINS // 4 : -BINS // 4] = merged
        self.limit *= 2

    @property
    def empty(self) -> bool:
        """Whether no value was counted yet."""
        return self.low > self.high

    def edges(self) -> Tensor:
        """Return the borders of the bins, ``(BINS + 1,)`` float64; zero is one of them."""
        return torch.linspace(-self.limit, self.limit, BINS + 1, dtype=torch.float64)

    def centres(self) -> Tensor:
        """Return the middle of each bin, ``(BINS,)`` float64, clipped to the extremes seen."""
        edges = self.edges()
        return ((edges[1:] + edges[:-1]) / 2).clamp(self.low, self.high)

    def clip(self, value: float) -> float:
        """Return ``value``, moved to the extremes seen if it lies outside."""
        return min(max(value, self.low), self.high)
