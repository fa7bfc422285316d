r"""Map multipliers to 0.18 um cells and write their area, delay and power.

    python -m studies.technology.measure

Run it from the repository root. It adds one row per multiplier to
studies/technology/results/figures.csv; multipliers that have a row there are not measured again.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from axopt.circuits import Netlist, estimate, generate, netlist_of
from axopt.multipliers import Multiplier, load_library
from axopt.multipliers.multiplier import FIGURES
from studies.technology.liberty import Technology, read_liberty
from studies.technology.mapping import (
    FLOWS,
    LIBERTY,
    Mapped,
    check_tools,
    map_netlists,
    operand_bits,
)
from studies.technology.simulation import count_changes
from studies.technology.timing import timing

FILE = Path("studies/technology/results/figures.csv")

PRODUCTS_PER_SECOND = 1e8
TRANSITIONS = 2048
SEED = 18

BATCH = 16
"""Gate lists that one process of Yosys maps."""

MEASURED = ("cells", *FIGURES)

COLUMNS = [
    "multiplier",
    "widths",
    *(f"published_{figure}" for figure in FIGURES),
    *(f"estimated_{figure}" for figure in FIGURES),
    *(f"{flow}_{name}" for flow in FLOWS for name in MEASURED),
]


@dataclass(frozen=True)
class Subject:
    """A multiplier to measure; ``published`` is empty if it is a generated one."""

    name: str
    netlist: Netlist
    published: dict[str, float] = field(default_factory=dict)

    @property
    def widths(self) -> str:
        """Operand widths and signedness, such as "8x4 unsigned"."""
        kind = "signed" if self.netlist.signed else "unsigned"
        return f"{self.netlist.bits_a}x{self.netlist.bits_w} {kind}"


def subjects() -> Iterator[Subject]:
    """Yield the bundled 8x8 multipliers, then the generated ones, then the bundled narrow ones.

    Of the narrow ones, the exact ones come first; the others follow one of each width at a time.
    """
    library = list(load_library(narrow=True).values())
    yield from (_bundled(one) for one in library if (one.bits_a, one.bits_w) == (8, 8))
    for family, parameters in generated():
        values = ", ".join(f"{name}={value}" for name, value in parameters.items())
        yield Subject(f"{family}({values})", generate(family, **parameters))
    by_width: dict[tuple[int, int], list[Multiplier]] = {}
    for one in sorted(library, key=lambda one: one.metrics.mae > 0):
        by_width.setdefault((one.bits_a, one.bits_w), []).append(one)
    del by_width[8, 8]
    for turn in itertools.zip_longest(*by_width.values()):
        yield from (_bundled(one) for one in turn if one is not None)


def _bundled(multiplier: Multiplier) -> Subject:
    figures = {figure: getattr(multiplier, figure) for figure in FIGURES}
    return Subject(multiplier.key, netlist_of(multiplier), figures)


def generated() -> Iterator[tuple[str, dict[str, object]]]:
    """Yield families and parameters of the generated multipliers."""
    for signed in (True, False):
        for reduction in ("array", "carry_save", "wallace", "dadda"):
            yield "exact", {"reduction": reduction, "signed": signed}
    for bits_a, bits_w in itertools.product(range(2, 8), repeat=2):
        yield "truncated", {"bits_a": bits_a, "bits_w": bits_w, "signed": True}
    for bits in range(2, 8):
        yield "truncated", {"bits_a": bits, "bits_w": bits, "signed": False}
    for columns in (2, 4, 6, 8, 10):
        yield "column_truncated", {"columns": columns, "signed": True}
    for horizontal, vertical in itertools.product((0, 2, 4), (4, 8)):
        rows = {"horizontal": horizontal, "vertical": vertical}
        yield "broken_array", {**rows, "signed": True}
    for compressor in ("momeni", "yang", "akbari", "venkatachalam"):
        yield "compressor", {"compressor": compressor, "columns": 8, "signed": True}
    for family, shortest in (("drum", 3), ("dynamic_segment", 3), ("static_segment", 4)):
        for segment in range(shortest, 7):
            yield family, {"segment": segment, "signed": True}
    for fraction_bits in (3, 5, 7):
        yield "mitchell", {"fraction_bits": fraction_bits, "signed": True}
    for exact_from in (16, 8, 0):
        yield "recursive", {"exact_from": exact_from, "signed": True}


def figures_of(mapped: Mapped, netlist: Netlist, technology: Technology) -> dict[str, float]:
    """Return the number of cells, power in mW, area in um2 and delay in ns of a mapped multiplier.

    Power is that of `PRODUCTS_PER_SECOND` products of independent, uniformly distributed operands:
    changes of each net per product times its energy, and the leakage of the cells.
    """
    times = timing(mapped, technology)
    rng = np.random.default_rng(SEED)
    before, after = (
        operand_bits(
            netlist,
            rng.integers(0, 2**netlist.bits_a, TRANSITIONS),
            rng.integers(0, 2**netlist.bits_w, TRANSITIONS),
        )
        for _ in range(2)
    )
    changes = count_changes(mapped, times.cell_delays, before, after)
    energy_pj = sum(count * times.energies[net] for net, count in changes.items()) / TRANSITIONS
    leakage_nw = sum(instance.cell.leakage_nw for instance in mapped.instances)
    return {
        "cells": len(mapped.instances),
        "power_mw": energy_pj * PRODUCTS_PER_SECOND * 1e-9 + leakage_nw * 1e-6,
        "area_um2": sum(instance.cell.area for instance in mapped.instances),
        "delay_ns": times.delay_ns,
    }


def measure(
    chosen: Sequence[Subject], technology: Technology, liberty: Path
) -> Iterator[tuple[Subject, list[str]]]:
    """Yield multipliers with the values of their columns by flow; equal gate lists share them."""
    waiting = list({_gates(subject): subject.netlist for subject in chosen}.items())
    for start in range(0, len(waiting), BATCH):
        batch = waiting[start : start + BATCH]
        mapped = map_netlists([netlist for _, netlist in batch], technology, liberty)
        for (gates, netlist), by_flow in zip(batch, mapped, strict=True):
            found = [figures_of(by_flow[flow], netlist, technology) for flow in FLOWS]
            values = [f"{figures[name]:.5g}" for figures in found for name in MEASURED]
            yield from ((subject, values) for subject in chosen if _gates(subject) == gates)


def _gates(subject: Subject) -> tuple[object, ...]:
    """Return a key that is the same for equal gate lists only."""
    netlist = subject.netlist
    return subject.widths, netlist.gates, netlist.outputs


def row_of(subject: Subject, values: Sequence[str]) -> list[str]:
    """Return a row of `COLUMNS`; ``values`` are those of the flows."""
    published = [f"{subject.published[f]:.5g}" if subject.published else "" for f in FIGURES]
    estimated = estimate(subject.netlist)
    estimates = [f"{getattr(estimated, figure):.5g}" for figure in FIGURES]
    return [subject.name, subject.widths, *published, *estimates, *values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--liberty", type=Path, default=LIBERTY)
    parser.add_argument("--file", type=Path, default=FILE)
    arguments = parser.parse_args()
    check_tools(arguments.liberty)
    technology = read_liberty(arguments.liberty)
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if arguments.file.exists():
        with arguments.file.open(encoding="utf-8", newline="") as lines:
            done = {row["multiplier"] for row in csv.DictReader(lines)}
    chosen = [subject for subject in subjects() if subject.name not in done]
    with arguments.file.open("a", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        if not done:
            table.writerow(COLUMNS)
        for subject, values in measure(chosen, technology, arguments.liberty):
            table.writerow(row_of(subject, values))
            file.flush()
    seconds = sum(os.times()[:4])
    print(f"{len(chosen)} multipliers measured in {seconds:.0f} s of processor time")


if __name__ == "__main__":
    main()
