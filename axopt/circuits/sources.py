"""The gate list of a multiplier, from the folder of its library or from those known to axopt."""

from __future__ import annotations

import os
from contextlib import suppress

import numpy as np

from axopt.circuits.lookup import netlist_of
from axopt.circuits.netlist import Netlist
from axopt.circuits.storage import load_netlists
from axopt.errors import CircuitError
from axopt.multipliers import Multiplier


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
    if netlist is not None and not _fits(netlist, multiplier):
        raise CircuitError(
            f"{directory}: the gate list of {multiplier.key} gives another table than the library"
            " has."
        )
    if netlist is None:
        with suppress(CircuitError):  # there is none, or it is of another table
            netlist = netlist_of(multiplier)
    return netlist


def _fits(netlist: Netlist, multiplier: Multiplier) -> bool:
    same_kind = netlist.signed == multiplier.signed
    return same_kind and np.array_equal(netlist.table(), multiplier.table)
