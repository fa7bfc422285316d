"""What reading one hostile Verilog file costs; test_circuits_verilog.py runs this as a process.

A process of its own, because the largest memory of child processes counts all that it ever had.
"""

import json
import resource
import sys
import time

from axopt.circuits.formats import yosys
from axopt.errors import LutFormatError
from axopt.multipliers import IMPORTERS, read_tables


def measured(file):
    """The error, processor seconds with children, and memory in KB: of a child, own growth."""
    IMPORTERS["verilog"]  # its modules are not counted
    own = resource.getrusage(resource.RUSAGE_SELF)
    start = time.process_time()
    try:
        read_tables(file)
        error = None
    except LutFormatError as raised:
        error = str(raised)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "error": error,
        "seconds": time.process_time() - start + children.ru_utime + children.ru_stime,
        "child_kb": children.ru_maxrss,
        "grown_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - own.ru_maxrss,
    }


if __name__ == "__main__":
    yosys.SECONDS = int(sys.argv[2])
    print(json.dumps(measured(sys.argv[1])))
