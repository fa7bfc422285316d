"""Files of gate lists: ``NAME.gates.json.gz`` beside the ``NAME.csv`` of a multiplier library.

The content is JSON: ``{"schema": 1, "netlists": {"release/name": [bits_a, bits_w, signed, gates,
outputs]}}``. A gate is a list of its operation and its signals, numbered as in `Netlist`.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from axopt.circuits.netlist import Gate, Netlist
from axopt.errors import CircuitError
from axopt.files import read_bytes, write_atomically
from axopt.multipliers import bundled_directory

SUFFIX = ".gates.json.gz"
SCHEMA = 1

_MAX_FILE_BYTES = 16 << 20
_MAX_TEXT_BYTES = 64 << 20


def load_netlists(directory: str | os.PathLike[str] | None = None) -> Mapping[str, Netlist]:
    """Read the gate lists of a library.

    Args:
        directory: The folder of the library; None for the bundled one.

    Returns:
        Netlists by the keys ``"release/name"`` of their multipliers. The first operand of a
        netlist is that of the multiplier's table. Multipliers without a gate list are absent.

    Raises:
        CircuitError: If a file is damaged.

    Example:
        >>> netlist = load_netlists()["v1/mul8s_1L1G"]
        >>> netlist.bits_a, netlist.signed, len(netlist.gates) > 50
        (8, True, True)
    """
    if directory is None:
        return _bundled()
    netlists: dict[str, Netlist] = {}
    for file in sorted(Path(directory).glob(f"*{SUFFIX}")):
        netlists.update(read_netlists(file))
    return netlists


@cache
def _bundled() -> Mapping[str, Netlist]:
    return load_netlists(bundled_directory())


def save_netlists(file: Path, netlists: Mapping[str, Netlist]) -> None:
    """Write gate lists atomically. Equal netlists give equal bytes.

    Args:
        file: The file; by convention it ends in ``.gates.json.gz``.
        netlists: Netlists by the keys of their multipliers.

    Raises:
        OSError: If the file cannot be written.

    Example:
        >>> save_netlists(Path("mine.gates.json.gz"), {"user/one": Netlist(2, 2, False, (), (2,))})
        >>> list(read_netlists(Path("mine.gates.json.gz")))
        ['user/one']
    """
    content = {
        "schema": SCHEMA,
        "netlists": {
            key: [n.bits_a, n.bits_w, n.signed, [[g.op, *g.inputs] for g in n.gates], n.outputs]
            for key, n in netlists.items()
        },
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    write_atomically(file, gzip.compress(text, mtime=0))


def read_netlists(file: Path) -> dict[str, Netlist]:
    """Read the gate lists of one file.

    Args:
        file: A file that `save_netlists` wrote.

    Returns:
        Netlists by the keys of their multipliers.

    Raises:
        CircuitError: If the file is damaged, or larger than 16 MiB, 64 MiB decompressed.

    Example:
        >>> save_netlists(Path("mine.gates.json.gz"), {"user/one": Netlist(2, 2, False, (), (2,))})
        >>> read_netlists(Path("mine.gates.json.gz"))["user/one"].outputs
        (2,)
    """
    try:
        content = json.loads(_decompressed(read_bytes(file, limit=_MAX_FILE_BYTES)))
    except (OSError, zlib.error, EOFError, ValueError, RecursionError) as error:
        raise CircuitError(f"{file}: not a readable file of gate lists: {error}.") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise CircuitError(f"{file}: `schema` must be {SCHEMA}.")
    entries = content.get("netlists")
    if not isinstance(entries, dict):
        raise CircuitError(f"{file}: `netlists` must be an object.")
    return {key: _netlist(entry, f"{file}: {key}") for key, entry in entries.items()}


def _decompressed(content: bytes) -> bytes:
    decompressor = zlib.decompressobj(wbits=31)
    text = decompressor.decompress(content, _MAX_TEXT_BYTES)
    if not decompressor.eof:
        raise ValueError(f"truncated, or larger than {_MAX_TEXT_BYTES} bytes when decompressed")
    return text


def _netlist(entry: Any, where: str) -> Netlist:
    try:
        bits_a, bits_w, signed, gates, outputs = entry
        listed = tuple(Gate(str(op), tuple(_signals(inputs))) for op, *inputs in gates)
        return Netlist(bits_a, bits_w, bool(signed), listed, tuple(_signals(outputs)))
    except (TypeError, ValueError) as error:
        raise CircuitError(f"{where}: {error}") from error


def _signals(values: list[Any]) -> list[int]:
    if not all(type(value) is int for value in values):
        raise ValueError(f"signals must be integers, got {values!r}.")
    return values
