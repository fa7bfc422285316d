"""`Netlist`: the gates of a multiplier, from which its table, cost and hardware text follow.

Signals are numbered: 0 and 1 are the constants, then the bits of the first operand ``a`` from the
lowest, then those of the second operand ``w``, then the results of the gates in their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from axopt.errors import CircuitError

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier

Words = npt.NDArray[np.uint64]
"""Values of one signal in many evaluations, one per bit."""

CONSTANTS = 2
"""Number of constant signals; the operands' bits follow them."""

MAX_BITS = 8
"""Widest operand."""

MAX_GATES = 100_000
"""Most gates of a netlist; the largest of EvoApproxLib's 8-bit multipliers has 400."""

ARITY = {
    "not": 1,
    "and": 2,
    "or": 2,
    "xor": 2,
    "has": 2,  # sum and carry of a half adder
    "hac": 2,
    "fas": 3,  # sum and carry of a full adder
    "fac": 3,
}
"""Number of inputs of every operation."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: an operation of `ARITY` and the signals that it reads.

    Example:
        >>> Gate("and", (2, 10))
        Gate(op='and', inputs=(2, 10))
    """

    op: str
    inputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Netlist:
    """The gates of a combinational multiplier ``a * w``, each after the gates that it reads.

    Attributes:
        bits_a: Width of the first operand, 2..8.
        bits_w: Width of the second operand, 2..8.
        signed: Whether operands and product are in two's complement.
        gates: The gates; a gate reads constants, operand bits and earlier gates only.
        outputs: Signals of the product's bits, from the lowest. At most ``bits_a + bits_w``; the
            bits above the last one are 0, or copies of the last one if `signed`.

    Raises:
        CircuitError: If a field breaks its rule.

    Example:
        >>> one_bit_each = Gate("and", (2, 4)), Gate("and", (3, 5))
        >>> netlist = Netlist(2, 2, False, one_bit_each, (6, 0, 7))
        >>> netlist.table().tolist()
        [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 4, 4], [0, 1, 4, 5]]
    """

    bits_a: int
    bits_w: int
    signed: bool
    gates: tuple[Gate, ...] = field(repr=False)
    outputs: tuple[int, ...] = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("bits_a", "bits_w"):
            bits = getattr(self, name)
            if type(bits) is not int or not 2 <= bits <= MAX_BITS:
                raise CircuitError(f"`{name}` must be in 2..{MAX_BITS}, got {bits!r}.")
        if len(self.gates) > MAX_GATES:
            raise CircuitError(
                f"`gates` must be at most {MAX_GATES:,} gates, got {len(self.gates):,}."
            )
        first = self.first_gate
        for number, gate in enumerate(self.gates):
            if len(gate.inputs) != ARITY.get(gate.op, -1):
                raise CircuitError(f"`gates` must be operations of {list(ARITY)}, got {gate}.")
            if not all(0 <= signal < first + number for signal in gate.inputs):
                raise CircuitError(
                    f"`gates` must read earlier signals only, gate {first + number} is {gate}."
                )
        if not 1 <= len(self.outputs) <= self.bits_a + self.bits_w:
            raise CircuitError(
                f"`outputs` must be 1..{self.bits_a + self.bits_w} bits, got {len(self.outputs)}."
            )
        if not all(0 <= signal < first + len(self.gates) for signal in self.outputs):
            raise CircuitError(f"`outputs` must be signals, got {self.outputs}.")

    @property
    def a(self) -> range:
        """Signals of the bits of the first operand, from the lowest."""
        return range(CONSTANTS, CONSTANTS + self.bits_a)

    @property
    def w(self) -> range:
        """Signals of the bits of the second operand, from the lowest."""
        return range(self.a.stop, self.a.stop + self.bits_w)

    @property
    def first_gate(self) -> int:
        """Signal of the first gate."""
        return self.w.stop

    @cached_property
    def counts(self) -> Counter[str]:
        """Number of gates of each operation."""
        return Counter(gate.op for gate in self.gates)

    @cached_property
    def depth(self) -> int:
        """Number of gates on the longest path; sum and carry of an adder are one gate each."""
        depths = [0] * self.first_gate
        for gate in self.gates:
            depths.append(1 + max(depths[signal] for signal in gate.inputs))
        return max(depths[signal] for signal in self.outputs)

    def table(self) -> npt.NDArray[np.int32]:
        """Return the products of all operands.

        Returns:
            ``(2**bits_a, 2**bits_w)`` int32, both operands in numeric order: from 0, or from
            ``-2**(bits - 1)`` if `signed`.
        """
        codes_a, codes_w = (np.arange(2**bits) for bits in (self.bits_a, self.bits_w))
        products = self.products(np.repeat(codes_a, len(codes_w)), np.tile(codes_w, len(codes_a)))
        table = products.reshape(len(codes_a), len(codes_w))
        if self.signed:  # bit patterns 0..127, -128..-1 to numeric order
            table = np.roll(table, (len(codes_a) // 2, len(codes_w) // 2), axis=(0, 1))
        return table

    def products(
        self, a: npt.NDArray[np.integer], w: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.int32]:
        """Return the products of pairs of operands.

        Args:
            a: First operands, ``(n,)``; their low ``bits_a`` bits are used.
            w: Second operands, ``(n,)``.

        Returns:
            ``(n,)`` int32.
        """
        bits_of_a = [pack((a >> bit) & 1) for bit in range(self.bits_a)]
        bits_of_w = [pack((w >> bit) & 1) for bit in range(self.bits_w)]
        words = self.signals(bits_of_a + bits_of_w)
        bits = np.stack([unpack(words[signal], len(a)) for signal in self.outputs])
        weights = 1 << np.arange(len(bits), dtype=np.int32)
        if self.signed:
            weights[-1] = -weights[-1]
        products: npt.NDArray[np.int32] = (weights @ bits.astype(np.int32)).astype(np.int32)
        return products

    def to_multiplier(
        self,
        name: str,
        *,
        release: str = "user",
        figures: Mapping[str, float] | None = None,
        published: Mapping[str, float] | None = None,
        source: str = "",
    ) -> Multiplier:
        """Make the multiplier that the gates compute; see `axopt.circuits.multiplier_of`."""
        from axopt.circuits.multipliers import multiplier_of  # it imports this module

        return multiplier_of(
            self, name, release=release, figures=figures, published=published, source=source
        )

    def signals(self, operands: Sequence[Words]) -> list[Words]:
        """Evaluate all gates, 64 evaluations a word.

        Args:
            operands: One array of words for each bit of ``a``, then of ``w``; equal shapes.

        Returns:
            The words of every signal, constants first.
        """
        zeros = np.zeros_like(operands[0])
        words = [zeros, ~zeros, *operands]
        for gate in self.gates:
            words.append(evaluate(gate.op, [words[signal] for signal in gate.inputs]))
        return words


def evaluate(op: str, inputs: Sequence[Words]) -> Words:
    """Return the words of a gate from those of its inputs.

    Example:
        >>> int(evaluate("xor", [np.array([0b0011], np.uint64), np.array([0b0101], np.uint64)])[0])
        6
    """
    if op == "not":
        return ~inputs[0]
    x, y = inputs[:2]
    if op in ("and", "hac"):
        return x & y
    if op == "or":
        return x | y
    if op in ("xor", "has"):
        return x ^ y
    if op == "fas":
        return x ^ y ^ inputs[2]
    return (x & y) | (inputs[2] & (x ^ y))  # "fac"


def pack(bits: npt.NDArray[np.integer]) -> Words:
    """Return ``(n,)`` values 0 or 1 as ``(ceil(n / 64),)`` words, the first in the lowest bit.

    Example:
        >>> pack(np.array([1, 0, 1]))
        array([5], dtype=uint64)
    """
    padded = np.zeros(-(-len(bits) // 64) * 64, np.uint8)
    padded[: len(bits)] = bits
    words: Words = np.packbits(padded, bitorder="little").view("<u8").astype(np.uint64)
    return words


def unpack(words: Words, count: int) -> npt.NDArray[np.uint8]:
    """Return the first ``count`` bits of words, as `pack` got them.

    Example:
        >>> unpack(np.array([5], np.uint64), 3)
        array([1, 0, 1], dtype=uint8)
    """
    return np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little", count=count)
