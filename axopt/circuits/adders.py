"""Find full and half adders among the gates of a simplified netlist."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from axopt.circuits.simplify import Simplified


@dataclass(frozen=True)
class Adders:
    """The adders of a netlist; no gate is in two of them.

    Attributes:
        full: Full adders of which only sum and carry are read elsewhere.
        shared: Full adders with an inner signal that is read elsewhere, too.
        half: Half adders.
        other: Signals of the gates that are in no adder.
    """

    full: int
    shared: int
    half: int
    other: tuple[int, ...]


def find_adders(simple: Simplified) -> Adders:
    """Find the adders of a simplified netlist.

    A full adder of x, y and z is ``either = x ^ y``, its sum ``either ^ z``, and a conjunction of
    the complements of ``x & y`` and ``either & z``, where x, y and z may be complements. A half
    adder is ``x ^ y`` and a conjunction of the same signals.

    Example:
        >>> from axopt.circuits import NetlistBuilder
        >>> from axopt.circuits.simplify import simplify
        >>> build = NetlistBuilder(2, 2, signed=False)
        >>> total, carry = build.full_adder(build.a[0], build.a[1], build.w[0])
        >>> find_adders(simplify(build.netlist([total, carry])))
        Adders(full=1, shared=0, half=0, other=())
    """
    return _Search(simple).found()


class _Search:
    def __init__(self, simple: Simplified) -> None:
        self._simple = simple
        self._readers = [0] * simple.n_signals
        self._xors: dict[int, tuple[int, int]] = {}
        self._ands: dict[frozenset[int], list[int]] = defaultdict(list)
        for signal, gate in enumerate(simple.gates, simple.first_gate):
            inputs = (gate.x >> 1, gate.y >> 1)
            for read in inputs:
                self._readers[read] += 1
            if gate.xor:
                self._xors[signal] = inputs
            else:
                self._ands[frozenset(inputs)].append(signal)
        for signal in simple.driving:
            self._readers[signal] += 1
        self._taken: set[int] = set()

    def found(self) -> Adders:
        full = shared = half = 0
        for total in self._xors:
            adder = self._full_adder(total)
            if adder is not None:
                self._taken.update(adder)
                if self._is_shared(adder):
                    shared += 1
                else:
                    full += 1
        for total, inputs in self._xors.items():
            carry = next((c for c in self._ands[frozenset(inputs)] if c not in self._taken), None)
            if carry is not None and total not in self._taken:
                self._taken.update((total, carry))
                half += 1
        signals = range(self._simple.first_gate, self._simple.n_signals)
        return Adders(full, shared, half, tuple(s for s in signals if s not in self._taken))

    def _full_adder(self, total: int) -> tuple[int, int, int, int, int] | None:
        """Return sum, either, both, through and carry of the full adder with this sum."""
        x, y = self._xors[total]
        for either, third in ((x, y), (y, x)):
            if total in self._taken or either not in self._xors or either in self._taken:
                continue
            for both in self._ands.get(frozenset(self._xors[either]), ()):
                for through in self._ands.get(frozenset((either, third)), ()):
                    for carry in self._ands.get(frozenset((both, through)), ()):
                        if carry not in self._taken:
                            return total, either, both, through, carry
        return None

    def _is_shared(self, adder: tuple[int, int, int, int, int]) -> bool:
        _, either, both, through, _ = adder
        return any(
            self._readers[signal] > inside
            for signal, inside in ((either, 2), (both, 1), (through, 1))
        )
