"""A search in a process of its own, to be killed: STORE LOG ALGORITHM BUDGET SECONDS.

LOG gets a line "evaluate GENES" when an evaluation starts, "done GENES" when it is committed.
"""

import os
import sys
import time

from axopt.exploration import Outcome, Store, create_algorithm, run_search
from axopt.exploration.testing import TinyProblem

IDENTITY = {"model": "tiny", "seed": 0}
SEEDS = [(choice,) * 4 for choice in range(4)]


class LoggedProblem(TinyProblem):
    def __init__(self, log: str, seconds: float) -> None:
        super().__init__()
        self._descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._seconds = seconds

    def log(self, event: str, genes: tuple[int, ...]) -> None:
        os.write(self._descriptor, f"{event} {genes}\n".encode())

    def evaluate(self, genes: tuple[int, ...]) -> Outcome:
        self.log("evaluate", genes)
        time.sleep(self._seconds)
        return super().evaluate(genes)


def search(store: Store, problem: LoggedProblem, algorithm: str, budget: int):
    return run_search(
        problem,
        create_algorithm(algorithm, problem.space, n_objectives=2, seed=0, population=8),
        store,
        budget=budget,
        seeds=SEEDS,
        on_trial=lambda trial: problem.log("done", trial.genes),
    )


if __name__ == "__main__":
    path, log, algorithm, budget, seconds = sys.argv[1:]
    with Store.open(path, IDENTITY, resume=True) as store:
        search(store, LoggedProblem(log, float(seconds)), algorithm, int(budget))
