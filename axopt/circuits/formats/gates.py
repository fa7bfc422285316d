"""Gates of any kind, read in any order, as gates of a `NetlistBuilder`; operands by port names."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from axopt.circuits.builder import ONE, ZERO, NetlistBuilder
from axopt.circuits.formats.reading import check_width
from axopt.errors import LutFormatError

_INDEXED = re.compile(r"(?P<name>.*?)[\[(<_]?(?P<place>\d{1,3})[\])>]?")
_MAJORITY, _PARITY = 0b11101000, 0b10010110  # truth tables of three inputs


class Driver(NamedTuple):
    """What drives a net: a function of other nets.

    Attributes:
        inputs: The nets that it reads.
        make: Called with a builder and the signals of the inputs; returns the signal of the net.
    """

    inputs: tuple[Hashable, ...]
    make: Callable[[NetlistBuilder, Sequence[int]], int]


Net = Hashable
Bus = tuple[str, list[Net]]
"""A name and its nets from the lowest bit."""


def signals_of(
    build: NetlistBuilder,
    drivers: Mapping[Net, Driver],
    known: Mapping[Net, int],
    wanted: Iterable[Net],
    where: object,
) -> list[int]:
    """Build the gates on which some nets depend.

    Args:
        build: Takes the gates.
        drivers: The driver of each net.
        known: Signals of operands and constants.
        wanted: The nets.
        where: The file, for messages.

    Returns:
        The signals of the nets.

    Raises:
        LutFormatError: If a net has no driver, or depends on itself.
    """
    signals = dict(known)
    wanted = list(wanted)
    waiting: set[Net] = set()
    for net in wanted:
        stack = [net]
        while stack:
            top = stack[-1]
            if top in signals:
                stack.pop()
                continue
            if top not in drivers:
                raise LutFormatError(f"{where}: net `{_shown(top)}` has no driver.")
            missing = [n for n in drivers[top].inputs if n not in signals]
            if not missing:
                driver = drivers[top]
                signals[top] = driver.make(build, [signals[n] for n in driver.inputs])
                waiting.discard(top)
                continue
            if top in waiting:  # it was here before, and its inputs still miss
                raise LutFormatError(f"{where}: net `{_shown(top)}` depends on itself.")
            waiting.add(top)
            stack.extend(missing)
    return [signals[net] for net in wanted]


def of_truth_table(build: NetlistBuilder, inputs: Sequence[int], table: int) -> int:
    """Return a function of signals.

    Args:
        build: Takes the gates.
        inputs: The signals.
        table: Its bit i is the value where the inputs are the bits of i.
    """
    if not inputs:
        return ONE if table & 1 else ZERO
    if len(inputs) == 3 and table in (_MAJORITY, _PARITY):
        return build.full_adder(*inputs)[table == _MAJORITY]
    half = 1 << (len(inputs) - 1)
    ones = (1 << half) - 1
    rest, x = inputs[:-1], inputs[-1]
    zero, one = table & ones, table >> half
    if zero == one:
        return of_truth_table(build, rest, zero)
    if zero == one ^ ones:
        return build.xor(x, of_truth_table(build, rest, zero))
    if zero in (0, ones):
        chosen = of_truth_table(build, rest, one)
        return build.or_(build.not_(x), chosen) if zero else build.and_(x, chosen)
    if one in (0, ones):
        chosen = of_truth_table(build, rest, zero)
        return build.or_(x, chosen) if one else build.and_(build.not_(x), chosen)
    return build.mux(x, of_truth_table(build, rest, zero), of_truth_table(build, rest, one))


def operands(inputs: Sequence[Bus], where: object) -> tuple[Bus, Bus]:
    """Return both operands of a multiplier from its inputs, in their order.

    Args:
        inputs: The input ports; if all have one bit, they are grouped: ``a_0``, ``a[1]``.
        where: The file, for messages.

    Raises:
        LutFormatError: If there are not exactly two, of 2 to 8 bits each.
    """
    buses = _grouped(inputs, where)
    if len(buses) != 2:
        names = ", ".join(f"`{_shown(name)}`" for name, _ in buses[:8]) or "none"
        raise LutFormatError(f"{where}: expected two operands as inputs, got {names}.")
    for name, nets in buses:
        check_width(where, _shown(name), len(nets))
    return buses[0], buses[1]


def product(outputs: Sequence[Bus], where: object) -> Bus:
    """Return the only output, grouped like `operands`.

    Raises:
        LutFormatError: If there is not exactly one.
    """
    buses = _grouped(outputs, where)
    if len(buses) != 1:
        names = ", ".join(f"`{_shown(name)}`" for name, _ in buses[:8]) or "none"
        raise LutFormatError(f"{where}: expected one output, got {names}.")
    return buses[0]


def _grouped(ports: Sequence[Bus], where: object) -> list[Bus]:
    """Join ports of one bit whose names differ in a number; leave buses as they are."""
    if any(len(nets) != 1 for _, nets in ports):
        return list(ports)
    groups: dict[str, dict[int, Net]] = {}
    for name, [net] in ports:
        match = _INDEXED.fullmatch(name)
        group, place = (name, 0) if match is None else (match["name"], int(match["place"]))
        places = groups.setdefault(group, {})
        if place in places:
            raise LutFormatError(f"{where}: bit {place} of `{_shown(group)}` is there twice.")
        places[place] = net
    buses = []
    for group, places in groups.items():
        if sorted(places) != list(range(len(places))):
            raise LutFormatError(f"{where}: `{_shown(group)}` lacks some of its bits.")
        buses.append((group, [places[place] for place in range(len(places))]))
    return buses


def _shown(net: object) -> str:
    text = str(net[-1] if isinstance(net, tuple) else net)  # BLIF: the place of a part, its net
    return text if len(text) <= 60 else f"{text[:57]}..."
