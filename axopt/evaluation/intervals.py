"""Confidence intervals of proportions, and of what follows from samples in other ways.

.. [Wilson1927] E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
   Inference", Journal of the American Statistical Association 22 (158), 1927.
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
    """
    if n < 1 or not 0 <= successes <= n:
        raise ArgumentError(f"`successes` must be in 0..`n` and `n` >= 1, got {successes} of {n}.")
    p = successes / n
    centre = p + z * z / (2 * n)
    half_width = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half_width) / scale), min(1.0, (centre + half_width) / scale)


def jackknife_interval(
    samples: Tensor, estimate: Callable[[Tensor], float], z: float = Z_95
) -> tuple[float, float, float]:
    """An estimate with the interval that the delete-a-group jackknife gives it [Efron1993].

    It draws nothing at random: sample i belongs to group ``50 frac(i / golden ratio)``, so that
    classes that take turns or follow each other are in all groups alike.

    Args:
        samples: ``(N, ...)``, N at least 1.
        estimate: A smooth function of means over the samples.
        z: Normal quantile of the confidence level.

    Returns:
        Estimate, lower and upper bound; all equal where there are fewer than 4 samples.
    """
    value = estimate(samples)
    groups = min(_GROUPS, len(samples) // 2)
    if groups < 2:
        return value, value, value
    group = (torch.arange(len(samples)) * _GOLDEN % 2**32) * groups >> 32
    without = torch.tensor([estimate(samples[group != g]) for g in range(groups)]).double()
    error = math.sqrt((groups - 1) * float(without.var(correction=0)))
    return value, value - z * error, value + z * error
