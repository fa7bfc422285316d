"""The gate list of a multiplier: registered, bundled or of a library folder; table checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from axopt.circuits.cost import cost_model
from axopt.circuits.netlist import Netlist
from axopt.circuits.storage import SUFFIX, load_netlists, read_netlists
from axopt.errors import CircuitError
from axopt.multipliers import Multiplier, loaded_directories

_registered: dict[str, Netlist] = {}

_read: dict[Path, tuple[int, dict[str, Netlist]]] = {}
"""Files of gate lists in folders of loaded libraries: time of change and content."""


def register_netlists(netlists: Mapping[str, Netlist]) -> None:
    """Make gate lists known to `netlist_of`, beside those of bundled and loaded libraries.

    A gate list replaces an earlier one of the same key.

    Args:
        netlists: Gate lists by the keys ``"release/name"`` of their multipliers, such as those
            that ``load_netlists(directory)`` returns.

    Raises:
        CircuitError: If a value is no `Netlist`.

    Example:
        >>> from axopt.circuits import generate, netlist_of, register_netlists
        >>> from axopt.multipliers import Multiplier
        >>> netlist = generate("truncated", bits_a=4, bits_w=4)
        >>> register_netlists({"user/mine": netlist})
        >>> mine = Multiplier.from_table("mine", netlist.table(), signed=False, power_mw=0.05,
        ...                              area_um2=100, delay_ns=0.5)
        >>> netlist_of(mine) is netlist
        True
    """
    for key, netlist in netlists.items():
        if not isinstance(netlist, Netlist):
            raise CircuitError(
                f"`netlists` must be Netlist by key, got {type(netlist).__name__} for {key!r}."
            )
    _registered.update(netlists)
    _checked.cache_clear()


def netlist_of(multiplier: Multiplier) -> Netlist:
    """Return the gate list of a multiplier.

    Args:
        multiplier: A bundled multiplier, one whose gate list was registered, or one of a library
            that was loaded from a folder with its gate list.

    Raises:
        CircuitError: If there is no gate list of this key, or it computes another table.

    Example:
        >>> from axopt.multipliers import load_library
        >>> netlist_of(load_library()["mul8s_1L1G"]).signed
        True
    """
    return _checked(multiplier)


def gates_of(
    multiplier: Multiplier, directory: str | os.PathLike[str] | None = None
) -> Netlist | None:
    """Return the gate list that gives the table of a multiplier.

    Args:
        multiplier: The multiplier.
        directory: The folder of its library; None for the bundled one. Bundled multipliers, and
            those whose gate list is registered (`register_netlists`), need no file there.

    Returns:
        The gate list; None if there is none.

    Raises:
        CircuitError: If a file of gate lists is damaged, or the gate list of that name gives
            another table.

    Example:
        >>> from axopt.multipliers import load_library
        >>> gates_of(load_library()["mul8s_1L2H"]).counts["fas"]
        36
    """
    own = {} if directory is None else load_netlists(directory)
    netlist = own.get(multiplier.key)
    if netlist is not None and not computes(netlist, multiplier):
        raise CircuitError(
            f"{directory}: the gate list of {multiplier.key} gives another table than the library"
            " has."
        )
    if netlist is None:
        with suppress(CircuitError):  # there is none, or it is of another table
            netlist = netlist_of(multiplier)
    return netlist


def computes(netlist: Netlist, multiplier: Multiplier) -> bool:
    """Return whether a gate list gives the table of a multiplier.

    Args:
        netlist: The gate list.
        multiplier: The multiplier.

    Example:
        >>> from axopt.circuits import netlist_of
        >>> from axopt.multipliers import load_library
        >>> exact, other = load_library()["mul8s_1KV8"], load_library()["mul8s_1L1G"]
        >>> computes(netlist_of(exact), exact), computes(netlist_of(exact), other)
        (True, False)
    """
    same_kind = netlist.signed == multiplier.signed
    return same_kind and np.array_equal(netlist.table(), multiplier.table)


def activity_digest(multipliers: Iterable[Multiplier]) -> str:
    """Return the sha256 of what the power of multipliers under data depends on.

    It covers the gate lists and the coefficients of the cost model.

    Raises:
        CircuitError: If a multiplier has no gate list.

    Example:
        >>> from axopt.multipliers import load_library
        >>> len(activity_digest([load_library()["mul8s_1L1G"]]))
        64
    """
    digest = hashlib.sha256(repr(sorted(cost_model().coefficients["power_mw"].items())).encode())
    for multiplier in multipliers:
        netlist = netlist_of(multiplier)
        gates = [(gate.op, *gate.inputs) for gate in netlist.gates]
        digest.update(repr((multiplier.key, gates, netlist.outputs)).encode())
    return digest.hexdigest()


@cache
def _checked(multiplier: Multiplier) -> Netlist:
    key, others = multiplier.key, 0
    for netlist in _gate_lists(key):
        if computes(netlist, multiplier):
            return netlist
        others += 1
    if others:
        raise CircuitError(f"the gate list of multiplier {key} computes another table.")
    raise CircuitError(
        f"multiplier {key} has no gate list, from which its power under data could be "
        f"estimated; register it with axopt.circuits.register_netlists({{{key!r}: ...}}), or keep "
        "it in the library's folder as NAME.gates.json.gz."
    )


def _gate_lists(key: str) -> Iterator[Netlist]:
    """Yield the gate lists of a key: registered, bundled, in folders of loaded libraries.

    A file is read when nothing before it fits, and again when it has changed.
    """
    for netlists in (_registered, load_netlists()):
        if key in netlists:
            yield netlists[key]
    for directory in loaded_directories():
        for file in sorted(directory.glob(f"*{SUFFIX}")):
            changed = file.stat().st_mtime_ns
            if file not in _read or _read[file][0] != changed:
                _read[file] = (changed, read_netlists(file))
            if key in _read[file][1]:
                yield _read[file][1][key]
