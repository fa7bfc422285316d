"""Circuits of multipliers: gate lists, where they come from, and what follows from them."""

from axopt.circuits.builder import ONE, ZERO, NetlistBuilder, without_unused_gates
from axopt.circuits.cost import HardwareEstimate, activity_power_mw, estimate
from axopt.circuits.families import (
    FAMILIES,
    Family,
    generate,
    register_family,
    sign_magnitude,
)
from axopt.circuits.formats.checking import check_export
from axopt.circuits.formats.names import identifier as module_name
from axopt.circuits.formats.writers import (
    NETLIST_WRITERS,
    NetlistWriter,
    netlist_text,
    netlist_writer_for,
    register_netlist_writer,
    write_netlist,
)
from axopt.circuits.importing import ImportedLibrary, import_library
from axopt.circuits.lookup import (
    activity_digest,
    gates_of,
    netlist_of,
    register_netlists,
)
from axopt.circuits.multipliers import add_circuit_to_library, multiplier_of
from axopt.circuits.netlist import ARITY, Gate, Netlist
from axopt.circuits.storage import load_netlists, read_netlists, save_netlists

__all__ = [
    "module_name",
    "gates_of",
    "write_netlist",
    "register_netlist_writer",
    "netlist_writer_for",
    "netlist_text",
    "NetlistWriter",
    "NETLIST_WRITERS",
    "check_export",
    "ARITY",
    "FAMILIES",
    "ONE",
    "ZERO",
    "Family",
    "Gate",
    "HardwareEstimate",
    "ImportedLibrary",
    "Netlist",
    "NetlistBuilder",
    "activity_digest",
    "activity_power_mw",
    "add_circuit_to_library",
    "estimate",
    "generate",
    "import_library",
    "load_netlists",
    "multiplier_of",
    "netlist_of",
    "read_netlists",
    "register_family",
    "register_netlists",
    "save_netlists",
    "sign_magnitude",
    "without_unused_gates",
]
