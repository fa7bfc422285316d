"""`Design`: designed multipliers, what is expected of them, and EvoApprox8b beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.circuits import Netlist, netlist_of, save_netlists, write_netlist
from axopt.errors import RunExistsError
from axopt.exploration import AdditivePoint
from axopt.files import as_path, write_text_atomically
from axopt.multipliers import Multiplier, MultiplierLibrary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

GRID = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Relative powers at which fronts are compared."""

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Design:
    """Multipliers that were designed for a network; `design_multipliers` makes it.

    Distances are expected relative distances of the network's outputs from those with exact
    products, in percent. Errors of a layer are expected root mean square errors of its results
    after corrections, in percent of the standard deviation of the exact results.

    Attributes:
        multipliers: The designed multipliers, by falling power.
        netlists: Their gates, by the keys of the multipliers.
        exact: The exact multiplier that powers are relative to.
        table: One row per designed multiplier: ``multiplier``, ``structure`` (for each bit of the
            first operand the kept bits of the second, from the highest), ``power_mw`` with
            ``power_mw_low`` and ``power_mw_high``, the interval of the estimate, ``rel_power``,
            ``distance_pct`` if all layers use it, and ``error_pct LAYER`` for each layer.
        comparison: The same columns for each designed multiplier (``origin`` "designed") and,
            below it, for the one of EvoApprox8b with the least ``distance_pct`` among those that
            take no more power (``origin`` "EvoApprox8b").
        fronts: Name of a set of multipliers -> front of distance and power of the network with
            this set and the exact multiplier: "designed", "EvoApprox8b" (all signed or unsigned
            ones of release v1) and "EvoApprox8b, N of them" (as many as were designed, chosen in
            the same way).

    Example:
        >>> from axopt.design import Design
        >>> sorted(Design.__dataclass_fields__)
        ['comparison', 'exact', 'fronts', 'multipliers', 'netlists', 'table']
    """

    multipliers: MultiplierLibrary
    netlists: Mapping[str, Netlist]
    exact: Multiplier
    table: pd.DataFrame
    comparison: pd.DataFrame
    fronts: Mapping[str, Sequence[AdditivePoint]]

    def quality(self, powers: Sequence[float] = GRID) -> pd.DataFrame:
        """Return the expected distance of the network's outputs at several powers.

        Args:
            powers: Powers of all multiplications, relative to the exact multiplier.

        Returns:
            One row per power, one column per set of multipliers, in percent; NaN where no
            assignment takes so little power.
        """
        import pandas as pd

        rows = [
            {name: _distance_pct(front, power) for name, front in self.fronts.items()}
            for power in powers
        ]
        return pd.DataFrame(rows, index=pd.Index(powers, name="rel_power"))

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write the multipliers, and the exact one, as a library with gate lists and Verilog.

        The folder ``design`` in it holds ``table.csv``, ``comparison.csv``, ``quality.csv`` and a
        module ``NAME.v`` for each multiplier.

        Args:
            directory: A folder without a library; it is made if it is missing.

        Raises:
            RunExistsError: If it holds a library.
            OSError: If it cannot be written.
        """
        folder = check_is_new(directory)
        library = MultiplierLibrary([self.exact, *self.multipliers.values()])
        netlists = {self.exact.key: netlist_of(self.exact), **self.netlists}
        library.save(folder)
        save_netlists(folder / "library.gates.json.gz", netlists)
        tables = {"table": self.table, "comparison": self.comparison}
        (folder / "design").mkdir(exist_ok=True)
        for name, frame in tables.items():
            text = frame.to_csv(index=False, float_format="%.6g")
            write_text_atomically(folder / "design" / f"{name}.csv", text)
        text = self.quality().to_csv(float_format="%.6g")
        write_text_atomically(folder / "design" / "quality.csv", text)
        for key, netlist in self.netlists.items():
            multiplier = self.multipliers[key]
            file = folder / "design" / f"{multiplier.name}.v"
            write_netlist(netlist, file, name=multiplier.name, multiplier=multiplier)

    def plot(self, axes: Axes | None = None) -> Axes:
        """Plot expected distance over power for each set of multipliers.

        Args:
            axes: Where to plot; new axes if None.

        Returns:
            The axes.
        """
        if axes is None:
            import matplotlib.pyplot as plt

            _, axes = plt.subplots()
        for name, front in self.fronts.items():
            powers = [point.cost for point in front]
            distances = [100 * point.error**0.5 for point in front]
            axes.step(powers, distances, where="post", label=name)
        axes.set_xlabel("power of the multipliers, relative to the exact one")
        axes.set_ylabel("expected distance of the outputs [%]")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 30)
        axes.legend()
        return axes


def check_is_new(directory: str | os.PathLike[str]) -> Path:
    """Return the path of a folder that holds no library.

    Raises:
        RunExistsError: If it holds one.

    Example:
        >>> check_is_new("mylib").name
        'mylib'
    """
    folder = as_path(directory, "directory")
    if folder.is_dir() and any(folder.glob("*.csv")):
        raise RunExistsError(f"{folder}: holds a library already; name another folder.")
    return folder


def compared(designed: Sequence[Row], known: Sequence[Row]) -> list[Row]:
    """Return each designed row and, below it, the best known one of no more power.

    Example:
        >>> ours = [{"multiplier": "mine", "power_mw": 0.2, "distance_pct": 5.0}]
        >>> theirs = [{"multiplier": "other", "power_mw": 0.2, "distance_pct": 6.0}]
        >>> [row["origin"] for row in compared(ours, theirs)]
        ['designed', 'EvoApprox8b']
    """
    rows: list[Row] = []
    for row in designed:
        rows.append({"origin": "designed", **row})
        within = [other for other in known if other["power_mw"] <= row["power_mw"]]
        if within:
            best = min(within, key=lambda other: float(other["distance_pct"]))
            rows.append({"origin": "EvoApprox8b", **best})
    return rows


def _distance_pct(front: Sequence[AdditivePoint], power: float) -> float:
    within = [100 * point.error**0.5 for point in front if point.cost <= power]
    return within[-1] if within else float("nan")
