"""Multipliers from gate lists, and libraries that hold both."""

from __future__ import annotations

import os
from collections.abc import Mapping

from axopt.circuits.cost import estimate
from axopt.circuits.lookup import computes, register_netlists
from axopt.circuits.netlist import Netlist
from axopt.circuits.storage import SUFFIX, save_netlists
from axopt.errors import CircuitError
from axopt.files import as_path
from axopt.multipliers import Multiplier, add_to_library
from axopt.multipliers.multiplier import FIGURES


def multiplier_of(
    netlist: Netlist,
    name: str,
    *,
    release: str = "user",
    figures: Mapping[str, float] | None = None,
    published: Mapping[str, float] | None = None,
    source: str = "",
) -> Multiplier:
    """Make the multiplier that a gate list computes; `netlist_of` then knows its gates.

    Args:
        netlist: Its gates.
        name: Its name.
        release: The release to file it under.
        figures: Known figures: ``power_mw``, ``area_um2``, ``delay_ns``. Those that are absent are
            estimated from the gates and have an interval.
        published: Error figures as published, see `Multiplier`.
        source: Origin of the gate list.

    Returns:
        The multiplier, of the widths of the gate list.

    Raises:
        CircuitError: If ``figures`` has other names.
        MultiplierError: If the name or a figure breaks its rule.

    Example:
        >>> from axopt.circuits import generate
        >>> mine = multiplier_of(generate("truncated", bits_a=4, bits_w=5, signed=True), "mine")
        >>> mine.key, mine.rank, mine.is_estimated
        ('user/mine', 1, True)
    """
    known = dict(figures or {})
    unknown = sorted(set(known) - set(FIGURES))
    if unknown:
        raise CircuitError(f"`figures` must be of {', '.join(FIGURES)}, got {unknown[0]!r}.")
    intervals: dict[str, tuple[float, float]] = {}
    if len(known) < len(FIGURES):
        estimated = estimate(netlist)
        for figure in FIGURES:
            if figure not in known:
                known[figure] = getattr(estimated, figure)
                intervals[figure] = estimated.intervals[figure]
    multiplier = Multiplier(
        release,
        name,
        netlist.signed,
        netlist.table(),
        source=source,
        published=published or {},
        intervals=intervals,
        **known,
    )
    register_netlists({multiplier.key: netlist})
    return multiplier


def add_circuit_to_library(
    multiplier: Multiplier, netlist: Netlist, directory: str | os.PathLike[str]
) -> None:
    """Add a multiplier and its gate list to the library in a folder.

    The gate list is in ``RELEASE@NAME.gates.json.gz``, beside the other files of the multiplier.

    Args:
        multiplier: The multiplier.
        netlist: Its gates.
        directory: The folder; it is made if it is missing.

    Raises:
        CircuitError: If the gates do not give the multiplier's table.
        MultiplierError: If the library has a multiplier of that release and name.
        LutFormatError: If the folder holds a malformed library.
        OSError: If the folder cannot be written.

    Example:
        >>> from axopt.circuits import generate, load_netlists
        >>> netlist = generate("drum", segment=4)
        >>> add_circuit_to_library(multiplier_of(netlist, "drum4"), netlist, "mylib")
        >>> list(load_netlists("mylib"))
        ['user/drum4']
    """
    if not computes(netlist, multiplier):
        raise CircuitError(f"`netlist` must give the table of {multiplier.key}; it does not.")
    add_to_library(multiplier, directory)
    file = as_path(directory, "directory") / f"{multiplier.release}@{multiplier.name}{SUFFIX}"
    save_netlists(file, {multiplier.key: netlist})
