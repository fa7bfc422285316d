"""The share of a network's multiplications that is emulated, and the products left in float."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from axopt.errors import CoverageWarning

ENOUGH = 0.99
"""Share of the multiplications below which `Coverage.warn` warns."""

_NAMED = 3


@dataclass(frozen=True)
class Coverage:
    """Multiplications of one sample, emulated and left in float.

    Products of weights and products of two activations count alike; element-wise products do not
    count.

    Attributes:
        emulated: Name of the layer -> multiplications.
        left_out: Name of the module, or "module: function" -> multiplications, largest first.

    Example:
        >>> found = Coverage({"conv": 900}, {"fc": 20, "head: bilinear": 80})
        >>> found.share, found.left_out
        (0.9, {'head: bilinear': 80, 'fc': 20})
    """

    emulated: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ordered = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        object.__setattr__(self, "left_out", {name: n for name, n in ordered if n > 0})

    @property
    def total(self) -> int:
        """All multiplications of one sample."""
        return sum(self.emulated.values()) + sum(self.left_out.values())

    @property
    def share(self) -> float:
        """The emulated share of all multiplications, 0..1; 1 if there are none."""
        return sum(self.emulated.values()) / self.total if self.total else 1.0

    def largest(self) -> str:
        """Name the largest products left out with their shares: "fc 12.5 %, head: bmm 3.0 %"."""
        named = list(self.left_out.items())[:_NAMED]
        more = len(self.left_out) - len(named)
        text = ", ".join(f"{name} {100 * n / self.total:.1f} %" for name, n in named)
        return f"{text} and {more} more" if more else text

    def warn(self) -> None:
        """Warn if less than 99 % of the multiplications are emulated."""
        if self.share < ENOUGH:
            warnings.warn(
                f"{100 * self.share:.1f} % of the multiplications are emulated; left in float: "
                f"{self.largest()}. `EmulatedModel.skipped` has the reasons.",
                CoverageWarning,
                stacklevel=4,  # the caller of `prepare`
            )
