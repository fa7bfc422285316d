r"""Compare search algorithms on the table of all assignments of ResNet-8.

    python -m studies.truth.compare
    python -m studies.truth.compare --only auto nsga2 --runs 3

Run it from the repository root. Evaluations are looked up in ``results/resnet8.npz``, so 10
searches of an algorithm take seconds. As in `axopt.search`, a search begins with the uniform
assignments, unless the algorithm uses sensitivities or the seeds come from them. Sensitivities are
the divergences of the assignments that change one layer of the exact network, on 128 of the 500
samples. A search that uses them pays 24 x 128 / 500 evaluations.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from axopt.exploration import (
    ALGORITHMS,
    Genes,
    Known,
    Outcome,
    SearchSpace,
    hypervolume,
    list_algorithms,
    non_dominated,
    seed_points,
)
from axopt.files import write_text_atomically
from studies.histories import Floats, Run, hypervolumes, line_style, reached_at, searched
from studies.tables import markdown

RESULTS = Path(__file__).parent / "results"
CORNER_DROP_PP = 5.0
"""Drop of top-1 that nobody accepts: its divergence is the corner of the hypervolume."""

SHARES = (0.99, 0.999)
BUDGETS = (20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000)
SEEDS = 20
"""Points of the front that sensitivities predict, for algorithms that do not use them."""

SLOW = {"tpe": 1000, "optuna-nsga2": 1500, "gp": 100}
"""Largest budgets of algorithms whose own work takes most of the time."""
SLOW_RUNS = {"gp": 3}
LEFT_OUT = ("exhaustive",)
KEPT = ("evaluations", "seconds", *(f"to_{share}" for share in SHARES))


def main() -> None:
    args = _arguments()
    truth = Truth.load(RESULTS / "resnet8.npz")
    write_front(truth, RESULTS / "front.csv")
    plot_front(truth, RESULTS / "front.png")
    file = RESULTS / "compare.csv"
    known = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["algorithm"])
    for name in args.only or list_algorithms():
        if name in LEFT_OUT or (not args.only and name in set(known["algorithm"])):
            continue
        known = known[~known["algorithm"].isin({name, f"{name}, seeded"})]
        for row in compared(truth, name, args.runs, args.budget):
            known = pd.concat([known, pd.DataFrame([row])], ignore_index=True)
            known.sort_values(["algorithm", "seed"]).to_csv(file, index=False, float_format="%.6g")
    write_text_atomically(RESULTS / "compare.md", summary(truth, known) + "\n")
    plot_histories(known, RESULTS / "compare.png")


@dataclass(frozen=True)
class Truth:
    """Every assignment of the problem, with its objectives.

    Attributes:
        kl: ``(4,) * 8`` divergence on 500 samples.
        kl_few: The same on 128 samples.
        correct: ``(4,) * 8`` samples with the right class.
        rel_power: ``(8, 4)`` what an option adds to the relative power.
        settings: See `studies.truth.measure.save`.
    """

    kl: Floats
    kl_few: Floats
    correct: np.ndarray[Any, Any]
    rel_power: Floats
    settings: dict[str, Any]

    @classmethod
    def load(cls, file: Path) -> Truth:
        with np.load(file) as arrays:
            return cls(
                arrays["kl500"].astype(np.float64),
                arrays["kl128"].astype(np.float64),
                arrays["correct"].astype(np.int64),
                arrays["rel_power"],
                json.loads(str(arrays["settings"])),
            )

    @property
    def power(self) -> Floats:
        """``(4,) * 8`` relative power."""
        genes = np.indices(self.kl.shape)
        return sum(of_layer[g] for of_layer, g in zip(self.rel_power, genes, strict=True))

    @property
    def drop_pp(self) -> Floats:
        """``(4,) * 8`` drop of top-1 against the exact network."""
        samples = self.settings["validation samples"]
        return 100 * (self.correct.flat[0] - self.correct) / samples

    @property
    def corner(self) -> tuple[float, float]:
        """The median divergence of assignments at `CORNER_DROP_PP`, and the power of exact."""
        near = np.abs(self.drop_pp - CORNER_DROP_PP) <= 0.2
        return round(float(np.median(self.kl[near])), 3), 1.0

    def front(self) -> tuple[np.ndarray[Any, Any], Floats]:
        """Return genes ``(n, 8)`` and objectives ``(n, 2)`` of the front by rising power."""
        objectives = np.stack([self.kl.ravel(), self.power.ravel()], 1)
        kept = np.flatnonzero(non_dominated(objectives))
        kept = kept[np.argsort(objectives[kept, 1])]
        return np.stack(np.unravel_index(kept, self.kl.shape), 1), objectives[kept]

    def sensitivities(self) -> Floats:
        """Return ``(8, 4)`` divergences of one changed layer, the others exact; few samples."""
        found = np.zeros(self.rel_power.shape)
        for layer, option in np.ndindex(*found.shape):
            genes = np.zeros(len(found), int)
            genes[layer] = option
            found[layer, option] = self.kl_few[tuple(genes)]
        return found

    @property
    def sensitivity_cost(self) -> float:
        """Evaluations that sensitivities cost: one change at a time, on few samples."""
        layers, options = self.rel_power.shape
        share = self.settings["few"] / self.settings["validation samples"]
        return layers * (options - 1) * share


class LookUp:
    """The search problem: divergence and relative power, looked up.

    Args:
        truth: All assignments.
        sensitivities: Whether the space knows the sensitivities.
    """

    objective_names = ("divergence", "rel_power")

    def __init__(self, truth: Truth, *, sensitivities: bool) -> None:
        layers, options = truth.rel_power.shape
        known = [Known(1, _tuples(truth.rel_power), exact=True)]
        if sensitivities:
            known.insert(0, Known(0, _tuples(truth.sensitivities()), exact=False))
        self.space = SearchSpace(
            tuple(truth.settings["layers"]),
            (options,) * layers,
            tuple(known),
            kinds=(tuple(range(options)),) * layers,
            limits=truth.corner,
        )
        self._kl, self._power = truth.kl, truth.power

    def evaluate(self, genes: Genes) -> Outcome:
        """Return the objectives of one assignment."""
        return Outcome((float(self._kl[genes]), float(self._power[genes])))


def _tuples(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))


def compared(truth: Truth, name: str, runs: int, budget: int) -> Iterator[dict[str, Any]]:
    """Search with one algorithm, with and without seeds from sensitivities; a row a search."""
    budget = min(budget, SLOW.get(name, budget))
    target = hypervolume(truth.front()[1], truth.corner)
    uses = ALGORITHMS[name].uses_sensitivities
    for seeded in (False,) if uses or name == "random" else (False, True):
        informed = seeded or uses
        problem = LookUp(truth, sensitivities=informed)
        layers, options = truth.rel_power.shape
        seeds = [] if informed else [(option,) * layers for option in range(options)]
        if seeded:
            seeds = seed_points(problem.space, SEEDS)
        before = truth.sensitivity_cost if informed else 0.0
        for seed in range(min(runs, SLOW_RUNS.get(name, runs))):
            run = searched(problem, name, seed=seed, budget=int(budget - before), seeds=seeds)
            volumes = hypervolumes(run.objectives, truth.corner)
            label = f"{name}, seeded" if seeded else name
            row = row_of(label, seed, run, volumes, target, before)
            print(label, seed, {key: row[key] for key in KEPT}, flush=True)
            yield row


def row_of(
    label: str, seed: int, run: Run, volumes: Floats, target: float, before: float
) -> dict[str, Any]:
    """Return what is kept of one search."""
    at = {}
    for budget in BUDGETS:
        spent = int(budget - before)
        ended = run.stop_reason != "budget"
        if spent <= len(volumes) or ended:
            at[f"hv_{budget}"] = 100 * volumes[min(spent, len(volumes)) - 1] / target
    reached = {f"to_{share}": reached_at(volumes, share, target, before) for share in SHARES}
    return {
        "algorithm": label,
        "seed": seed,
        "evaluations": len(volumes) + before,
        "seconds": round(run.seconds, 2),
        "stop_reason": run.stop_reason,
        **reached,
        **at,
    }


def write_front(truth: Truth, file: Path) -> None:
    genes, objectives = truth.front()
    rows = [
        {
            "rel_power": power,
            "kl": kl,
            "drop_pp": truth.drop_pp[tuple(point)],
            "genes": "".join(map(str, point)),
        }
        for point, (kl, power) in zip(genes, objectives, strict=True)
    ]
    pd.DataFrame(rows).to_csv(file, index=False, float_format="%.6g")


def summary(truth: Truth, rows: pd.DataFrame) -> str:
    """Return a table with one row an algorithm: evaluations to the shares, volumes at budgets."""
    shown = (50, 100, 200, 500, 1000, 3000)
    header = (
        "algorithm",
        *(f"evaluations to {100 * share:g} %" for share in SHARES),
        *(f"% at {budget}" for budget in shown),
        "searches",
    )
    order = rows.groupby("algorithm")[f"to_{SHARES[0]}"].median()
    volumes = rows.groupby("algorithm")["hv_100"].median()
    body = []
    for name in sorted(order.index, key=lambda n: (order[n], -volumes[n])):
        of_name = rows[rows["algorithm"] == name]
        cap = of_name["evaluations"].max()
        cells = [_range(of_name[f"to_{share}"], cap) for share in SHARES]
        at = [of_name[f"hv_{budget}"].median() for budget in shown]
        cells += ["-" if pd.isna(value) else f"{value:.2f}" for value in at]
        body.append((name, *cells, str(len(of_name))))
    corner = f"{truth.corner[0]:g}, {truth.corner[1]:g}"
    return f"Reference point (divergence, power): {corner}.\n\n{markdown(header, body)}"


def _range(values: pd.Series[float], cap: float) -> str:
    """Return median and range of numbers of evaluations; those not reached are above the cap."""

    def text(value: float) -> str:
        return f"> {cap:,.0f}" if np.isinf(value) else f"{np.ceil(value):,.0f}"

    middle, low, high = float(np.median(values)), values.min(), values.max()
    if np.isinf(low):
        return text(low)
    return f"{text(middle)} ({text(low)} - {text(high)})"


def plot_front(truth: Truth, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    axes.plot(truth.power.ravel(), truth.kl.ravel(), ",", color="0.75", rasterized=True)
    axes.plot(*truth.front()[1][:, ::-1].T, "C0.-", linewidth=1, label="true front")
    uniform = [(option,) * len(truth.rel_power) for option in range(truth.rel_power.shape[1])]
    points = np.array([(truth.power[genes], truth.kl[genes]) for genes in uniform[1:]])
    axes.plot(*points.T, "ks", label="one multiplier in all layers")
    axes.axhline(truth.corner[0], color="C3", linewidth=0.8, label="reference point")
    axes.set(yscale="log", ylim=(1e-4, 5), xlabel="relative power", ylabel="divergence (nats)")
    axes.legend(loc="lower left")
    figure.savefig(file, dpi=130)
    plt.close(figure)


def plot_histories(rows: pd.DataFrame, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    medians = rows.groupby("algorithm")[[f"hv_{budget}" for budget in BUDGETS]].median()
    for name, at in medians.iterrows():
        style = line_style(str(name), medians.index)
        lacking = np.maximum(100 - at.to_numpy(), 1e-3)
        axes.plot(BUDGETS, lacking, marker=".", label=name, **style)
    for share in SHARES:
        axes.axhline(100 * (1 - share), color="0.6", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="evaluations, sensitivities included")
    axes.set_ylabel("hypervolume that is missing (% of the true one)")
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="algorithms to run again; others are kept")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--budget", type=int, default=BUDGETS[-1])
    return parser.parse_args(given)


if __name__ == "__main__":
    main()
