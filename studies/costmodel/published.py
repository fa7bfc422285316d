"""The published multipliers of the bundled library with their gate lists and features."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.circuits import Netlist, load_netlists
from axopt.circuits.activity import activity
from axopt.circuits.features import area_features, delay_features, power_features
from axopt.circuits.simplify import Simplified, simplify
from axopt.multipliers.multiplier import FIGURES

Floats = npt.NDArray[np.float64]

LIBRARY = Path("multiplier_lib")


@dataclass(frozen=True)
class Published:
    """A published multiplier.

    Attributes:
        key: "release/name".
        netlist: Its gates.
        figures: Published power in mW, area in um2 and delay in ns by name.
    """

    key: str
    netlist: Netlist
    figures: dict[str, float]

    @property
    def width(self) -> str:
        """Operand widths and signedness, such as "8x4 unsigned"."""
        kind = "signed" if self.netlist.signed else "unsigned"
        return f"{self.netlist.bits_a}x{self.netlist.bits_w} {kind}"

    @property
    def simple(self) -> Simplified:
        """The simplified gates."""
        return simplify(self.netlist)

    @cached_property
    def power(self) -> Floats:
        """Power features."""
        return power_features(self.simple, activity(self.netlist))

    @cached_property
    def area(self) -> Floats:
        """Area features."""
        return area_features(self.simple)

    def delay(self, coefficients: Floats) -> Floats:
        """Delay features on the longest path under ``coefficients``."""
        return delay_features(self.simple, coefficients)


def load_published(files: Sequence[Path]) -> list[Published]:
    """Return the distinct published multipliers with gates and a power above 0.

    Multipliers of the same widths with the same table are one: the first.

    Args:
        files: CSV files with the columns ``release``, ``name`` and the figures.
    """
    netlists = load_netlists()
    distinct: dict[tuple[object, ...], Published] = {}
    for key, figures in _rows(files):
        netlist = netlists[key]
        if figures["power_mw"] > 0:
            operands = (netlist.bits_a, netlist.bits_w, netlist.signed)
            function = (*operands, netlist.table().tobytes())
            distinct.setdefault(function, Published(key, netlist, figures))
    return list(distinct.values())


def _rows(files: Sequence[Path]) -> Iterator[tuple[str, dict[str, float]]]:
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                yield f"{row['release']}/{row['name']}", {f: float(row[f]) for f in FIGURES}
