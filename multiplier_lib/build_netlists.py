"""Rebuild ``evoapprox8b.gates.json.gz`` from the raw gate lists.

    python multiplier_lib/build_netlists.py RAW_DIRECTORY

The raw directory holds ``netlists.json.gz``: a list of objects with ``release``, ``name``,
``bits_a``, ``bits_b``, ``signed``, ``nodes`` and ``outputs``. A node is an operation and the
numbers of earlier nodes; ``in`` names a bit such as ``A3``, ``const`` gives a value. ``order`` is
``table[B][A]`` where the rows of the bundled table are operand B.
"""

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

from axopt.circuits import Gate, Netlist, save_netlists, without_unused_gates
from axopt.circuits.netlist import CONSTANTS

STEM = "evoapprox8b"


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild the bundled gate lists from raw ones.")
    parser.add_argument("raw", type=Path, help="directory of netlists.json.gz")
    raw = parser.parse_args().raw
    circuits = json.loads(gzip.decompress((raw / "netlists.json.gz").read_bytes()))
    netlists = {f"{c['release']}/{c['name']}": _netlist(c) for c in circuits}
    target = Path(__file__).resolve().parent
    save_netlists(target / f"{STEM}.gates.json.gz", netlists)


def _netlist(circuit: dict[str, Any]) -> Netlist:
    first, second = ("B", "A") if circuit.get("order") == "table[B][A]" else ("A", "B")
    bits = {"A": circuit["bits_a"], "B": circuit["bits_b"]}
    offset = {first: CONSTANTS, second: CONSTANTS + bits[first]}
    signals: list[int] = []
    gates: list[Gate] = []
    for op, *arguments in circuit["nodes"]:
        if op == "in":
            operand, bit = arguments[0][0], int(arguments[0][1:])
            signals.append(offset[operand] + bit)
        elif op == "const":
            signals.append(int(arguments[0]))
        else:
            signals.append(CONSTANTS + bits["A"] + bits["B"] + len(gates))
            gates.append(Gate(op, tuple(signals[node] for node in arguments)))
    outputs = tuple(signals[node] for node in circuit["outputs"])
    return without_unused_gates(
        Netlist(bits[first], bits[second], circuit["signed"], tuple(gates), outputs)
    )


if __name__ == "__main__":
    main()
