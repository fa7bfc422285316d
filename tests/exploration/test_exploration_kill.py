"""kill -9 in the middle of a search, and two searches on one store."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from exploration_child import IDENTITY, LoggedProblem, search

import axopt
from axopt.errors import StoreError
from axopt.exploration import Store
from axopt.exploration.testing import timeless

BUDGET = 60
SECONDS = 0.003


class Run:
    """A run folder and the searches started in it."""

    def __init__(self, folder: Path, algorithm: str) -> None:
        self.store = folder / "study.sqlite"
        self.log = folder / "log"
        self.log.touch()
        self.algorithm = algorithm

    def events(self, kind: str) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [line.removeprefix(f"{kind} ") for line in lines if line.startswith(kind)]

    def start(self, *, seconds: float = SECONDS) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("exploration_child.py")
        arguments = (self.store, self.log, self.algorithm, BUDGET, seconds)
        path = str(Path(axopt.__file__).parents[1])
        return subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path},
        )

    def wait_for(self, done: int, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while len(self.events("done")) < done:
            assert child.poll() is None, "the search ended by itself"
            assert time.monotonic() < deadline, "the search hangs"
            time.sleep(0.001)

    def start_and_kill(self, *, after: int, delay: float) -> None:
        child = self.start()
        try:
            self.wait_for(after, child)
            time.sleep(delay)
        finally:
            child.kill()
            child.wait()

    def finish(self):
        with Store.open(self.store, IDENTITY, resume=True) as store:
            return search(store, LoggedProblem(str(self.log), 0), self.algorithm, BUDGET)


def assert_kills_leave_no_trace(folder: Path, algorithm: str, kills: list[int]) -> None:
    (folder / "whole").mkdir()
    (folder / "killed").mkdir()
    whole = Run(folder / "whole", algorithm).finish()
    killed = Run(folder / "killed", algorithm)
    rng = np.random.default_rng()
    for after in kills:
        delay = float(rng.uniform(0, 2 * SECONDS))
        killed.start_and_kill(after=after, delay=delay)
    finished = killed.finish()
    assert timeless(finished.trials) == timeless(whole.trials)
    assert timeless(finished.front) == timeless(whole.front)
    assert finished.n_evaluated < BUDGET
    acknowledged = set()
    for line in killed.log.read_text().splitlines():
        event, genes = line.split(" ", 1)
        assert genes not in acknowledged, "evaluated again after its commit"
        if event == "done":
            acknowledged.add(genes)
    assert len(killed.events("evaluate")) <= BUDGET + len(kills)  # one cut short by each kill


@pytest.mark.parametrize(("algorithm", "kills"), [("nsga2", [1, 41]), ("tpe", [19])])
def test_killed_search_ends_as_if_never_stopped(algorithm, kills, tmp_path):
    assert_kills_leave_no_trace(tmp_path, algorithm, kills)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["nsga2", "tpe", "optuna-nsga2", "random"])
def test_killed_search_ends_as_if_never_stopped_25_rounds(algorithm, tmp_path):
    for round_ in range(25):
        kills = sorted(np.random.default_rng(round_).integers(1, BUDGET - 5, size=4).tolist())
        (tmp_path / str(round_)).mkdir()
        assert_kills_leave_no_trace(tmp_path / str(round_), algorithm, kills)


def test_second_search_is_refused_until_the_first_is_dead(tmp_path):
    run = Run(tmp_path, "random")
    child = run.start(seconds=0.2)
    try:
        run.wait_for(2, child)
        started = time.monotonic()
        holder = f"process {child.pid} on host '{socket.gethostname()}'"
        with pytest.raises(StoreError, match=holder):
            Store.open(run.store, IDENTITY, resume=True)
        assert time.monotonic() - started < 1
        with Store.open_read_only(run.store) as reader:  # reports may look on
            assert len(reader.trials()) >= 2
    finally:
        child.kill()
        child.wait()
    with Store.open(run.store, IDENTITY, resume=True) as store:
        assert len(store.trials()) >= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "study.sqlite"]
