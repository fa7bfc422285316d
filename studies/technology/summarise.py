r"""Compare the 0.18 um figures with published and with estimated 45 nm figures.

    python -m studies.technology.summarise

Run it from the repository root after studies.technology.measure. It writes tables.md and ranks.png
to studies/technology/results.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from axopt.circuits import Netlist, estimate
from axopt.files import write_text_atomically
from axopt.multipliers import load_library
from axopt.multipliers.multiplier import FIGURES
from studies.costmodel.errors import errors_pct
from studies.costmodel.fit import FILES
from studies.costmodel.published import load_published
from studies.tables import markdown
from studies.technology.mapping import FLOWS
from studies.technology.measure import FILE, subjects

TITLES = {"power_mw": "power", "area_um2": "area", "delay_ns": "delay"}

SHOWN = ((7, 7), (6, 6), (5, 5), (4, 5), (5, 4), (4, 4), (3, 5), (3, 4), (3, 3), (2, 2))
"""Operand widths of the truncated multipliers in the table that compares each."""


@dataclass(frozen=True)
class Row:
    """Figures of a multiplier, each divided by that of the exact multiplier of its widths.

    Attributes:
        name: Its name.
        widths: Operand widths and signedness.
        published: Published figures by name; empty for a generated multiplier.
        estimated: axopt's estimates, divided by the published figure of the exact multiplier.
        measured: Flow -> figure -> value, divided by that of the exact multiplier's cells.
        intervals: Intervals of the estimates, for generated multipliers only.
    """

    name: str
    widths: str
    published: Mapping[str, float]
    estimated: Mapping[str, float]
    measured: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, tuple[float, float]]

    @property
    def known(self) -> Mapping[str, float]:
        """The 45 nm figures that axopt states: published ones, or else estimates."""
        return self.published or self.estimated


def load_rows(file: Path) -> list[Row]:
    """Return the distinct published multipliers and all generated ones.

    Left out are the exact multipliers to which others are compared, multipliers without power,
    and those that (or whose exact multiplier) were not measured yet.
    """
    with file.open(encoding="utf-8", newline="") as lines:
        table = {row["multiplier"]: row for row in csv.DictReader(lines)}
    distinct = {one.key for one in load_published(FILES)}
    exact: dict[str, dict[str, str]] = {}
    for multiplier in load_library(narrow=True).values():
        if multiplier.metrics.mae == 0 and multiplier.key in table:
            exact.setdefault(table[multiplier.key]["widths"], table[multiplier.key])
    rows = []
    for subject in subjects():
        if subject.name not in table or subject.widths not in exact:
            continue
        cells = table[subject.name]
        reference = exact[cells["widths"]]
        if cells is not reference and (subject.name in distinct or not subject.published):
            rows.append(_row(cells, reference, None if subject.published else subject.netlist))
    return rows


def _row(cells: Mapping[str, str], exact: Mapping[str, str], generated: Netlist | None) -> Row:
    """Return the figures in ``cells`` divided by those in ``exact``."""
    published = {f: float(exact[f"published_{f}"]) for f in FIGURES}
    bounds = {} if generated is None else estimate(generated).intervals
    return Row(
        cells["multiplier"],
        cells["widths"],
        {f: float(cells[f"published_{f}"]) / published[f] for f in FIGURES if generated is None},
        {f: float(cells[f"estimated_{f}"]) / published[f] for f in FIGURES},
        {
            flow: {f: float(cells[f"{flow}_{f}"]) / float(exact[f"{flow}_{f}"]) for f in FIGURES}
            for flow in FLOWS
        },
        {f: (low / published[f], high / published[f]) for f, (low, high) in bounds.items()},
    )


def agreement(rows: Sequence[Row]) -> str:
    """Return a table of errors and rank correlations of published multipliers."""
    groups: dict[str, Callable[[Row], bool]] = {
        "8x8": lambda row: row.widths.startswith("8x8"),
        "8x8 signed": lambda row: row.widths == "8x8 signed",
        "8x8 unsigned": lambda row: row.widths == "8x8 unsigned",
        "narrower": lambda row: not row.widths.startswith("8x8"),
        "all": lambda row: True,
    }
    lines = []
    for figure in FIGURES:
        for name, belongs in groups.items():
            chosen = [row for row in rows if row.published and belongs(row)]
            if not chosen:
                continue
            line = [TITLES[figure], name, str(len(chosen))]
            for flow in FLOWS:
                measured = np.array([row.measured[flow][figure] for row in chosen])
                published = np.array([row.published[figure] for row in chosen])
                estimated = np.array([row.estimated[figure] for row in chosen])
                errors = errors_pct(measured, published)
                line += [f"{errors[key]:.1f}" for key in ("median", "p90")]
                line += [f"{errors['bias']:+.1f}", f"{errors['spearman']:.3f}"]
                line += [f"{errors_pct(measured, estimated)['spearman']:.3f}"]
            lines.append(line)
    titles = ("median", "p90", "mean", "rank, published", "rank, estimated")
    header = ["figure", "widths", "n", *(f"{flow}: {title}" for flow in FLOWS for title in titles)]
    return markdown(header, lines)


def families(rows: Sequence[Row]) -> str:
    """Return a table of 0.18 um figures by 45 nm figures for groups of signed 8x8 multipliers."""
    signed = [row for row in rows if row.widths == "8x8 signed"]
    groups = {
        "published, by published figures": ([row for row in signed if row.published], "published"),
        "published, by estimates": ([row for row in signed if row.published], "estimated"),
        "generated, all": ([row for row in signed if not row.published], "estimated"),
    }
    for family in dict.fromkeys(row.name.split("(")[0] for row in signed if not row.published):
        members = [row for row in signed if row.name.startswith(f"{family}(")]
        groups[family] = (members, "estimated")
    lines = []
    for figure in FIGURES:
        for name, (members, source) in groups.items():
            line = [TITLES[figure], name, str(len(members))]
            for flow in FLOWS:
                known = np.array([getattr(row, source)[figure] for row in members])
                ratio = np.array([row.measured[flow][figure] for row in members]) / known
                low, middle, high = np.quantile(ratio, [0.1, 0.5, 0.9])
                line += [f"{middle:.2f}", f"{low:.2f} .. {high:.2f}"]
                line.append(
                    f"{100 * _inside(members, flow, figure):.0f}"
                    if not members[0].published
                    else ""
                )
            lines.append(line)
    titles = ("ratio", "10 % .. 90 %", "in interval, %")
    header = ["figure", "group", "n", *(f"{flow}: {title}" for flow in FLOWS for title in titles)]
    return markdown(header, lines)


def _inside(rows: Sequence[Row], flow: str, figure: str) -> float:
    """Return the share of rows whose 0.18 um figure is within the interval of the estimate."""
    bounds = [(row.intervals[figure], row.measured[flow][figure]) for row in rows]
    return float(np.mean([low <= value <= high for (low, high), value in bounds]))


def ranks(rows: Sequence[Row]) -> str:
    """Return a table of how generated signed multipliers rank among the published ones."""
    signed = [row for row in rows if row.widths == "8x8 signed"]
    lines = []
    for figure in FIGURES:
        for flow in FLOWS:
            known = np.array([row.known[figure] for row in signed])
            measured = np.array([row.measured[flow][figure] for row in signed])
            of_published = np.array([bool(row.published) for row in signed])
            ours = known[of_published, None] / known[~of_published]
            theirs = measured[of_published, None] / measured[~of_published]
            same = (ours > 1) == (theirs > 1)
            apart = np.abs(np.log(ours)) > np.log(1.2)
            lines.append(
                [
                    TITLES[figure],
                    flow,
                    f"{errors_pct(measured, known)['spearman']:.3f}",
                    f"{100 * same.mean():.1f}",
                    f"{100 * same[apart].mean():.1f}",
                ]
            )
    header = ["figure", "flow", "Spearman", "pairs in the same order, %", "pairs 20 % apart, %"]
    return markdown(header, lines)


def truncated(rows: Sequence[Row]) -> str:
    """Return a table of signed truncated multipliers: figures in % of the exact multiplier."""
    by_name = {row.name: row for row in rows}
    lines = []
    for bits_a, bits_w in SHOWN:
        row = by_name[f"truncated(bits_a={bits_a}, bits_w={bits_w}, signed=True)"]
        line = [f"{bits_a}x{bits_w}"]
        for figure in FIGURES:
            low, high = row.intervals[figure]
            line.append(f"{100 * row.estimated[figure]:.1f} ({100 * low:.1f} .. {100 * high:.1f})")
            line += [f"{100 * row.measured[flow][figure]:.1f}" for flow in FLOWS]
        lines.append(line)
    header = ["bits"]
    for figure in FIGURES:
        header += [f"{TITLES[figure]}, estimated", *FLOWS]
    return markdown(header, lines)


def plot(file: Path, rows: Sequence[Row]) -> None:
    """Draw 0.18 um figures over 45 nm figures, relative to exact multipliers."""
    groups: dict[str, tuple[Callable[[Row], bool], str]] = {
        "published, narrower": (lambda r: bool(r.published) and r.widths[:3] != "8x8", "0.75"),
        "published, 8x8 unsigned": (
            lambda r: bool(r.published) and r.widths == "8x8 unsigned",
            "tab:blue",
        ),
        "published, 8x8 signed": (
            lambda r: bool(r.published) and r.widths == "8x8 signed",
            "black",
        ),
        "generated, truncated": (lambda r: r.name.startswith("truncated"), "tab:red"),
        "generated, others": (
            lambda r: not r.published and not r.name.startswith("truncated"),
            "tab:orange",
        ),
    }
    figure, axes = plt.subplots(2, len(FIGURES), figsize=(12, 8), layout="constrained")
    for line, flow in zip(axes, FLOWS, strict=True):
        for axis, name in zip(line, FIGURES, strict=True):
            for label, (belongs, colour) in groups.items():
                chosen = [row for row in rows if belongs(row)]
                x = [row.known[name] for row in chosen]
                y = [row.measured[flow][name] for row in chosen]
                axis.loglog(x, y, ".", ms=4, color=colour, label=label)
            ends = [axis.get_xlim()[0], 1.5]
            axis.plot(ends, ends, color="0.6", lw=0.8, zorder=0)
            axis.set(
                xlabel=f"{TITLES[name]} at 45 nm (published or estimated) / exact",
                ylabel=f"{TITLES[name]} at 0.18 um, {flow} / exact",
            )
    axes[0, 0].legend(fontsize=7)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    rows = load_rows(FILE)
    signed = "signed 8x8 multipliers; 1 is the exact one"
    parts = [
        "## Published multipliers: errors in % and rank correlations",
        agreement(rows),
        f"## 0.18 um figures by 45 nm figures, {signed}",
        families(rows),
        "## Generated among published, signed 8x8",
        ranks(rows),
        "## Signed truncated multipliers, in % of the exact 8x8 multiplier",
        truncated(rows),
    ]
    write_text_atomically(FILE.with_name("tables.md"), "\n\n".join(parts) + "\n")
    plot(FILE.with_name("ranks.png"), rows)


if __name__ == "__main__":
    main()
