"""Count the changes of nets in a mapped multiplier, with the delays of its cells."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from axopt.circuits.netlist import Words
from axopt.errors import CircuitError
from studies.technology.mapping import Instance, Mapped

TICK_NS = 0.01
"""Unit of simulated time."""


def count_changes(
    mapped: Mapped, delays_ns: Mapping[int, float], before: Words, after: Words
) -> dict[int, int]:
    """Count the changes of every net that a cell drives when the operands change.

    Delays are inertial: an output does not follow a pulse shorter than the delay of its cell.

    Args:
        mapped: The cells.
        delays_ns: Delay of each net that a cell drives.
        before: Settled operand bits, ``(n_bits, n)`` words of 64 evaluations.
        after: The bits they change to, at time 0.

    Returns:
        Number of changes in all evaluations, by net.

    Raises:
        CircuitError: If a net ends in another value than the operands demand.
    """
    simulation = _Simulation(mapped, delays_ns, before)
    simulation.run(dict(zip(mapped.operands, after, strict=True)))
    settled = mapped.values(list(after))
    for net, values in simulation.nets.items():
        if not np.array_equal(values, settled[net]):
            raise CircuitError(f"net {net} does not settle to its value.")
    return simulation.changes


class _Simulation:
    """Values of nets over time; `nets` holds those at the current tick."""

    def __init__(self, mapped: Mapped, delays_ns: Mapping[int, float], before: Words) -> None:
        self.nets = mapped.values(list(before))
        self.changes = {net: 0 for one in mapped.instances for net in one.outputs.values()}
        self._ticks = {net: max(1, round(ns / TICK_NS)) for net, ns in delays_ns.items()}
        self._readers: dict[int, list[int]] = defaultdict(list)
        self._instances = mapped.instances
        for number, instance in enumerate(mapped.instances):
            for net in set(instance.inputs.values()):
                self._readers[net].append(number)
        self._due: dict[int, dict[int, Words]] = defaultdict(dict)  # net -> tick -> evaluations
        self._events: list[tuple[int, int]] = []  # (tick, net), a heap

    def run(self, operands: Mapping[int, Words]) -> None:
        """Set operands at tick 0 and let all nets settle."""
        changed = []
        for net, values in operands.items():
            if not np.array_equal(values, self.nets[net]):
                self.nets[net] = values
                changed.append(net)
        self._evaluate(changed, 0)
        while self._events:
            tick, changed = self._events[0][0], []
            while self._events and self._events[0][0] == tick:
                net = heapq.heappop(self._events)[1]
                flips = self._due[net].pop(tick)
                if flips.any():
                    self.nets[net] = self.nets[net] ^ flips
                    self.changes[net] += int(np.bitwise_count(flips).sum())
                    changed.append(net)
            self._evaluate(changed, tick)

    def _evaluate(self, changed: list[int], tick: int) -> None:
        """Evaluate the cells that read changed nets."""
        for number in sorted({reader for net in changed for reader in self._readers[net]}):
            instance: Instance = self._instances[number]
            pins = {pin: self.nets[net] for pin, net in instance.inputs.items()}
            for pin, net in instance.outputs.items():
                self._schedule(net, instance.cell.outputs[pin].function(pins), tick)

    def _schedule(self, net: int, target: Words, tick: int) -> None:
        """Let a net change to ``target``; drop changes on the way that are no longer wanted."""
        wanted = target ^ self.nets[net]
        for flips in self._due[net].values():
            flips &= wanted
            wanted = wanted & ~flips
        if wanted.any():
            due = tick + self._ticks[net]
            self._due[net][due] = wanted
            heapq.heappush(self._events, (due, net))
