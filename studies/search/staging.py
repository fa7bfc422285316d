r"""How much work staging and reuse save in searches on ResNet-8, and what the fronts lose.

    python -m studies.search.staging --data imagefolder:PATH/cifar10-jpeg.zip

Run it from the repository root. A search runs twice on the multipliers of `studies.truth`: with
evaluations in parts, results of layers shared, and without either. The unit of work is the
sample-layer: one sample through one emulated layer. Fronts are compared by the hypervolume up to
the corner of `CORNER`; those of staged searches hold complete evaluations only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import axopt
from axopt.exploration import (
    Store,
    create_algorithm,
    hypervolume,
    list_algorithms,
    non_dominated,
    run_search,
)
from axopt.problem import AssignmentProblem, options_of
from studies.truth.measure import CALIBRATION_SAMPLES, MODEL, MULTIPLIERS

FILE = Path(__file__).parent / "results" / "staging.csv"
CORNER = (0.17, 1.0)


def main() -> None:
    args = _arguments()
    torch.set_num_threads(1)
    data = axopt.load_data(args.data)
    samples = data.train.take(CALIBRATION_SAMPLES).batches(64)
    emulated = axopt.prepare(axopt.create_model(MODEL), samples)
    validation = data.validation.take(args.validation_samples)
    rows = []
    for algorithm in args.algorithms:
        for seed in range(args.seeds):
            made = [
                AssignmentProblem(
                    emulated,
                    validation,
                    options_of(MULTIPLIERS, False),
                    correct=False,
                    staged=saving,
                    reuse_mb=1024 if saving else 0,
                )
                for saving in (True, False)
            ]
            rows.append({"algorithm": algorithm, "seed": seed, "budget": args.budget})
            for name, problem in zip(("saving", "full"), made, strict=True):
                rows[-1] |= {
                    f"{name}_{k}": v for k, v in searched(problem, args, rows[-1]).items()
                }
            rows[-1]["factor"] = rows[-1]["full_work"] / rows[-1]["saving_work"]
            print(rows[-1], flush=True)
            pd.DataFrame(rows).to_csv(FILE, index=False, float_format="%.6g")


def searched(
    problem: AssignmentProblem, args: argparse.Namespace, row: dict[str, Any]
) -> dict[str, float]:
    """Search and return the work in sample-layers, the hypervolume and the size of the front."""
    search = create_algorithm(
        row["algorithm"], problem.space, n_objectives=2, seed=row["seed"], population=20
    )
    found = run_search(
        problem, search, Store.in_memory(), budget=args.budget, seeds=problem.uniform()
    )
    complete = [trial for trial in found.trials if trial.fidelity == 1]
    objectives = np.array([trial.objectives for trial in complete])
    return {
        "trials": len(found.trials),
        "complete": len(complete),
        "work": problem.work.computed,
        "hypervolume": hypervolume(objectives, CORNER),
        "front": int(non_dominated(objectives).sum()),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument(
        "--algorithms", nargs="+", default=["nsga2", "auto"], choices=list_algorithms()
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--budget", type=int, default=150)
    parser.add_argument("--validation-samples", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
