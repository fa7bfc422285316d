r"""Search with one algorithm on a CIFAR-10 network and measure its fronts on the test split.

    python -m studies.search.measure resnet20 --data imagefolder:PATH/cifar10-jpeg.zip \
        --algorithm auto nsga2 --seeds 0 1 2 --budget 500

Run it from the repository root. Every search has a run folder of `axopt.search` in
``runs/search/MODEL/ALGORITHM-SEED`` and is resumed if it was interrupted. The fronts after 60,
100, 200 and 500 evaluations are measured on the test split: of each, points that are evenly spaced
in power and whose divergence is of interest. A point is measured once for all searches of a
network.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import axopt
from axopt.data import Dataset
from axopt.evaluation import measure, paired_drop
from axopt.exploration import Genes, State, non_dominated
from axopt.model import EmulatedModel
from axopt.multipliers import MultiplierLibrary
from axopt.problem import AssignmentProblem, options_of

CALIBRATION_SAMPLES = 512
CHECKPOINTS = (60, 100, 200, 500)
INTEREST = (0.003, 0.17)
"""Divergences whose drops of top-1 are about 0.1 and 5 pp."""


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    data = axopt.load_data(args.data)
    emulated = axopt.prepare(
        axopt.create_model(args.model), data.train.take(CALIBRATION_SAMPLES).batches(64)
    )
    library = axopt.load_library().select(signed=not args.unsigned, release="v1")
    problem = AssignmentProblem(
        emulated,
        data.validation.take(args.validation_samples),
        options_of(library, False),
        max_multipliers=args.max_multipliers,
    )
    unsigned, most = "-unsigned" if args.unsigned else "", args.max_multipliers or ""
    root = args.runs / f"{args.model}{unsigned}{most}"
    root.mkdir(parents=True, exist_ok=True)
    tested = Tested(problem, data, root / "test.jsonl", args.test_samples)
    for seed in args.seeds:
        for algorithm in args.algorithm:
            settings = {
                "algorithm": algorithm,
                "seed": seed,
                "seeds": "sensitivity" if args.seeded else None,
                "budget": args.budget,
                "validation_samples": args.validation_samples,
                "test_samples": 100,
                "objective": "divergence",
                "max_multipliers": args.max_multipliers,
            }
            folder = root / f"{algorithm}{'-seeded' if args.seeded else ''}-{seed}"
            before, rows = search(emulated, data, library, settings, folder)
            if args.test_samples:
                measure_fronts(tested, rows, before, args.points)


def search(
    emulated: EmulatedModel,
    data: Dataset,
    library: MultiplierLibrary,
    settings: dict[str, Any],
    folder: Path,
) -> tuple[float, list[dict[str, Any]]]:
    """Search, or read a finished search; return the cost of sensitivities and a row a trial.

    `axopt.search` measures its front on 100 test samples only: `measure_fronts` does more.
    """
    file = folder / "trials.jsonl"
    if file.exists():
        lines = file.read_text().splitlines()
        head, *rows = map(json.loads, lines)
        if head["settings"] == settings and all("complete" in row for row in rows):
            return head["spent before"], rows
    start = time.perf_counter()
    result = axopt.search(
        emulated, data, library=library, **settings, out=folder, resume=folder.exists()
    )
    rows = [
        {
            "genes": trial.genes,
            "complete": trial.state is State.COMPLETE,
            "fidelity": trial.fidelity,
            "divergence": trial.objectives[0] if trial.objectives else None,
            "rel_power": trial.objectives[1] if trial.objectives else None,
            "seconds": round(trial.seconds, 3),
        }
        for trial in result.outcome.trials
    ]
    found = result.sensitivities
    before = (
        0.0
        if found is None
        else found.evaluations * found.samples / settings["validation_samples"]
    )
    head = {"settings": settings, "spent before": before}
    file.write_text("".join(json.dumps(row) + "\n" for row in (head, *rows)))
    seconds = time.perf_counter() - start
    print(f"{folder}: {len(rows)} trials in {seconds:.0f} s", flush=True)
    return before, rows


class Tested:
    """Points measured on the test split, kept in a file.

    Args:
        problem: Turns genes into candidates.
        data: Its test split is measured on.
        file: One line a point.
        samples: Test samples.
    """

    def __init__(
        self, problem: AssignmentProblem, data: Dataset, file: Path, samples: int
    ) -> None:
        self.problem, self.file = problem, file
        self.split = data.test.take(samples) if samples else data.test
        self.baseline: torch.Tensor | None = None
        lines = file.read_text().splitlines() if file.exists() else []
        self.known = {tuple(row["genes"]): row for row in map(json.loads, lines)}

    def measure(self, genes: Genes) -> None:
        """Measure a point unless it is known."""
        if genes in self.known:
            return
        problem = self.problem
        if self.baseline is None:
            problem.exact(treated=True).apply_(problem.emulated)
            _, self.baseline = measure(problem.emulated, self.split)
        candidate = problem.candidate(genes)
        candidate.apply_(problem.emulated)
        quality, samples = measure(problem.emulated, self.split)
        drop = paired_drop("top1", samples, self.baseline)
        row = {
            "genes": genes,
            "rel_power": axopt.cost(problem.emulated, reference=problem.reference).rel_power,
            "n": len(self.split),
            "top1_pct": quality.value,
            "drop_pp": drop.value,
            "drop_low": drop.low,
            "drop_high": drop.high,
        }
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.known[genes] = row


def measure_fronts(
    tested: Tested, rows: Sequence[dict[str, Any]], before: float, points: int
) -> None:
    """Measure points of the fronts after `CHECKPOINTS` evaluations on the test split."""
    for checkpoint in CHECKPOINTS:
        for row in front_of(rows[: int(checkpoint - before)], points):
            tested.measure(tuple(row["genes"]))


def front_of(rows: Sequence[dict[str, Any]], points: int) -> list[dict[str, Any]]:
    """Return the non-dominated complete rows of interest, evenly spaced, by rising power."""
    rows = [row for row in rows if row["complete"]]
    if not rows:
        return []
    kept = non_dominated([(row["divergence"], row["rel_power"]) for row in rows])
    front = [row for row, keep in zip(rows, kept, strict=True) if keep]
    front = [row for row in front if INTEREST[0] <= row["divergence"] <= INTEREST[1]]
    front.sort(key=lambda row: row["rel_power"])
    if len(front) <= points:
        return front
    return [front[i] for i in np.linspace(0, len(front) - 1, points).round().astype(int)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument("--algorithm", nargs="+", default=["auto"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seeded", action="store_true", help="begin with what is predicted")
    parser.add_argument("--unsigned", action="store_true", help="the unsigned multipliers")
    parser.add_argument("--max-multipliers", type=int, help="most distinct ones of an assignment")
    parser.add_argument("--budget", type=int, default=CHECKPOINTS[-1])
    parser.add_argument("--validation-samples", type=int, default=1000)
    parser.add_argument("--test-samples", type=int, default=10_000, help="0: none")
    parser.add_argument("--points", type=int, default=12, help="points of a front on test")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/search"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
