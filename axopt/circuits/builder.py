"""`NetlistBuilder`: makes a netlist gate by gate, without gates whose result is known."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.circuits.netlist import CONSTANTS, MAX_GATES, Gate, Netlist
from axopt.errors import CircuitError

ZERO, ONE = range(CONSTANTS)
"""The constant signals."""


class NetlistBuilder:
    """Adds gates to a multiplier and returns their signals.

    Operations on constants, and on equal signals, return a signal that exists. Equal gates are one
    gate.

    Args:
        bits_a: Width of the first operand, 2..8.
        bits_w: Width of the second operand.
        signed: Whether operands and product are in two's complement.

    Example:
        >>> build = NetlistBuilder(2, 2, signed=False)
        >>> low, high = build.and_(build.a[0], build.w[0]), build.and_(build.a[1], build.w[1])
        >>> build.netlist([low, ZERO, high]).counts
        Counter({'and': 2})
    """

    def __init__(self, bits_a: int, bits_w: int, *, signed: bool) -> None:
        empty = Netlist(bits_a, bits_w, signed, (), (ZERO,))
        self.a, self.w = list(empty.a), list(empty.w)
        self._empty = empty
        self._gates: list[Gate] = []
        self._known: dict[Gate, int] = {}

    def netlist(self, outputs: Sequence[int]) -> Netlist:
        """Return the netlist with these outputs, from the lowest bit, without unused gates."""
        return without_unused_gates(
            Netlist(
                self._empty.bits_a,
                self._empty.bits_w,
                self._empty.signed,
                tuple(self._gates),
                tuple(outputs),
            )
        )

    def not_(self, x: int) -> int:
        """Return the complement."""
        if x in (ZERO, ONE):
            return ONE - x
        gate = self._gate_of(x)
        return gate.inputs[0] if gate is not None and gate.op == "not" else self._add("not", x)

    def and_(self, x: int, y: int) -> int:
        """Return the conjunction."""
        if ZERO in (x, y):
            return ZERO
        if x == ONE or x == y:
            return y
        return x if y == ONE else self._add("and", *sorted((x, y)))

    def or_(self, x: int, y: int) -> int:
        """Return the disjunction."""
        if ONE in (x, y):
            return ONE
        if x == ZERO or x == y:
            return y
        return x if y == ZERO else self._add("or", *sorted((x, y)))

    def xor(self, x: int, y: int) -> int:
        """Return the exclusive disjunction."""
        if x == y:
            return ZERO
        for one, other in ((x, y), (y, x)):
            if one == ZERO:
                return other
            if one == ONE:
                return self.not_(other)
        return self._add("xor", *sorted((x, y)))

    def mux(self, select: int, zero: int, one: int) -> int:
        """Return ``one`` where ``select`` is 1, else ``zero``."""
        if zero == one:
            return zero
        return self.or_(self.and_(self.not_(select), zero), self.and_(select, one))

    def half_adder(self, x: int, y: int) -> tuple[int, int]:
        """Return sum and carry of two bits."""
        if {x, y} & {ZERO, ONE} or x == y:
            return self.xor(x, y), self.and_(x, y)
        inputs = sorted((x, y))
        return self._add("has", *inputs), self._add("hac", *inputs)

    def full_adder(self, x: int, y: int, z: int) -> tuple[int, int]:
        """Return sum and carry of three bits."""
        x, y, z = sorted((x, y, z))
        if x == ZERO:
            return self.half_adder(y, z)
        if x == ONE:  # y + z + 1
            return self.not_(self.xor(y, z)), self.or_(y, z)
        if x == y or y == z:
            return (z, x) if x == y else (x, y)
        return self._add("fas", x, y, z), self._add("fac", x, y, z)

    def ripple_add(self, x: Sequence[int], y: Sequence[int], carry: int = ZERO) -> list[int]:
        """Return the bits of ``x + y + carry``, one more than the longer operand has."""
        width = max(len(x), len(y))
        bits = []
        for i in range(width):
            low, carry = self.full_adder(
                x[i] if i < len(x) else ZERO, y[i] if i < len(y) else ZERO, carry
            )
            bits.append(low)
        return [*bits, carry]

    def insert(self, netlist: Netlist, a: Sequence[int], w: Sequence[int]) -> list[int]:
        """Add the gates of a netlist and return the signals of its outputs.

        Args:
            netlist: What is added; its own operands are replaced.
            a: Signals of its first operand, ``bits_a`` of them, from the lowest bit.
            w: Signals of its second operand.

        Raises:
            CircuitError: If the operands are not of its widths.
        """
        if (len(a), len(w)) != (netlist.bits_a, netlist.bits_w):
            raise CircuitError(
                f"`a` and `w` must be {netlist.bits_a} and {netlist.bits_w} signals, got {len(a)}"
                f" and {len(w)}."
            )
        signals = [ZERO, ONE, *a, *w]
        for gate in netlist.gates:
            inputs = [signals[signal] for signal in gate.inputs]
            signals.append(self._result(gate.op, inputs))
        return [signals[signal] for signal in netlist.outputs]

    def _result(self, op: str, inputs: list[int]) -> int:
        """Return the signal of an operation of `ARITY`."""
        if op in ("has", "hac"):
            return self.half_adder(*inputs)[op == "hac"]
        if op in ("fas", "fac"):
            return self.full_adder(*inputs)[op == "fac"]
        if op == "not":
            return self.not_(*inputs)
        operation = {"and": self.and_, "or": self.or_, "xor": self.xor}[op]
        return operation(*inputs)

    def _gate_of(self, signal: int) -> Gate | None:
        number = signal - self._empty.first_gate
        return self._gates[number] if number >= 0 else None

    def _add(self, op: str, *inputs: int) -> int:
        gate = Gate(op, inputs)
        if gate not in self._known:
            if len(self._gates) == MAX_GATES:
                raise CircuitError(f"the circuit has more than {MAX_GATES:,} gates.")
            self._known[gate] = self._empty.first_gate + len(self._gates)
            self._gates.append(gate)
        return self._known[gate]


def without_unused_gates(netlist: Netlist) -> Netlist:
    """Return the netlist without the gates on which no output depends.

    Example:
        >>> unused = Netlist(2, 2, False, (Gate("and", (2, 4)), Gate("or", (2, 4))), (6,))
        >>> without_unused_gates(unused).gates
        (Gate(op='and', inputs=(2, 4)),)
    """
    first = netlist.first_gate
    used = set(netlist.outputs)
    for number in range(len(netlist.gates) - 1, -1, -1):
        if first + number in used:
            used.update(netlist.gates[number].inputs)
    renumbered = {signal: signal for signal in range(first)}
    gates: list[Gate] = []
    for number, gate in enumerate(netlist.gates):
        if first + number in used:
            renumbered[first + number] = first + len(gates)
            gates.append(Gate(gate.op, tuple(renumbered[signal] for signal in gate.inputs)))
    outputs = tuple(renumbered[signal] for signal in netlist.outputs)
    return Netlist(netlist.bits_a, netlist.bits_w, netlist.signed, tuple(gates), outputs)
