"""Confidence intervals of proportions.

.. [Wilson1927] E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
   Inference", Journal of the American Statistical Association 22 (158), 1927.
"""

import math

from axopt.errors import ArgumentError

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution: two-sided 95 % confidence."""


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
