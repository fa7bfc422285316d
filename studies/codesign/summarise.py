"""Tables, a plot and the stored results from the runs of search.py.

    python -m studies.codesign.summarise runs/codesign

Run it from the repository root. Every folder of a run in ``runs/codesign`` with a ``front.csv`` is
copied to ``results/``, its assignments as one archive. Without an argument, tables and plot are
made again from ``results/``.
"""

import argparse
import shutil
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from axopt.files import write_text_atomically
from studies.tables import markdown

RESULTS = Path(__file__).parent / "results"
TITLES = {"resnet8": "ResNet-8", "resnet20": "ResNet-20"}
COPIED = ("front.csv", "measured.jsonl", "sensitivities.csv")
LIMITS_PP = (0.5, 1.0, 2.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?", help="folder of the runs")
    runs = parser.parse_args().runs
    for front in sorted(runs.glob("*/front.csv")) if runs else []:
        store(front.parent, RESULTS / front.parent.name)
    fronts = {f.parent.name: pd.read_csv(f) for f in sorted(RESULTS.glob("*/front.csv"))}
    parts = [f"## Largest saving within a drop\n\n{savings(fronts)}"]
    parts += [f"## {TITLES.get(name, name)}\n\n{table(front)}" for name, front in fronts.items()]
    write_text_atomically(RESULTS / "tables.md", "\n\n".join(parts) + "\n")
    plot(fronts, RESULTS / "fronts.png")


def store(run: Path, target: Path) -> None:
    """Copy the results of a run; the archive of its assignments has fixed dates."""
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copy(run / name, target / name)
    with zipfile.ZipFile(target / "assignments.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in pd.read_csv(run / "front.csv")["assignment"]:
            archive.writestr(
                zipfile.ZipInfo(name), (run / name).read_bytes(), zipfile.ZIP_DEFLATED
            )


def savings(fronts: dict[str, pd.DataFrame]) -> str:
    header = ("network", *(f"<= {limit} pp" for limit in LIMITS_PP))
    body = []
    for name, front in fronts.items():
        best = [front[front["drop_pp"] <= limit]["saved_pct"].max() for limit in LIMITS_PP]
        body.append((TITLES.get(name, name), *(f"{saved:.1f} %" for saved in best)))
    return markdown(header, body)


def table(front: pd.DataFrame) -> str:
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


def plot(fronts: dict[str, pd.DataFrame], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, front in fronts.items():
        low, high = front["drop_pp"] - front["drop_low"], front["drop_high"] - front["drop_pp"]
        axes.errorbar(
            front["saved_pct"],
            front["drop_pp"],
            yerr=[low, high],
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1,
            label=TITLES.get(name, name),
        )
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xlabel("multiplier power saved (%)")
    axes.set_ylabel("drop of top-1 (pp), 95 % interval")
    axes.legend()
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
