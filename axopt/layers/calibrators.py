"""From the histogram of a tensor to the range that its quantiser covers.

A calibrator takes a `Histogram`, whether the format is symmetric and the stride of its codes, and
returns (low, high). Min-max covers all values. The others clip rare large values for a finer
scale.

.. [Migacz2017] S. Migacz, "8-bit Inference with TensorRT", GTC 2017 (entropy calibration).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from axopt.errors import ArgumentError, CalibrationError
from axopt.layers.histogram import BINS, Histogram
from axopt.layers.quantisation import QuantParams

Calibrator = Callable[[Histogram, bool, int], tuple[float, float]]

PERCENTILE = 99.99
"""Percentage of the values that the percentile calibrator does not clip, on each side."""

_SHRINKAGES = torch.linspace(1.0, 0.1, 91, dtype=torch.float64).tolist()


def activation_params(
    histogram: Histogram, *, signed: bool, calibrator: str, stride: int = 1
) -> QuantParams:
    """Return the quantisation parameters of a tensor with a given histogram.

    Args:
        histogram: Values that calibration saw.
        signed: Whether the format is symmetric (True) or affine (False).
        calibrator: A name of `CALIBRATORS`.
        stride: Distance between the codes of neighbouring levels.

    Raises:
        ArgumentError: If there is no calibrator of that name.
        CalibrationError: If the histogram is empty.

    Example:
        >>> seen = Histogram()
        >>> seen.update(torch.tensor([0.0, 1.0, 2.55]))
        >>> params = activation_params(seen, signed=False, calibrator="minmax")
        >>> round(float(params.scale), 4), int(params.zero_point)
        (0.01, 0)
    """
    if calibrator not in CALIBRATORS:
        names = ", ".join(sorted(CALIBRATORS))
        raise ArgumentError(f"`calibrator` must be one of {names}, got {calibrator!r}.")
    if histogram.empty:
        raise CalibrationError("calibration saw no values")
    low, high = CALIBRATORS[calibrator](histogram, signed, stride)
    return QuantParams.from_range(
        torch.tensor(low), torch.tensor(high), signed=signed, stride=stride
    )


def minmax(histogram: Histogram, signed: bool, stride: int = 1) -> tuple[float, float]:
    """Cover all values that were seen."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, signed: bool, stride: int = 1) -> tuple[float, float]:
    """Cover all but the outermost 0.01 % on each side (of the magnitudes, for signed operands)."""
    tail = 1 - PERCENTILE / 100
    counts = histogram.counts.double()
    edges = histogram.edges()
    if signed:
        magnitudes = counts.flip(0)[: BINS // 2] + counts[BINS // 2 :]
        kept = magnitudes.cumsum(0) >= (1 - tail) * magnitudes.sum()
        bound = float(edges[BINS // 2 + 1 :][kept][0])
        return histogram.clip(-bound), histogram.clip(bound)
    cumulated = counts.cumsum(0) / counts.sum()
    low = float(edges[:-1][cumulated > tail][0])
    high = float(edges[1:][cumulated >= 1 - tail][0])
    return histogram.clip(low), histogram.clip(high)


def mse(histogram: Histogram, signed: bool, stride: int = 1) -> tuple[float, float]:
    """Shrink the range to the least mean squared quantisation error."""
    seen = histogram.counts > 0
    counts, centres = histogram.counts[seen].double(), histogram.centres()[seen]

    lows, highs = (torch.tensor(ends) for ends in zip(*_shrunk(histogram), strict=True))
    params = QuantParams.from_range(lows, highs, signed=signed, stride=stride)
    error = params.fake_quantise(centres.expand(len(lows), -1)).double() - centres
    losses = [float(loss.sum()) for loss in error.square_().mul_(counts)]
    return _shrunk(histogram)[losses.index(min(losses))]


def entropy(histogram: Histogram, signed: bool, stride: int = 1) -> tuple[float, float]:
    """Shrink the range to the least divergence of the quantised distribution from the original.

    It is the Kullback-Leibler divergence between the clipped histogram and the same histogram
    with the counts of each level spread evenly over its used bins ([Migacz2017]).
    """
    centres = histogram.centres()
    counts = histogram.counts.double()

    def divergence(low: float, high: float) -> float:
        params = QuantParams.from_range(
            torch.tensor(low), torch.tensor(high), signed=signed, stride=stride
        )
        levels = params.levels(centres).long()
        covered = params.inside(centres)
        if not covered.any():
            return math.inf
        clipped = torch.where(covered, counts, 0.0)
        first, last = covered.nonzero()[[0, -1], 0].tolist()
        reference = clipped.clone()
        reference[first] += counts[:first].sum()
        reference[last] += counts[last + 1 :].sum()
        used = clipped > 0
        total = torch.zeros(256, dtype=torch.float64).index_add_(0, levels, clipped)
        share = torch.zeros(256, dtype=torch.float64).index_add_(0, levels, used.double())
        levelled = torch.where(used, (total / share.clamp(min=1))[levels], 0.0)
        return _kullback_leibler(reference, levelled)

    return min(_shrunk(histogram), key=lambda bounds: divergence(*bounds))


CALIBRATORS: dict[str, Calibrator] = {
    "entropy": entropy,
    "minmax": minmax,
    "mse": mse,
    "percentile": percentile,
}


def _shrunk(histogram: Histogram) -> list[tuple[float, float]]:
    """Return shrunk copies of the observed range, the whole range first."""
    return [(histogram.low * s, histogram.high * s) for s in _SHRINKAGES]


def _kullback_leibler(p: Tensor, q: Tensor) -> float:
    """Return the divergence of q from p in nats for counts; q is smoothed where it is 0."""
    if q.sum() == 0:
        return math.inf
    p = p / p.sum()
    q = (q + 1e-9 * q.sum()) / (q.sum() * (1 + 1e-9 * len(q)))
    used = p > 0
    return float((p[used] * torch.log(p[used] / q[used])).sum())
