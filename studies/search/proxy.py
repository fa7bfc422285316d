r"""Compare search algorithms on a made-up network of 49 layers with 36 multipliers.

    python -m studies.search.proxy
    python -m studies.search.proxy --only auto nsga2 --seeds 1

Run it from the repository root. `studies/search/network.py` defines the problem. As in
`axopt.search`, a search begins with the uniform assignments, unless the algorithm uses
sensitivities or the seeds come from them. Divergences are measured with noise; the hypervolume is
that of the divergences without noise of the points that look best with noise. 100 % is the front
of the network without noise, found by a dynamic programme that knows everything.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from axopt.exploration import (
    ALGORITHMS,
    additive_front,
    hypervolume,
    list_algorithms,
    non_dominated,
    seed_points,
)
from axopt.files import write_text_atomically
from studies.histories import Run, line_style, searched
from studies.search.network import NOISE, Network, ProxyProblem, multipliers
from studies.tables import markdown

RESULTS = Path(__file__).parent / "results"
CORNER = (0.17, 1.0)
"""Divergence at a drop of about 5 pp on ResNet-20, and the power of the exact network."""

BUDGETS = (100, 150, 200, 300, 500, 750, 1000, 1500)
FEW, SAMPLES = 128, 1000
SEEDS = 20
"""Points of the front that sensitivities predict, for algorithms that do not use them."""

LARGEST_BUDGET = {"auto": 500, "additive": 500, "gp": 0, "tpe": 1500}
LEFT_OUT = ("exhaustive",)


def main() -> None:
    args = _arguments()
    setting = Setting()
    file = RESULTS / "proxy.csv"
    known = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["algorithm"])
    for name in args.only or list_algorithms():
        budget = min(args.budget, LARGEST_BUDGET.get(name, args.budget))
        done = not args.only and name in set(known["algorithm"])
        if name in LEFT_OUT or budget == 0 or done:
            continue
        known = known[~known["algorithm"].isin({name, f"{name}, seeded"})]
        for row in compared(setting, name, args.seeds, budget):
            known = pd.concat([known, pd.DataFrame([row])], ignore_index=True)
            known.sort_values(["algorithm", "seed"]).to_csv(file, index=False, float_format="%.6g")
    text = f"{likeness(setting)}\n\n{summary(known)}\n"
    write_text_atomically(RESULTS / "proxy.md", text)
    plot(known, RESULTS / "proxy.png")


class Setting:
    """The made-up network, its multipliers and its true front."""

    def __init__(self) -> None:
        self.options = multipliers()
        self.exact = next(i for i, option in enumerate(self.options) if option.is_exact)
        self.network = Network.made(self.options)
        self.uniform = [(i,) * len(self.network.power) for i in range(len(self.options))]
        self.target = hypervolume(np.array(true_front(self.network)), CORNER)
        layers, options = self.network.power.shape
        self.sensitivity_cost = layers * (options - 1) * FEW / SAMPLES / 2
        """Evaluations: one change at a time on few samples, half of the layers reused."""

    def problem(self, *, sensitivities: bool) -> ProxyProblem:
        return ProxyProblem(self.network, self.exact, sensitivities=sensitivities, corner=CORNER)

    def volume(self, run: Run, budget: int) -> float:
        """Return the percentage of the true hypervolume after some evaluations."""
        objectives = run.objectives[:budget]
        front = np.flatnonzero(non_dominated(objectives))
        points = [(self.network.divergence(run.genes[i]), objectives[i, 1]) for i in front]
        return 100 * hypervolume(np.array(points), CORNER) / self.target


def true_front(network: Network, bins: int = 2048) -> list[tuple[float, float]]:
    """Return divergence and power of the front without noise, by a programme along the chain.

    The noise of an assignment is a sum over layers and pairs of neighbours, and the divergence
    rises with it. The state is the option of the last layer and the power so far, in ``bins``
    levels.
    """
    layers, options = network.power.shape
    unit = network.power.max(1).sum() / bins
    steps = np.rint(network.power / unit).astype(int)
    best = np.full((options, bins + layers + 1), np.inf)
    best[np.arange(options), steps[0]] = network.strengths[0]
    origins = []
    for layer in range(1, layers):
        amplitudes = np.sqrt(network.strengths[layer - 1 : layer + 1])
        pairs = network.correlations[layer - 1] * amplitudes[0][:, None] * amplitudes[1]
        following = np.full_like(best, np.inf)
        origin = np.zeros(best.shape, np.uint8)
        for option, step in enumerate(steps[layer]):
            reached = best + pairs[:, option, None]
            width = best.shape[1] - step
            origin[option, step:] = reached.argmin(0)[:width]
            following[option, step:] = reached.min(0)[:width] + network.strengths[layer, option]
        best = following
        origins.append(origin)
    front = []
    for level in np.flatnonzero(np.isfinite(best.min(0))):
        option, at = int(best[:, level].argmin()), int(level)
        genes = [option]
        for layer in range(layers - 1, 0, -1):
            previous = int(origins[layer - 1][option, at])
            at -= steps[layer, option]
            option = previous
            genes.insert(0, option)
        power = float(network.power[np.arange(layers), genes].sum())
        front.append((network.divergence(tuple(genes)), power))
    return front


def compared(setting: Setting, name: str, n_seeds: int, budget: int) -> Iterator[dict[str, Any]]:
    """Search with one algorithm, with and without seeds from sensitivities; a row a search."""
    uses = ALGORITHMS[name].uses_sensitivities
    for seeded in (False,) if uses or name == "random" else (False, True):
        informed = seeded or uses
        problem = setting.problem(sensitivities=informed)
        before = setting.sensitivity_cost if informed else 0.0
        seeds = [] if informed else setting.uniform
        if seeded:
            seeds = seed_points(problem.space, SEEDS)
        for seed in range(n_seeds):
            run = searched(problem, name, seed=seed, budget=int(budget - before), seeds=seeds)
            at = {
                f"hv_{b}": setting.volume(run, int(b - before))
                for b in BUDGETS
                if int(b - before) > 0 and (b <= budget or run.stop_reason != "budget")
            }
            row = {
                "algorithm": f"{name}, seeded" if seeded else name,
                "seed": seed,
                "evaluations": len(run.genes) + before,
                "seconds": round(run.seconds, 1),
                "stop_reason": run.stop_reason,
                **at,
            }
            print({key: str(value)[:6] for key, value in row.items()}, flush=True)
            yield row


def likeness(setting: Setting) -> str:
    """Return the figures of the made-up network that real ones are compared by."""
    network = setting.network
    sensitivities = network.sensitivities(setting.exact)
    layers = np.arange(len(sensitivities))
    front = additive_front(list(sensitivities), list(network.power))
    inside = [point for point in front if 1e-3 <= point.error <= CORNER[0]]
    points = [inside[i] for i in np.linspace(0, len(inside) - 1, 100).astype(int)]
    added = np.array([sensitivities[layers, list(p.genes)].sum() for p in points])
    found = np.array([network.measured(p.genes, NOISE) for p in points])
    low, middle, high = np.quantile(found / added, (0.1, 0.5, 0.9))
    return (
        f"Measured over added divergence of 100 points of the sensitivities' front: median "
        f"{middle:.2f}, 10 - 90 % {low:.2f} .. {high:.2f}, rank correlation "
        f"{spearmanr(added, found)[0]:.4f}."
    )


def summary(rows: pd.DataFrame) -> str:
    """Return a table with one row an algorithm: mean and range of volumes at budgets."""
    shown = (150, 200, 300, 500, 1000, 1500)
    rows = with_all_budgets(rows)
    header = ("algorithm", *(f"{budget}" for budget in shown), "searches", "seconds a search")
    order = rows.groupby("algorithm")["hv_300"].mean().sort_values(ascending=False)
    body = []
    for name in order.index:
        of_name = rows[rows["algorithm"] == name]
        cells = [_range(of_name[f"hv_{budget}"]) for budget in shown]
        body.append((name, *cells, str(len(of_name)), f"{of_name['seconds'].mean():.1f}"))
    return markdown(header, body)


def with_all_budgets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a column for every budget."""
    return rows.reindex(columns=list(dict.fromkeys([*rows, *(f"hv_{b}" for b in BUDGETS)])))


def _range(values: pd.Series[float]) -> str:
    if values.isna().any():
        return "-"
    return f"{values.mean():.1f} ({values.min():.1f} - {values.max():.1f})"


def plot(rows: pd.DataFrame, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    means = (
        with_all_budgets(rows).groupby("algorithm")[[f"hv_{budget}" for budget in BUDGETS]].mean()
    )
    for name, at in means.iterrows():
        axes.plot(BUDGETS, at, marker=".", label=name, **line_style(str(name), means.index))
    axes.set(xscale="log", xlabel="evaluations, sensitivities included")
    axes.set_ylabel("hypervolume (% of the true front's)")
    axes.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="algorithms to run again; others are kept")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each algorithm")
    parser.add_argument("--budget", type=int, default=BUDGETS[-1])
    return parser.parse_args()


if __name__ == "__main__":
    main()
