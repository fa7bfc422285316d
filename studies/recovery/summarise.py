"""Tables and plots from the results of uniform.py and retrain.py.

    python -m studies.recovery.summarise

Run it from the repository root. It writes tables.md and the plots next to the results.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from axopt.files import write_text_atomically
from axopt.layers import GRADIENTS
from axopt.multipliers import Multiplier, load_library
from studies.recovery.uniform import ALONE
from studies.tables import markdown

MODELS = {"resnet8": "ResNet-8", "resnet20": "ResNet-20"}
LONG_EPOCHS = 8

# ResNet-8, CIFAR-10, one multiplier everywhere, after 4 epochs of retraining: drop from the
# 84.93 % of the quantised network (design notes of this project, section 5).
PUBLISHED_DROP_PP = {
    "mul8s_1L2H": 0.32,
    "mul8s_1KTY": 1.15,
    "mul8s_1L2D": 1.83,
    "mul8s_1L1G": 17.3,
    "mul8s_1KR3": 50.2,
}

Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("studies/recovery/results"))
    folder = parser.parse_args().results
    with (folder / "uniform.csv").open(newline="") as file:
        uniform = list(csv.DictReader(file))
    runs = [json.loads(line) for line in (folder / "retrain.jsonl").read_text().splitlines()]
    parts = []
    for model, title in MODELS.items():
        rows = [row for row in uniform if row["model"] == model]
        if rows:
            parts += [f"## {title}, no retraining", corrected_table(rows)]
            parts += [f"## {title}, each correction alone", alone_table(rows)]
        retrained = [run for run in runs if run["model"] == model and run["corrected"]]
        if retrained:
            parts += [f"## {title}, retrained", retrained_table(retrained, exact_of(rows))]
        plot(rows, retrained, title, folder / f"{model}.png")
    parts += gradient_parts(runs)
    write_text_atomically(folder / "tables.md", "\n\n".join(parts) + "\n")


def gradient_parts(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return titles and tables that compare the gradients of uncorrected runs."""
    parts = []
    for learned, title in ((True, "learned scales"), (False, "fixed scales")):
        compared = [
            run
            for run in runs
            if not run["corrected"]
            and run["learned_steps"] == learned
            and len(_gradients(runs, run["multiplier"], learned)) > 1
        ]
        if compared:
            parts += [f"## ResNet-8, unsigned multipliers, {title}: two gradients"]
            parts += [gradient_table(compared)]
    return parts


def _gradients(runs: Sequence[dict[str, Any]], multiplier: str, learned: bool) -> set[str]:
    same = {"multiplier": multiplier, "learned_steps": learned, "corrected": False}
    return {run["gradient"] for run in runs if same.items() <= run.items()}


def exact_of(rows: Sequence[Row]) -> float:
    """Return the accuracy of the exact 8-bit network."""
    return float(next(r["top1_pct"] for r in rows if r["multiplier"] == "exact"))


def figure(rows: Sequence[Row], multiplier: str, setting: str) -> float:
    return float(
        next(
            r["top1_pct"]
            for r in rows
            if r["multiplier"] == multiplier and r["setting"] == setting
        )
    )


def relative_powers(rows: Sequence[Row]) -> dict[str, float]:
    """Return multiplier -> relative power, in descending order of power."""
    powers = {r["multiplier"]: float(r["rel_power"]) for r in rows if r["multiplier"] != "exact"}
    return dict(sorted(powers.items(), key=lambda item: -item[1]))


def corrected_table(rows: Sequence[Row]) -> str:
    exact = exact_of(rows)
    header = ("multiplier", "power saved", "nothing", "chosen by layer", "and batch norms",
              "the same, activations not remapped", "drop, corrected and batch norms")  # fmt: skip
    body = []
    for name, power in relative_powers(rows).items():
        raw, chosen, best, codes = (
            figure(rows, name, setting)
            for setting in ("none", "all, no data", "all", "all, any activation code")
        )
        figures = (f"{v:.2f}" for v in (raw, chosen, best, codes))
        body.append([name, f"{1 - power:.1%}", *figures, f"{exact - best:+.2f} pp"])
    lead = f"Top-1 accuracy in %, 10,000 test images. Exact 8-bit network: {exact:.2f}."
    return f"{lead}\n\n{markdown(header, body)}"


def alone_table(rows: Sequence[Row]) -> str:
    body = [
        [name, *(f"{figure(rows, name, setting):.2f}" for setting in ALONE)]
        for name in relative_powers(rows)
    ]
    table = markdown(("multiplier", *(name.replace("_", " ") for name in ALONE)), body)
    return f"Top-1 accuracy in %, 1,000 test images.\n\n{table}"


def retrained_table(runs: Sequence[dict[str, Any]], exact: float) -> str:
    header = ("multiplier", "power saved", "epochs", "before", "after", "drop from exact")
    library = load_library()
    reference = library.exact(signed=True).power_mw
    body = []
    for run in sorted(runs, key=lambda r: (r["epochs"], -library[r["multiplier"]].power_mw)):
        saved = 1 - library[run["multiplier"]].power_mw / reference
        figures = (
            f"{run['before']:.2f}",
            f"{run['after']:.2f}",
            f"{exact - run['after']:+.2f} pp",
        )
        name = run["multiplier"] + (", swapped" if run["swapped"] else "")
        body.append([name, f"{saved:.1%}", str(run["epochs"]), *figures])
    return markdown(header, body)


def _cheap_first(multiplier: Multiplier) -> tuple[float, float, str]:
    """Sort by power; of equal power, the largest worst-case error first."""
    return multiplier.power_mw, -multiplier.metrics.wce, multiplier.key


def gradient_table(runs: Sequence[dict[str, Any]]) -> str:
    """Return a table with one row per multiplier and one column per gradient."""
    library = load_library()
    gradients = [name for name in GRADIENTS if any(run["gradient"] == name for run in runs)]
    names = sorted(
        {run["multiplier"] for run in runs}, key=lambda name: _cheap_first(library[name])
    )
    found = {(run["multiplier"], run["gradient"]): run for run in runs}
    body = []
    for name in names:
        multiplier = library[name]
        figures = [found[name, gradient] for gradient in gradients]
        body.append(
            [
                name,
                f"{multiplier.power_mw:.3f}",
                f"{100 * multiplier.metrics.mae / 65535:.2f}",
                f"{figures[0]['before']:.2f}",
                *(f"{run['after']:.2f}" for run in figures),
                f"{figures[-1]['after'] - figures[0]['after']:+.2f}",
            ]
        )
    header = ("multiplier", "power, mW", "MAE, %", "before", *gradients, "difference, pp")
    mean = sum(float(row[-1]) for row in body) / len(body)
    body.append(["mean", *[""] * (len(header) - 2), f"{mean:+.2f}"])
    return f"Top-1 accuracy in %, 10,000 test images.\n\n{markdown(header, body)}"


def plot(rows: Sequence[Row], retrained: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Plot the drop from the exact network over relative power: raw, corrected, retrained."""
    exact, powers = exact_of(rows), relative_powers(rows)
    figure_, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    labels = {"none": "as it is", "all, no data": "corrections chosen by layer",
              "all": "and batch norms re-estimated"}  # fmt: skip
    for (setting, label), colour in zip(labels.items(), ("#b8b8b8", "#7fb2e5", "#1f5fa8"),
                                        strict=True):  # fmt: skip
        drops = [figure(rows, name, setting) - exact for name in powers]
        axes.plot(list(powers.values()), drops, "o-", color=colour, label=label)
    long: dict[str, float] = {}
    for run in retrained:
        if run["epochs"] == LONG_EPOCHS:  # the better operand order where both were trained
            long[run["multiplier"]] = max(run["after"], long.get(run["multiplier"], 0.0))
    axes.plot([powers[n] for n in long], [a - exact for a in long.values()], "*", ms=13,
              color="#d1495b", label=f"retrained for {LONG_EPOCHS} epochs")  # fmt: skip
    if title == "ResNet-8":
        axes.plot([powers[n] for n in PUBLISHED_DROP_PP], [-d for d in PUBLISHED_DROP_PP.values()],
                  "x", color="black", label="published, retrained for 4 epochs")  # fmt: skip
    axes.set(xlabel="power of the multipliers, relative to exact", title=title,
             ylabel="accuracy, pp from the exact 8-bit network", yscale="symlog",
             ylim=(-90, 0.7))  # fmt: skip
    axes.set_yticks([-80, -40, -20, -10, -5, -2, -1, 0], ["-80", "-40", "-20", "-10", "-5",
                    "-2", "-1", "0"])  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    figure_.savefig(path, dpi=120)
    plt.close(figure_)


if __name__ == "__main__":
    main()
