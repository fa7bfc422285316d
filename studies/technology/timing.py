"""Delays, transition times and energies of a mapped multiplier from the tables of its cells."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import mean

from studies.technology.liberty import EDGES, Technology
from studies.technology.mapping import Instance, Mapped

PORT_PF = 0.0088
"""Load of the product's bits: the input of the flip-flop DFFPOSX1. Equal bits share one."""

PORT_TRANSITION_NS = 0.1
"""Transition time of the operands' bits."""

EVENT_OUTPUT = "YS"
"""The output at which the internal energy of an adder cell is counted.

The tables of its carry output repeat the energies of the same events: whenever the carry of FAX1
or HAX1 changes because one input does, the sum changes too.
"""


@dataclass(frozen=True)
class Timing:
    """Timing and energies of a mapped multiplier; wires have no capacitance.

    Attributes:
        delay_ns: Longest path from an operand to the product, 0 without cells.
        cell_delays: Mean delay in ns of each output: over input pins and edges, at the load and
            the transition times of its place, by net.
        energies: Energy in pJ of one change of a net that a cell drives, by net.
    """

    delay_ns: float
    cell_delays: dict[int, float]
    energies: dict[int, float]


def timing(mapped: Mapped, technology: Technology) -> Timing:
    """Propagate arrival and transition times through the cells, the later and slower ones win.

    The energy of a change is ``internal + load * voltage**2 / 2``. The internal energy is the
    mean of the cell's tables over input pins and edges, at the load and the mean transition time.
    """
    loads = _loads(mapped)
    arrivals: dict[tuple[int, str], float] = defaultdict(float)
    transitions: dict[tuple[int, str], float] = defaultdict(lambda: PORT_TRANSITION_NS)
    delays, energies = {}, {}
    for instance in mapped.instances:
        slow = mean(transitions[net, e] for net in instance.inputs.values() for e in EDGES)
        for pin, net in instance.outputs.items():
            load, output = loads[net], instance.cell.outputs[pin]
            delays[net] = _propagate(instance, pin, load, arrivals, transitions)
            internal = 0.0
            if len(instance.cell.outputs) == 1 or pin == EVENT_OUTPUT:
                internal = mean(table.at(load, slow) for table in output.energies)
            energies[net] = internal + load * technology.voltage**2 / 2
    delay = max(arrivals[net, edge] for net in mapped.product for edge in EDGES)
    return Timing(delay, delays, energies)


def _loads(mapped: Mapped) -> dict[int, float]:
    loads: dict[int, float] = defaultdict(float)
    for net in set(mapped.product):
        loads[net] += PORT_PF
    for instance in mapped.instances:
        for pin, net in instance.inputs.items():
            loads[net] += instance.cell.capacitances[pin]
    return loads


def _propagate(
    instance: Instance,
    pin: str,
    load: float,
    arrivals: dict[tuple[int, str], float],
    transitions: dict[tuple[int, str], float],
) -> float:
    """Set the latest arrival and the slowest transition of an output; return its mean delay."""
    net = instance.nets[pin]
    latest: dict[str, float] = dict.fromkeys(EDGES, 0.0)
    slowest: dict[str, float] = dict.fromkeys(EDGES, 0.0)
    delays = []
    for arc in instance.cell.outputs[pin].arcs:
        source = instance.nets[arc.pin]
        for edge in arc.inputs:
            delay = arc.delay.at(load, transitions[source, edge])
            delays.append(delay)
            latest[arc.edge] = max(latest[arc.edge], arrivals[source, edge] + delay)
            slow = arc.transition.at(load, transitions[source, edge])
            slowest[arc.edge] = max(slowest[arc.edge], slow)
    for edge in EDGES:
        arrivals[net, edge], transitions[net, edge] = latest[edge], slowest[edge]
    return mean(delays)
