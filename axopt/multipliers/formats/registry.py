"""The formats of product tables, by name: importers read them, table writers write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError, LutFormatError
from axopt.files import read_bytes
from axopt.multipliers.metrics import TABLE_SHAPE, ErrorMetrics, bits_of_shape
from axopt.multipliers.multiplier import Multiplier
from axopt.registry import Registry

MAX_FILE_BYTES = 4 << 20
"""Bound on the file of one table; AdaPT's headers have a tenth of it."""


class TableWarning(UserWarning):
    """Tells how an importer read a file that can be read in several ways.

    Example:
        >>> str(TableWarning("rows are in the order of bit patterns"))
        'rows are in the order of bit patterns'
    """


@runtime_checkable
class GateList(Protocol):
    """What a gate list offers to an import, so that this room needs no other: a `Netlist` does."""

    def table(self) -> npt.NDArray[np.int32]:
        """Return the products of all operands, as in `Imported`."""

    def to_multiplier(
        self,
        name: str,
        *,
        release: str,
        figures: Mapping[str, float],
        published: Mapping[str, float],
        source: str,
    ) -> Multiplier:
        """Make the multiplier; figures of hardware that are absent are estimated."""


@dataclass(frozen=True, eq=False)
class Imported:
    """One product table that an importer found in a file, and what the file says of it.

    Attributes:
        table: ``(2**bits_a, 2**bits_w)`` integers, ``(256, 256)`` for 8 x 8 bits: ``table[i, j]``
            is the product of the i-th first operand and the j-th second operand, both in numeric
            order.
        signed: Whether the operands are -128..127 instead of 0..255.
        figures: What the file states, by the names ``power_mw``, ``area_um2``, ``delay_ns`` and
            those of `ErrorMetrics.published_figures`.
        notes: Sentences or warnings that the user should see, such as what was recognised.
        name: The multiplier's name in the file, "" if it has none.
        netlist: The gate list, an `axopt.circuits.Netlist` with the same table, where the file has
            one. Figures that the file does not state are then estimated from it.

    Example:
        >>> found = Imported(np.zeros((256, 256), np.int16), signed=True, notes=("all zero",))
        >>> found.signed, found.figures, found.notes
        (True, {}, ('all zero',))
    """

    table: npt.NDArray[np.integer] = field(repr=False)
    signed: bool
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str | TableWarning] = ()
    name: str = ""
    netlist: object | None = field(default=None, repr=False)

    @property
    def bits_a(self) -> int:
        """Width of the first operand."""
        return int(self.table.shape[0]).bit_length() - 1

    @property
    def bits_w(self) -> int:
        """Width of the second operand."""
        return int(self.table.shape[1]).bit_length() - 1

    @property
    def mae(self) -> float:
        """Mean absolute error against the exact product, in units of the product."""
        return ErrorMetrics.of(self.table, self.signed).mae


ReadTables = Callable[[Path, bool | None], Sequence[Imported]]
ReadMany = Callable[[Sequence[Path], bool | None], Sequence[Sequence[Imported] | LutFormatError]]
WriteTable = Callable[[npt.NDArray[np.int32], bool], bytes]


@dataclass(frozen=True)
class Importer:
    """A format that `import_multiplier` reads.

    Attributes:
        name: Its name in the registry.
        title: What it is called in help and messages.
        suffixes: Suffixes of its files in lower case, with the dot; a folder has "".
        read: Called with the path and the kind of the operands (None: not known); returns the
            tables. Raises `LutFormatError`, or `OSError` if the file cannot be read.
        read_many: Called with several paths instead, if that is faster; returns for each file what
            ``read`` returns, or the error that it would raise. None to call ``read`` for each.

    Example:
        >>> IMPORTERS["npy"].title
        'NumPy array'
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    read: ReadTables
    read_many: ReadMany | None = None


@dataclass(frozen=True)
class TableWriter:
    """A format that `export_multiplier` writes.

    Attributes:
        name: Its name in the registry.
        title: What it is called in help and messages.
        suffixes: Suffixes of its files in lower case, with the dot.
        write: Called with the table, ``(2**bits_a, 2**bits_w)`` int32 in numeric order, and
            whether it is signed; returns the content of the file. Raises `LutFormatError` if the
            format cannot hold it.

    Example:
        >>> TABLE_WRITERS["tfapprox"].suffixes
        ('.bin',)
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    write: WriteTable


_HERE = "axopt.multipliers.formats"
_OWN = {name: f"{_HERE}.{name}" for name in ("adapt", "npy", "tfapprox")}
_TABLES = {name: f"{_HERE}.{name}" for name in ("matrix", "npz")}

_READERS = "axopt.circuits.formats"
_CIRCUITS = {
    "blif": f"{_READERS}.blif",
    "c": f"{_READERS}.c_model",
    "verilog": f"{_READERS}.verilog",
}

IMPORTERS = Registry[Importer](
    "importer",
    group="axopt.importers",
    built_in={**_OWN, **_TABLES, **_CIRCUITS},
    argument="format",
    kind=Importer,
)
TABLE_WRITERS = Registry[TableWriter](
    "table writer",
    group="axopt.table_writers",
    built_in={**_OWN, **_TABLES, "tsv": f"{_HERE}.matrix"},
    argument="format",
    kind=TableWriter,
)


def register_importer(
    name: str, *, suffixes: Sequence[str], title: str = "", read_many: ReadMany | None = None
) -> Callable[[ReadTables], ReadTables]:
    """Return a decorator that makes a function read multipliers from files of a format.

    Args:
        name: A new name, which ``--format`` takes.
        suffixes: Suffixes of the files, such as ``(".v",)``.
        title: What help calls the format; ``name`` by default.
        read_many: A function that reads several files faster than one by one; see `Importer`.

    Returns:
        A decorator of a function ``read(path, signed)`` that returns a sequence of `Imported`;
        ``signed`` is the kind that the user asks for, or None.

    Raises:
        ArgumentError: If ``name`` is taken or a suffix does not start with a dot.

    Example:
        >>> @register_importer("csv", suffixes=(".csv",), title="comma-separated table")
        ... def read_csv(path, signed):
        ...     return [Imported(np.loadtxt(path, np.int32, delimiter=","), bool(signed))]
        >>> IMPORTERS["csv"].suffixes
        ('.csv',)
        >>> IMPORTERS.remove("csv")
    """
    checked = checked_suffixes(suffixes)
    check_title(title)

    def register(read: ReadTables) -> ReadTables:
        check_function(read)
        IMPORTERS.add(name, Importer(name, title or name, checked, read, read_many))
        return read

    return register


def register_table_writer(
    name: str, *, suffixes: Sequence[str], title: str = ""
) -> Callable[[WriteTable], WriteTable]:
    """Return a decorator that makes a function write multipliers to files of a format.

    Args:
        name: A new name, which ``--format`` takes.
        suffixes: Suffixes of the files, such as ``(".v",)``.
        title: What help calls the format; ``name`` by default.

    Returns:
        A decorator of a function ``write(table, signed)`` that returns the file's content.

    Raises:
        ArgumentError: If ``name`` is taken or a suffix does not start with a dot.

    Example:
        >>> @register_table_writer("txt", suffixes=(".txt",))
        ... def write_txt(table, signed):
        ...     return " ".join(map(str, table.ravel())).encode()
        >>> "txt" in TABLE_WRITERS
        True
        >>> TABLE_WRITERS.remove("txt")
    """
    checked = checked_suffixes(suffixes)
    check_title(title)

    def register(write: WriteTable) -> WriteTable:
        check_function(write)
        TABLE_WRITERS.add(name, TableWriter(name, title or name, checked, write))
        return write

    return register


def read_table_file(path: Path) -> bytes:
    """Return the content of a file that holds one table, for importers.

    Args:
        path: A regular file of at most 4 MiB.

    Raises:
        LutFormatError: If the file cannot be read or is larger.

    Example:
        >>> _ = Path("table.txt").write_text("1 2")
        >>> read_table_file(Path("table.txt"))
        b'1 2'
    """
    try:
        return read_bytes(path, limit=MAX_FILE_BYTES)
    except OSError as error:
        raise LutFormatError(f"{path}: cannot be read: {error.strerror}.") from error


def check_range(
    table: npt.NDArray[np.integer], where: object, signed: bool, bits: int = 16
) -> None:
    """Refuse a table with values that the bits of a product cannot hold, for importers.

    Raises:
        LutFormatError: If there is one; the message names ``where``.
    """
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    least, most = int(table.min()), int(table.max())
    if least < low or most > high:
        kind = "signed" if signed else "unsigned"
        raise LutFormatError(
            f"{where}: {bits}-bit {kind} products are {low}..{high}, got {least}..{most}."
        )


def check_full_width(table: npt.NDArray[np.integer], what: str) -> None:
    """Refuse a table of narrow operands, for writers of formats that have none.

    Raises:
        LutFormatError: If the table is not ``(256, 256)``.
    """
    if table.shape != TABLE_SHAPE:
        bits_a, bits_w = bits_of_shape(table.shape)
        raise LutFormatError(
            f"{what} holds a table of 8 x 8 bits, got one of {bits_a} x {bits_w} bits."
        )


def check_title(title: object) -> None:
    """Check the title of a format.

    Raises:
        ArgumentError: If it is no printable text.
    """
    if not isinstance(title, str) or not title.isprintable():
        raise ArgumentError(f"`title` must be a printable text, got {title!r}.")


def check_function(function: object) -> None:
    """Check what is registered as a format.

    Raises:
        ArgumentError: If it cannot be called.
    """
    if not callable(function):
        raise ArgumentError(f"a format must be registered with a function, got {function!r}.")


def checked_suffixes(suffixes: Sequence[str], *, folders: bool = True) -> tuple[str, ...]:
    """Return the suffixes of a format.

    Args:
        suffixes: Lower-case suffixes with a dot.
        folders: Whether "" is allowed, the suffix of a folder.

    Raises:
        ArgumentError: If they are none, or one breaks this rule.
    """
    given = suffixes if isinstance(suffixes, list | tuple) else ()
    right = [
        isinstance(s, str) and ((folders and not s) or (s[:1] == "." and s == s.lower()))
        for s in given
    ]
    if not given or not all(right):
        raise ArgumentError(
            f"`suffixes` must be a sequence of lower-case suffixes with a dot, got {suffixes!r}."
        )
    return tuple(suffixes)
