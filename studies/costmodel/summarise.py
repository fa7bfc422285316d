"""Tables, CSV and plot of the errors of the cost model."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from axopt.circuits import generate
from axopt.circuits.cost import estimate
from axopt.files import write_text_atomically
from axopt.multipliers.multiplier import FIGURES
from studies.costmodel.errors import errors_pct
from studies.costmodel.published import Floats, Published
from studies.tables import markdown

TITLES = {"power_mw": "power, mW", "area_um2": "area, um2", "delay_ns": "delay, ns"}

EXACT = {
    (8, 2): 0.033,
    (8, 3): 0.082,
    (8, 4): 0.137,
    (8, 5): 0.198,
    (8, 6): 0.267,
    (8, 7): 0.336,
    (7, 7): 0.277,
    (8, 8): 0.391,
}
"""Published power of exact unsigned multipliers in mW, by operand widths."""

REDUCTIONS = ("array", "carry_save", "wallace", "dadda")


def write(
    folder: Path,
    circuits: Sequence[Published],
    by_width: dict[str, Floats],
    by_one: dict[str, Floats],
) -> None:
    """Write tables.md, errors.csv and errors.png.

    Args:
        folder: Where the files go.
        circuits: The published multipliers.
        by_width: Figure -> estimates by models fitted without the circuit's widths.
        by_one: The same by models fitted without the circuit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {f: np.array([c.figures[f] for c in circuits]) for f in FIGURES}
    parts = ["## Errors in %"]
    header = ["", "median", "p90", "bias", "Spearman"]
    rows = [
        _row(f"{TITLES[f]}, without {what}", errors_pct(left[f], figures[f]))
        for what, left in (("its widths", by_width), ("the multiplier", by_one))
        for f in FIGURES
    ]
    parts += [markdown(header, rows)]
    widths = [c.width for c in circuits]
    for f in FIGURES:
        parts += [
            f"## {TITLES[f]}: errors in % by width left out",
            _by_width(widths, by_width[f], figures[f]),
        ]
    parts += ["## Generated exact multipliers against published power, in mW", _exact_table()]
    write_text_atomically(folder / "tables.md", "\n\n".join(parts) + "\n")
    write_text_atomically(folder / "errors.csv", _csv(circuits, by_width, by_one))
    _plot(folder / "errors.png", widths, by_width, figures)


def _row(name: str, errors: dict[str, float]) -> list[str]:
    median, p90, bias, spearman = errors.values()
    return [name, f"{median:.1f}", f"{p90:.1f}", f"{bias:+.1f}", f"{spearman:.3f}"]


def _by_width(widths: Sequence[str], estimates: Floats, figures: Floats) -> str:
    rows = []
    for width in sorted(set(widths)):
        chosen = np.array([w == width for w in widths])
        row = _row(width, errors_pct(estimates[chosen], figures[chosen]))
        rows.append([row[0], str(chosen.sum()), *row[1:]])
    return markdown(["widths", "multipliers", "median", "p90", "bias", "Spearman"], rows)


def _exact_table() -> str:
    rows = []
    for (bits_a, bits_w), published in EXACT.items():
        powers = [
            estimate(generate("exact", bits_a=bits_a, bits_w=bits_w, reduction=r)).power_mw
            for r in REDUCTIONS
        ]
        cells = [f"{power:.3f} ({100 * (power / published - 1):+.0f} %)" for power in powers]
        rows.append([f"{bits_a}x{bits_w}", f"{published:.3f}", *cells])
    return markdown(["widths", "published", *REDUCTIONS], rows)


def _csv(
    circuits: Sequence[Published], by_width: dict[str, Floats], by_one: dict[str, Floats]
) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["multiplier", "widths", *FIGURES]
        + [f"{f}_{left}" for left in ("without_widths", "without_it") for f in FIGURES]
    )
    for i, circuit in enumerate(circuits):
        estimates = [f"{left[f][i]:.4g}" for left in (by_width, by_one) for f in FIGURES]
        table.writerow([circuit.key, circuit.width, *circuit.figures.values(), *estimates])
    return text.getvalue()


def _plot(
    file: Path, widths: Sequence[str], estimates: dict[str, Floats], figures: dict[str, Floats]
) -> None:
    figure, axes = plt.subplots(1, len(FIGURES), figsize=(12, 4), layout="constrained")
    for axis, name in zip(axes, FIGURES, strict=True):
        for width in sorted(set(widths)):
            chosen = np.array([w == width for w in widths])
            axis.loglog(figures[name][chosen], estimates[name][chosen], ".", label=width, ms=4)
        ends = [figures[name].min(), figures[name].max()]
        axis.loglog(ends, ends, color="0.6", lw=0.8, zorder=0)
        axis.set(xlabel=f"published {TITLES[name]}", ylabel="estimated without its widths")
    axes[0].legend(fontsize=7)
    figure.savefig(file, dpi=120, metadata={"Software": None})
    plt.close(figure)
