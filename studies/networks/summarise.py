r"""Tables and plots from the results of measure.py and of searches.

    python -m studies.networks.summarise

Run it from the repository root. It writes tables.md and one plot per network next to the results.
Searches are read from results/search/NETWORK/front.csv.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from axopt.evaluation import METRICS, Metric
from axopt.files import write_text_atomically
from axopt.multipliers import load_library
from studies.tables import markdown

EXACT = "mul8s_1KV8"
STAGES = {"raw": "#b8b8b8", "corrected": "#1f5fa8", "retrained": "#d1495b"}

Run = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("studies/networks/results"))
    folder = parser.parse_args().results
    runs = [json.loads(line) for line in (folder / "uniform.jsonl").read_text().splitlines()]
    parts = []
    for model in dict.fromkeys(run["model"] for run in runs):
        uniform = [r for r in runs if r["model"] == model and r["multiplier"] != "float"]
        exact = next((r for r in uniform if r["multiplier"] == EXACT), None)
        reference = next(r for r in runs if r["model"] == model and r["multiplier"] == "float")
        if exact is None:
            continue
        uniform.sort(key=lambda run: saved_pct(run["multiplier"]))
        metric = METRICS[exact["metric"]]
        front = read_front(folder / "search" / model / "front.csv")
        parts += [f"## {model}", uniform_table(uniform, metric, reference)]
        parts += [front_table(front, metric)] if front else []
        plot(model, uniform, front, metric, folder / f"{model}.png")
        parts += [f"![{model}](results/{model}.png)"]
    write_text_atomically(folder / "tables.md", "\n\n".join(parts) + "\n")


def saved_pct(multiplier: str) -> float:
    """Return the power saved by a signed multiplier, in percent of the exact one's power."""
    library = load_library()
    return 100 * (1 - library[multiplier].power_mw / library.exact(signed=True).power_mw)


def read_front(path: Path) -> list[dict[str, str]]:
    """Return the rows of a search's front.csv; an empty list if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def uniform_table(uniform: list[Run], metric: Metric, reference: Run) -> str:
    """Return a table of the quality at each stage, one row per multiplier."""
    stages = [stage for stage in STAGES if any(stage in run for run in uniform)]
    body = [
        [
            run["multiplier"],
            f"{saved_pct(run['multiplier']):.1f} %",
            *(f"{run[stage][0]:.2f}" if stage in run else "" for stage in stages),
        ]
        for run in uniform
    ]
    samples = f"{uniform[0]['n']:,} test samples"
    float_ = f"Float network: {reference['float']:.2f}."
    lead = (
        f"{title(metric)}, {samples}, one multiplier in every layer. {float_}{retraining(uniform)}"
    )
    return f"{lead}\n\n{markdown(['multiplier', 'power saved', *stages], body)}"


def retraining(uniform: list[Run]) -> str:
    """Return a sentence on the length of retraining; empty if nothing was retrained."""
    settings = {(run["epochs"], run["train_samples"]) for run in uniform if "retrained" in run}
    return "".join(
        f" Retrained: {epochs} epoch{'s' * (epochs > 1)} over at most {samples:,} samples."
        for epochs, samples in sorted(settings)
    )


def front_table(front: list[dict[str, str]], metric: Metric) -> str:
    """Return a table of the front, measured on test, one row per point."""
    body = [
        [
            row["point"],
            f"{float(row['quality']):.2f}",
            f"{float(row['quality_low']):.2f} .. {float(row['quality_high']):.2f}",
            f"{100 - 100 * float(row['rel_power']):.1f} %",
        ]
        for row in front
    ]
    header = ["point of the search", metric.name, "95 % interval", "power saved"]
    return markdown(header, body)


def title(metric: Metric) -> str:
    """Return a text for the metric, its unit and its direction."""
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.name}{unit} ({'higher' if metric.higher_is_better else 'lower'} is better)"


def plot(
    model: str, uniform: list[Run], front: list[dict[str, str]], metric: Metric, path: Path
) -> None:
    """Plot quality over the power saved: one multiplier everywhere, and the front of a search."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for stage, colour in STAGES.items():
        seen = [run for run in uniform if stage in run]
        axes.plot(
            [saved_pct(run["multiplier"]) for run in seen],
            [run[stage][0] for run in seen],
            "o--", color=colour, lw=1, label=f"one multiplier everywhere, {stage}",
        )  # fmt: skip
    if front:
        saved = [100 - 100 * float(row["rel_power"]) for row in front]
        axes.plot(
            saved, [float(row["quality"]) for row in front],
            "s-", color="black", ms=4, label="found by the search, corrected",
        )  # fmt: skip
    _scale(axes, metric)
    axes.set(xlabel="power of the multipliers saved, %", ylabel=title(metric), title=model)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="best")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _scale(axes: Axes, metric: Metric) -> None:
    """Choose the scale of the axis: distances span orders of magnitude, percentages do not."""
    if not metric.higher_is_better:
        axes.set_yscale("log")


if __name__ == "__main__":
    main()
