"""Switching activity: how often the gates of a multiplier toggle from one product to the next.

Every gate takes one unit of time. When the operands change, a gate may toggle several times
before its value is settled. The toggles beyond the settled change are glitches.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from axopt.circuits.netlist import Netlist, Words, pack
from axopt.circuits.simplify import Simplified, simplify
from axopt.errors import CircuitError

Floats = npt.NDArray[np.float64]

TRANSITIONS = 2048
"""Number of simulated changes of the operands."""

_SEED = 45
_TOLERANCE = 1e-6
"""How far the sum of shares may be from 1."""

_STAGES: WeakKeyDictionary[Simplified, tuple[list[_Stage], list[_Stage]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Activity:
    """Mean number of toggles of every signal of a simplified netlist per pair of operands.

    Attributes:
        settled: Toggles between the settled values, ``(n_signals,)``, at most 1.
        glitches: Further toggles, ``(n_signals,)``.
    """

    settled: Floats
    glitches: Floats


def activity(
    netlist: Netlist, share_a: Floats | None = None, share_w: Floats | None = None
) -> Activity:
    """Simulate the toggles of a netlist's simplified form on random operands.

    Each pair of operands is drawn independently of the pair before it, and the two operands of a
    pair independently of each other. The draws have a fixed seed.

    Args:
        netlist: The netlist.
        share_a: How often each value of the first operand occurs, ``(2**bits_a,)`` float64 in
            numeric order, with sum 1. None: equally often.
        share_w: The same for the second operand.

    Returns:
        Toggles by signal of ``simplify(netlist)``.

    Raises:
        CircuitError: If shares have another shape, are negative or not finite, or do not sum to 1.

    Example:
        >>> from axopt.circuits import load_netlists
        >>> found = activity(load_netlists()["v1/mul8x2u_106"])
        >>> round(float(found.settled.mean()), 1), round(float(found.glitches.mean()), 2)
        (0.3, 0.04)
    """
    rng = np.random.default_rng(_SEED)
    operands = [
        (_codes(share_a, netlist.bits_a, netlist.signed, "share_a", rng), netlist.bits_a),
        (_codes(share_w, netlist.bits_w, netlist.signed, "share_w", rng), netlist.bits_w),
    ]
    before, after = (
        np.stack(
            [pack((codes[half] >> bit) & 1) for codes, bits in operands for bit in range(bits)]
        )
        for half in range(2)
    )
    settled, toggles = count_toggles(simplify(netlist), before, after)
    return Activity(settled / TRANSITIONS, (toggles - settled) / TRANSITIONS)


def _codes(
    share: Floats | None, bits: int, signed: bool, name: str, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw operands before and after each transition, ``(2, TRANSITIONS)``, as bit patterns.

    The draws are stratified: each of ``TRANSITIONS`` equal parts of the distribution is hit once.
    """
    share = _checked(share, bits, name)
    strata = np.stack([rng.permutation(TRANSITIONS) for _ in range(2)])
    at = (strata + rng.random(strata.shape)) / TRANSITIONS
    values = np.searchsorted(np.cumsum(share) / share.sum(), at, side="right")
    values = np.minimum(values, np.flatnonzero(share)[-1])  # the sum may be rounded below 1
    if signed:  # numeric order starts at the lowest value
        values = (values + 2 ** (bits - 1)) % 2**bits
    codes: npt.NDArray[np.int64] = values.astype(np.int64)
    return codes


def _checked(share: Floats | None, bits: int, name: str) -> Floats:
    if share is None:
        return np.full(2**bits, 2.0**-bits)
    share = np.asarray(share, np.float64)
    if share.shape != (2**bits,):
        raise CircuitError(f"`{name}` must have shape ({2**bits},), got {share.shape}.")
    if not np.isfinite(share).all() or (share < 0).any() or abs(share.sum() - 1) > _TOLERANCE:
        raise CircuitError(
            f"`{name}` must be non-negative numbers with sum 1, got sum {share.sum():.6g} and "
            f"minimum {share.min():.6g}."
        )
    return share


def count_toggles(
    simple: Simplified, before: Words, after: Words
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count toggles when inputs change, in many evaluations at once.

    Args:
        simple: The gates; each takes one unit of time.
        before: Settled operand bits, ``(n_inputs, n)`` words of 64 evaluations.
        after: The bits they change to, at time 0.

    Returns:
        For every signal, ``(n_signals,)`` each: the number of evaluations in which its settled
        value changes, and the number of all its toggles.
    """
    if simple not in _STAGES:
        _STAGES[simple] = _stages(simple)
    levels, active = _STAGES[simple]
    state = np.zeros((simple.n_signals, before.shape[1]), np.uint64)
    state[1 : simple.first_gate] = before
    for stage in levels:
        for signals, values in stage.evaluate(state):
            state[signals] = values
    start = state.copy()
    state[1 : simple.first_gate] = after
    toggles = np.bitwise_count(start ^ state).sum(axis=1, dtype=np.int64)
    for stage in active:
        for signals, values in stage.evaluate(state):
            toggles[signals] += np.bitwise_count(values ^ state[signals]).sum(1, dtype=np.int64)
            state[signals] = values
    return np.bitwise_count(start ^ state).sum(axis=1, dtype=np.int64), toggles


class _Stage:
    """Gates that are evaluated together, as arrays: conjunctions and exclusive ors apart.

    Args:
        signals: The gates' signals.
        gates: Inputs x and y of every signal as literals, whether it is inverted, and whether it
            is an exclusive or, ``(n_signals, 4)``.
    """

    def __init__(self, signals: npt.NDArray[np.int64], gates: npt.NDArray[np.int64]) -> None:
        self._parts = []
        for xor in (0, 1):
            chosen = signals[gates[signals, 3] == xor]
            inputs, inverted = gates[chosen, :2], gates[chosen, 2]
            self._parts.append((chosen, inputs >> 1, _masks(inputs & 1), _masks(inverted)))

    def evaluate(self, state: Words) -> list[tuple[npt.NDArray[np.int64], Words]]:
        """Return signals of gates and their new values, from the values of all signals."""
        (ands, of_and, masks, invert_and), (xors, of_xor, _, invert_xor) = self._parts
        x = state[of_and[:, 0]]
        x ^= masks[:, 0]
        y = state[of_and[:, 1]]
        y ^= masks[:, 1]
        x &= y
        x ^= invert_and
        either = state[of_xor[:, 0]]
        either ^= state[of_xor[:, 1]]
        either ^= invert_xor
        return [(ands, x), (xors, either)]


def _masks(flags: npt.NDArray[np.int64]) -> Words:
    """Return words of ones where a flag is set, with one axis more than ``flags``."""
    return np.where(flags, ~np.uint64(0), np.uint64(0))[..., np.newaxis]


def _stages(simple: Simplified) -> tuple[list[_Stage], list[_Stage]]:
    """Return the gates by level, and those that may toggle at each time from 1."""
    gates = np.zeros((simple.n_signals, 4), np.int64)
    gates[simple.first_gate :] = np.array(
        [(gate.x, gate.y, gate.inverted, gate.xor) for gate in simple.gates], np.int64
    ).reshape(-1, 4)
    earliest, latest = [0] * simple.n_signals, [0] * simple.n_signals
    for signal, gate in enumerate(simple.gates, simple.first_gate):
        x, y = gate.x >> 1, gate.y >> 1
        earliest[signal] = 1 + min(earliest[x], earliest[y])
        latest[signal] = 1 + max(latest[x], latest[y])
    first, last = np.array(earliest), np.array(latest)
    times = range(1, int(last.max()) + 1)
    levels = [np.flatnonzero(last == time) for time in times]
    active = [np.flatnonzero((first <= time) & (last >= time) & (last > 0)) for time in times]
    return [_Stage(at, gates) for at in levels], [_Stage(at, gates) for at in active]
