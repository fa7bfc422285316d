"""Confidence intervals of proportions, of their differences, and of other functions of samples.

.. [Wilson1927] E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
   Inference", Journal of the American Statistical Association 22 (158), 1927.
.. [Tango1998] T. Tango, "Equivalence Test and Confidence Interval for the Difference in
   Proportions for the Paired-Sample Design", Statistics in Medicine 17 (8), 1998.
.. [Efron1993] B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman and Hall,
   1993, chapter 11: the jackknife.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from axopt.errors import ArgumentError

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution: two-sided 95 % confidence."""

_GROUPS = 50
_GOLDEN = 2654435769  # 2^32 / golden ratio: multiples spread evenly over 32 bits


def wilson_interval(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a proportion [Wilson1927].

    Args:
        successes: How many of the ``n`` trials succeeded.
        n: Number of trials, at least 1.
        z: Normal quantile of the confidence level.

    Returns:
        Lower and upper bound, in 0..1.

    Raises:
        ArgumentError: If ``n < 1`` or ``successes`` is not in 0..n.

    Example:
        >>> low, high = wilson_interval(81, 263)
        >>> print(f"{low:.4f}..{high:.4f}")
        0.2553..0.3662
    """
    if n < 1 or not 0 <= successes <= n:
        raise ArgumentError(f"`successes` must be in 0..`n` and `n` >= 1, got {successes} of {n}.")
    p = successes / n
    centre = p + z * z / (2 * n)
    half_width = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half_width) / scale), min(1.0, (centre + half_width) / scale)


def paired_proportion_interval(
    only_first: int, only_second: int, n: int, z: float = Z_95
) -> tuple[float, float]:
    """The score interval of a difference of two proportions of the same trials [Tango1998].

    It holds the differences that the score test does not reject. At a difference of 0 that test
    is McNemar's without continuity correction: the interval excludes 0 exactly where
    ``(only_first - only_second)^2 / (only_first + only_second) > z^2``.

    Args:
        only_first: In how many of the ``n`` trials the first succeeded and the second failed.
        only_second: In how many the second succeeded and the first failed.
        n: Number of trials, at least 1.
        z: Normal quantile of the confidence level.

    Returns:
        Lower and upper bound of the first proportion less the second, in -1..1.

    Raises:
        ArgumentError: If a number is negative, or their sum is more than ``n``.

    Example:
        >>> low, high = paired_proportion_interval(12, 2, 50)
        >>> print(f"{low:.4f}..{high:.4f}")
        0.0611..0.3447
    """
    if n < 1 or only_first < 0 or only_second < 0 or only_first + only_second > n:
        raise ArgumentError(
            "`only_first` and `only_second` must be >= 0 and at most `n` >= 1 together, got "
            f"{only_first}, {only_second} and {n}."
        )
    low = -_largest_not_rejected(only_second, only_first, n, z)
    return low, _largest_not_rejected(only_first, only_second, n, z)


def _largest_not_rejected(b: int, c: int, n: int, z: float) -> float:
    """Upper bound of (b - c) / n, by bisection: the score falls as the difference grows."""
    low, high = (b - c) / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _score(b, c, n, middle) >= -z:
            low = middle
        else:
            high = middle
    return high


def _score(b: int, c: int, n: int, difference: float) -> float:
    """Score statistic of ``difference``, with the other proportion at its most likely value."""
    linear = (2 * n - b + c) * difference - b - c
    constant = -c * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear * linear - 8 * n * constant))
    only_second = (root - linear) / (4 * n)
    variance = n * (2 * only_second + difference * (1 - difference))
    distance = b - c - n * difference
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def jackknife_interval(
    samples: Tensor, estimate: Callable[[Tensor], float], z: float = Z_95
) -> tuple[float, float, float]:
    """An estimate with the interval that the delete-a-group jackknife gives it [Efron1993].

    It draws nothing at random. There are 50 groups: sample i belongs to group
    ``floor(50 frac(i / golden ratio))``, so that every group has its share of each class, whether
    the samples are sorted by class or the classes alternate.

    Args:
        samples: ``(N, ...)``, N at least 1.
        estimate: A smooth function of means over the samples.
        z: Normal quantile of the confidence level.

    Returns:
        Estimate, lower and upper bound; all equal where there are fewer than 4 samples.

    Example:
        >>> value, low, high = jackknife_interval(torch.arange(100.0), lambda x: float(x.mean()))
        >>> print(f"{value:.1f} in {low:.1f}..{high:.1f}")
        49.5 in 46.8..52.2
    """
    value = estimate(samples)
    groups = min(_GROUPS, len(samples) // 2)
    if groups < 2:
        return value, value, value
    group = (torch.arange(len(samples)) * _GOLDEN % 2**32) * groups >> 32
    without = torch.tensor([estimate(samples[group != g]) for g in range(groups)]).double()
    error = math.sqrt((groups - 1) * float(without.var(correction=0)))
    return value, value - z * error, value + z * error
