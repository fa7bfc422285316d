"""The timing model is measured right on machines that do other things meanwhile.

The private `_nanoseconds` is called because the public model is measured once a process.
"""

import time

from axopt.kernels import timing
from axopt.kernels.dispatch import active_index


def test_waiting_for_the_processor_costs_nothing(monkeypatch):
    class Interrupted:
        def run(self, *arguments):
            time.sleep(0.02)

    monkeypatch.setattr(timing, "table_operation", lambda *arguments: Interrupted())
    assert timing._nanoseconds(active_index(), "dense", "rows") < 5e6
