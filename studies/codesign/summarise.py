"""Tables, a plot and the stored results from the runs of search.py and retrain.py.

    python -m studies.codesign.summarise runs/codesign

Run it from the repository root. Every folder of a run in ``runs/codesign`` with a ``front.csv`` is
copied to ``results/``, with one archive of its assignments and retrained weights. Without an
argument, tables and plot are made again from ``results/``.
"""

import argparse
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from axopt.files import write_text_atomically
from studies.tables import markdown

RESULTS = Path(__file__).parent / "results"
NETWORKS = {
    "resnet8": "ResNet-8",
    "resnet20": "ResNet-20",
    "vgg_small": "vgg_small",
    "mobilenetv2_small": "mobilenetv2_small",
}
LIBRARIES = {
    "": "EvoApprox8b and truncations",
    "-designed": "EvoApprox8b, truncations and designed ones",
    "-columns": "unsigned array, low columns cut",
    "-unsigned4": "unsigned EvoApprox8b, at most 4 distinct",
}
"""Suffix of a run's folder -> the multipliers that layers choose from."""

COPIED = ("front.csv", "measured.jsonl", "sensitivities.csv", "retrained.jsonl")
LIMITS_PP = (0.5, 1.0, 2.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?", help="folder of the runs")
    runs = parser.parse_args().runs
    for front in sorted(runs.glob("*/front.csv")) if runs else []:
        store(front.parent, RESULTS / front.parent.name)
    write_text_atomically(RESULTS / "tables.md", "\n\n".join(sections()) + "\n")
    plot(RESULTS / "fronts.png")


def store(run: Path, target: Path) -> None:
    """Copy the results of a run; files in the archive have fixed dates."""
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (run / name).exists():
            shutil.copy(run / name, target / name)
    files = [run / name for name in pd.read_csv(run / "front.csv")["assignment"]]
    for name in ("assignment.json", "weights.safetensors"):
        files += sorted(run.glob(f"retrained-*/{name}"))
    with zipfile.ZipFile(target / "assignments.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(run).as_posix())
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def sections() -> Iterator[str]:
    """Yield the sections of tables.md."""
    yield f"## Largest saving within a drop, no retraining\n\n{savings()}"
    yield f"## Retrained\n\n{retrained_table()}"
    for network, library, folder in stored():
        front = pd.read_csv(folder / "front.csv")
        yield f"## {NETWORKS[network]}: {LIBRARIES[library]}\n\n{front_table(front)}"


def stored() -> Iterator[tuple[str, str, Path]]:
    """Yield network, library and folder of every stored run."""
    for network in NETWORKS:
        for library in LIBRARIES:
            folder = RESULTS / f"{network}{library}"
            if folder.exists():
                yield network, library, folder


def savings() -> str:
    header = ("network", "multipliers", *(f"<= {limit} pp" for limit in LIMITS_PP))
    body = []
    for network, library, folder in stored():
        front = pd.read_csv(folder / "front.csv")
        best = [front[front["drop_pp"] <= limit]["saved_pct"].max() for limit in LIMITS_PP]
        cells = ("-" if pd.isna(saved) else f"{saved:.1f} %" for saved in best)
        body.append((NETWORKS[network], LIBRARIES[library], *cells))
    return markdown(header, body)


def retrained_rows() -> pd.DataFrame:
    """Return the retrained points of all runs; columns as in retrained.jsonl, and the run."""
    rows = []
    for network, library, folder in stored():
        file = folder / "retrained.jsonl"
        for line in file.read_text().splitlines() if file.exists() else []:
            rows.append({"network": network, "library": library, **json.loads(line)})
    return pd.DataFrame(rows)


def retrained_table() -> str:
    header = ("network", "power saved", "before, %", "after, %", "drop, pp", "interval", "epochs")
    body = [
        (
            f"{NETWORKS[row.network]}{', exact' if row.point == 'exact' else ''}",
            f"{row.saved_pct:.1f} %",
            f"{row.before_top1_pct:.2f}",
            f"{row.top1_pct:.2f}",
            f"{row.drop_pp:.2f}",
            f"{row.drop_low:.2f} .. {row.drop_high:.2f}",
            f"{row.epochs} of {row.train_samples:,} images",
        )
        for row in retrained_rows().itertuples()
    ]
    return markdown(header, body)


def front_table(front: pd.DataFrame) -> str:
    header = ("power saved", "drop, pp", "95 % interval", "multipliers", "interval of the saving")
    rows = [
        (
            f"{row.saved_pct:.1f} %",
            f"{row.drop_pp:.2f}",
            f"{row.drop_low:.2f} .. {row.drop_high:.2f}",
            str(row.distinct),
            f"{100 * (1 - row.rel_power_high):.1f} .. {100 * (1 - row.rel_power_low):.1f} %",
        )
        for row in front.itertuples()
    ]
    return markdown(header, rows)


def plot(file: Path) -> None:
    figure, panels = plt.subplots(2, 2, figsize=(10, 7.5), sharey=True, layout="constrained")
    axes_of = dict(zip(NETWORKS, panels.flat, strict=True))
    styles = {library: f"C{number}o-" for number, library in enumerate(LIBRARIES)}
    for network, library, folder in stored():
        front = pd.read_csv(folder / "front.csv")
        add_points(axes_of[network], front, LIBRARIES[library], styles[library])
    retrained = retrained_rows()
    for network, axes in axes_of.items():
        if len(retrained):
            rows = retrained[(retrained["network"] == network) & (retrained["point"] != "exact")]
            add_points(axes, rows, "retrained", "k*")
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set(title=NETWORKS[network], ylim=(-1, 6), xlim=(0, 100))
        axes.set_xlabel("multiplier power saved (%)")
        axes.set_ylabel("drop of top-1 (pp), 95 % interval")
    entries: dict[str, Artist] = {}
    for axes in panels.flat:
        entries.update(dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)))
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=130)


def add_points(axes: Axes, rows: pd.DataFrame, label: str, style: str) -> None:
    if len(rows):
        low, high = rows["drop_pp"] - rows["drop_low"], rows["drop_high"] - rows["drop_pp"]
        axes.errorbar(
            rows["saved_pct"],
            rows["drop_pp"],
            yerr=[low, high],
            fmt=style,
            markersize=9 if "*" in style else 3,
            capsize=2,
            linewidth=1,
            label=label,
            zorder=3 if "*" in style else 2,
        )


if __name__ == "__main__":
    main()
