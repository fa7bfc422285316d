"""What reading hostile files costs; test_data_budgets.py runs this in a process of its own."""

import json
import sys
import threading
import time
from pathlib import Path

import axopt
from axopt.errors import AxoptError
from axopt.multipliers import import_multiplier
from axopt.zoo import load_weights_

CALLS = {
    "data": axopt.load_data,
    "library": lambda path: list(axopt.load_library(path).values()),
    "table": lambda path: import_multiplier(path, signed=True, power_mw=1, area_um2=1, delay_ns=1),
    "weights": lambda path: load_weights_(axopt.create_model("digits_cnn"), path),
    "assignment": axopt.Assignment.load,
}


def resident_mb():
    """Memory of this process that is resident now."""
    status = Path("/proc/self/statm").read_text().split()
    return int(status[1]) * 4096 / 2**20


def cost_of(kind, argument):
    """Outcome, seconds and the highest memory above that before, sampled every 2 ms."""
    before = highest = resident_mb()
    done = threading.Event()

    def watch():
        nonlocal highest
        while not done.wait(0.002):
            highest = max(highest, resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.monotonic()
    try:
        CALLS[kind](argument)
        outcome = "read"
    except (AxoptError, OSError) as error:
        outcome = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - start
    done.set()
    watcher.join()
    return {"outcome": outcome, "seconds": seconds, "mb": highest - before}


if __name__ == "__main__":
    axopt.create_model("digits_cnn")  # imports are not counted
    cases = json.loads(sys.argv[1])
    for name, case in cases.items():
        print(json.dumps([name, cost_of(*case)]), flush=True)
