r"""Tables, a plot and the stored results from the searches of measure.py.

    python -m studies.search.summarise runs/search

Run it from the repository root. The trials and test measurements of every network are copied to
``results/MODEL.zip``. Without an argument, tables and plot are made again from there.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from axopt.exploration import Genes, hypervolume
from axopt.files import write_text_atomically
from studies.histories import hypervolumes
from studies.search.measure import CHECKPOINTS, front_of
from studies.tables import markdown

RESULTS = Path(__file__).parent / "results"
CORNER = (0.17, 1.0)
"""Divergence at a drop of about 5 pp, and the power of the exact network."""

LIMITS_PP = (1.0, 2.0, 3.0)
POINTS = 12

Rows = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?", help="folder of the searches")
    runs = parser.parse_args().runs
    for folder in sorted(runs.iterdir()) if runs else []:
        if any(folder.glob("*/trials.jsonl")):
            store(folder, RESULTS / f"{folder.name}.zip")
    for file in sorted(RESULTS.glob("*.zip")):
        table = table_of(file)
        table.to_csv(file.with_suffix(".csv"), index=False, float_format="%.6g")
        write_text_atomically(file.with_suffix(".md"), "\n\n".join(sections(table)) + "\n")
        plot(table, file.with_suffix(".png"))


def store(folder: Path, target: Path) -> None:
    """Archive trials and test measurements; files in the archive have fixed dates."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted([*folder.glob("*/trials.jsonl"), *folder.glob("test.jsonl")]):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def read(file: Path) -> tuple[dict[str, Rows], dict[Genes, dict[str, Any]]]:
    """Return head and trials of every search, and the points measured on test."""
    with zipfile.ZipFile(file) as archive:
        lines = {name: archive.read(name).decode().splitlines() for name in archive.namelist()}
    tested = [json.loads(line) for line in lines.pop("test.jsonl", [])]
    searches = {name.split("/")[0]: list(map(json.loads, rows)) for name, rows in lines.items()}
    return searches, {tuple(row["genes"]): row for row in tested}


def table_of(file: Path) -> pd.DataFrame:
    """Return one row a search and checkpoint: hypervolume, savings on test."""
    searches, tested = read(file)
    everything = np.vstack([objectives_of(rows[1:]) for rows in searches.values()])
    best = hypervolume(everything[np.isfinite(everything).all(1)], CORNER)
    table = []
    for head, *rows in searches.values():
        settings, before = head["settings"], head["spent before"]
        name = f"{settings['algorithm']}{', seeded' if settings['seeds'] else ''}"
        volumes = hypervolumes(objectives_of(rows), CORNER)
        for checkpoint in CHECKPOINTS:
            spent = int(checkpoint - before)
            if not 0 < spent or settings["budget"] < spent:
                continue
            found = [tested.get(tuple(row["genes"])) for row in front_of(rows[:spent], POINTS)]
            table.append(
                {
                    "algorithm": name,
                    "seed": settings["seed"],
                    "evaluations": checkpoint,
                    "hypervolume": 100 * volumes[min(spent, len(volumes)) - 1] / best,
                    **{f"saved_{limit:g}pp": saved(found, limit) for limit in LIMITS_PP},
                }
            )
    return pd.DataFrame(table)


def objectives_of(rows: Rows) -> np.ndarray[Any, Any]:
    """Return the objectives; infinite ones of evaluations that failed or were stopped early."""
    never = (np.inf, np.inf)
    return np.array(
        [(row["divergence"], row["rel_power"]) if row["complete"] else never for row in rows]
    )


def saved(points: Sequence[dict[str, Any] | None], limit: float) -> float:
    """Return the largest saving, in percent, of measured points within a drop; NaN if none."""
    inside = [p["rel_power"] for p in points if p is not None and p["drop_pp"] <= limit]
    return 100 * (1 - min(inside)) if inside else float("nan")


def sections(table: pd.DataFrame) -> Iterator[str]:
    """Yield the sections of the tables' file."""
    yield f"## Hypervolume, % of that of all searches together\n\n{pivot(table, 'hypervolume')}"
    for limit in LIMITS_PP:
        title = f"## Largest saving at <= {limit:g} pp on test, %"
        yield f"{title}\n\n{pivot(table, f'saved_{limit:g}pp')}"


def pivot(table: pd.DataFrame, column: str) -> str:
    """Return mean and range over seeds: one row an algorithm, one column a checkpoint."""
    body = []
    for name, rows in table.groupby("algorithm"):
        cells = []
        for checkpoint in CHECKPOINTS:
            values = rows[rows["evaluations"] == checkpoint][column].dropna()
            spread = f" ({values.min():.1f} - {values.max():.1f})" if len(values) > 1 else ""
            cells.append(f"{values.mean():.1f}{spread}" if len(values) else "-")
        body.append((str(name), *cells, str(rows["seed"].nunique())))
    return markdown(("algorithm", *map(str, CHECKPOINTS), "searches"), body)


def plot(table: pd.DataFrame, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, rows in table.groupby("algorithm"):
        means = rows.groupby("evaluations")["hypervolume"].mean()
        axes.plot(means.index, means, ".-", label=str(name))
    axes.set(xscale="log", xlabel="evaluations, sensitivities included")
    axes.set_ylabel("hypervolume (% of all searches')")
    axes.set_xticks(CHECKPOINTS, [str(checkpoint) for checkpoint in CHECKPOINTS])
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
