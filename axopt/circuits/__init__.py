"""Circuits of multipliers: gate lists, where they come from, and what follows from them."""

from axopt.circuits.builder import ONE, ZERO, NetlistBuilder, without_unused_gates
from axopt.circuits.netlist import ARITY, Gate, Netlist
from axopt.circuits.storage import load_netlists, read_netlists, save_netlists

__all__ = [
    "ARITY",
    "ONE",
    "ZERO",
    "Gate",
    "Netlist",
    "NetlistBuilder",
    "load_netlists",
    "read_netlists",
    "save_netlists",
    "without_unused_gates",
]
