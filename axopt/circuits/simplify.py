"""Simplify a gate list: two-input gates, none of which repeats a function of the operands.

A synthesis program does the same before it maps gates to cells, so figures of cost are computed
from the result and not from the gates as they were written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from axopt.circuits.netlist import Netlist
from axopt.errors import CircuitError

Literal = int
"""``2 * signal``, plus 1 for the complement of the signal."""

MAX_GATES = 20_000
"""Most gates that are simplified: the functions of 8-bit operands take 8 KiB each."""

FALSE, TRUE = 0, 1
"""The constants as literals."""


@dataclass(frozen=True, slots=True)
class SimpleGate:
    """A two-input gate on literals: ``x ^ y``, or ``x & y`` of signals or their complements.

    Attributes:
        xor: Whether it is an exclusive or; else it is a conjunction.
        x: First input, a literal. Inputs of an exclusive or are not complemented.
        y: Second input, a literal.
        inverted: Whether the signal is the complement of the operation.
    """

    xor: bool
    x: Literal
    y: Literal
    inverted: bool


@dataclass(frozen=True, eq=False)
class Simplified:
    """A netlist of `SimpleGate`. Signal 0 is constant 0, then come the operands' bits, then gates.

    Attributes:
        n_inputs: Bits of both operands: the signals ``1..n_inputs``, those of ``a`` first.
        gates: The gates, each after those that it reads.
        outputs: The product's bits as literals, from the lowest.
    """

    n_inputs: int
    gates: tuple[SimpleGate, ...] = field(repr=False)
    outputs: tuple[Literal, ...] = field(repr=False)

    @property
    def first_gate(self) -> int:
        """Signal of the first gate."""
        return 1 + self.n_inputs

    @property
    def n_signals(self) -> int:
        """Number of signals, constant and operands included."""
        return self.first_gate + len(self.gates)

    @cached_property
    def driving(self) -> frozenset[int]:
        """Signals of gates that are outputs."""
        return frozenset(o >> 1 for o in self.outputs if o >> 1 >= self.first_gate)

    @cached_property
    def load(self) -> npt.NDArray[np.float64]:
        """Load of every signal, ``(n_signals,)``: 1 a reader, 2 a reading xor, 1 an output."""
        load = np.zeros(self.n_signals)
        for gate in self.gates:
            for literal in (gate.x, gate.y):
                load[literal >> 1] += 2 if gate.xor else 1
        load[list(self.driving)] += 1
        return load


def simplify(netlist: Netlist) -> Simplified:
    """Return the simplified form of a netlist.

    Adders become exclusive ors, conjunctions and disjunctions. Signals that are equal, or each
    other's complement, for all operands become one signal. An exclusive or of signals that are
    never both 1 (or never both 0, ...) becomes a conjunction. Unused gates go.

    Args:
        netlist: A netlist of at most `MAX_GATES` gates; the result is remembered as long as it
            lives.

    Raises:
        CircuitError: If the netlist has more gates.

    Example:
        >>> from axopt.circuits import NetlistBuilder
        >>> build = NetlistBuilder(2, 2, signed=False)
        >>> both = build.and_(build.a[0], build.w[0])
        >>> netlist = build.netlist([build.xor(build.a[0], both), build.not_(both)])
        >>> [gate.xor for gate in simplify(netlist).gates]
        [False, False]
    """
    if len(netlist.gates) > MAX_GATES:
        raise CircuitError(
            f"a hardware cost can be estimated for at most {MAX_GATES:,} gates, got "
            f"{len(netlist.gates):,}."
        )
    if netlist not in _KNOWN:
        _KNOWN[netlist] = _Simplifier(netlist).result()
    return _KNOWN[netlist]


_KNOWN: WeakKeyDictionary[Netlist, Simplified] = WeakKeyDictionary()


class _Simplifier:
    """Adds gates by their function of the operands: an integer with one bit for each pair."""

    def __init__(self, netlist: Netlist) -> None:
        self._netlist = netlist
        self._n_inputs = netlist.bits_a + netlist.bits_w
        self._all = (1 << (1 << self._n_inputs)) - 1
        self._values = [0, *_variables(self._n_inputs)]
        self._signal_of = {value: signal for signal, value in enumerate(self._values)}
        self._gates: list[SimpleGate] = []

    def result(self) -> Simplified:
        first = self._netlist.first_gate
        literals = [FALSE, TRUE, *(2 * (1 + bit) for bit in range(first - 2))]
        for gate in self._netlist.gates:
            literals.append(self._add(gate.op, [literals[signal] for signal in gate.inputs]))
        outputs = [literals[signal] for signal in self._netlist.outputs]
        return _without_unused(Simplified(self._n_inputs, tuple(self._gates), tuple(outputs)))

    def _add(self, op: str, inputs: list[Literal]) -> Literal:
        if op == "not":
            return inputs[0] ^ 1
        x, y = inputs[:2]
        if op in ("and", "hac"):
            return self._and(x, y)
        if op == "or":
            return self._or(x, y)
        if op in ("xor", "has"):
            return self._xor(x, y)
        either = self._xor(x, y)
        if op == "fas":
            return self._xor(either, inputs[2])
        return self._or(self._and(x, y), self._and(inputs[2], either))

    def _and(self, x: Literal, y: Literal) -> Literal:
        value = self._value(x) & self._value(y)
        return self._signal(value, False, x, y)

    def _or(self, x: Literal, y: Literal) -> Literal:
        return self._and(x ^ 1, y ^ 1) ^ 1

    def _xor(self, x: Literal, y: Literal) -> Literal:
        complement = (x ^ y) & 1
        x, y = x & ~1, y & ~1
        a, b = self._value(x), self._value(y)
        both = a & b
        if both == 0:
            return self._or(x, y) ^ complement
        if both == a:  # x implies y
            return self._and(x ^ 1, y) ^ complement
        if both == b:
            return self._and(x, y ^ 1) ^ complement
        if a | b == self._all:
            return self._and(x, y) ^ 1 ^ complement
        return self._signal(a ^ b, True, x, y) ^ complement

    def _value(self, literal: Literal) -> int:
        value = self._values[literal >> 1]
        return value ^ self._all if literal & 1 else value

    def _signal(self, value: int, xor: bool, x: Literal, y: Literal) -> Literal:
        """Return the literal of a function, as a new gate if no signal has it."""
        inverted = value & 1
        if inverted:  # signals are 0 for the first pair, so complements meet
            value ^= self._all
        signal = self._signal_of.get(value)
        if signal is None:
            signal = len(self._values)
            self._signal_of[value] = signal
            self._values.append(value)
            self._gates.append(SimpleGate(xor, x, y, bool(inverted)))
        return 2 * signal + inverted


@cache
def _variables(count: int) -> tuple[int, ...]:
    """Return the variables as functions: bit p of the i-th integer is bit i of p."""
    pairs = np.arange(1 << count)
    return tuple(
        int.from_bytes(np.packbits((pairs >> i) & 1, bitorder="little").tobytes(), "little")
        for i in range(count)
    )


def _without_unused(simple: Simplified) -> Simplified:
    used = set(simple.driving)
    for signal, gate in _from_last(simple):
        if signal in used:
            used.update((gate.x >> 1, gate.y >> 1))
    renumbered = {signal: signal for signal in range(simple.first_gate)}
    gates: list[SimpleGate] = []
    for number, gate in enumerate(simple.gates):
        if simple.first_gate + number in used:
            renumbered[simple.first_gate + number] = simple.first_gate + len(gates)
            x, y = (2 * renumbered[literal >> 1] + (literal & 1) for literal in (gate.x, gate.y))
            gates.append(SimpleGate(gate.xor, x, y, gate.inverted))
    outputs = tuple(2 * renumbered[literal >> 1] + (literal & 1) for literal in simple.outputs)
    return Simplified(simple.n_inputs, tuple(gates), outputs)


def _from_last(simple: Simplified) -> Iterable[tuple[int, SimpleGate]]:
    return zip(range(simple.n_signals - 1, 0, -1), reversed(simple.gates), strict=False)
