"""Writers of gate lists, and the registry that finds them by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from axopt.circuits.formats.header import header_of
from axopt.circuits.formats.names import identifier
from axopt.circuits.netlist import Netlist
from axopt.errors import ArgumentError, CircuitError, described
from axopt.files import as_path, write_text_atomically
from axopt.multipliers import Multiplier
from axopt.multipliers.formats.registry import check_function, check_title, checked_suffixes
from axopt.registry import Registry, blamed_on

WriteNetlist = Callable[[Netlist, str, Sequence[str]], str]
"""Function of a writer: gate list, name of the module and lines of its header -> the text."""


@dataclass(frozen=True)
class NetlistWriter:
    """A format that `write_netlist` writes.

    Attributes:
        name: Its name in the registry.
        title: What it is called in help and messages.
        suffixes: Suffixes of its files in lower case, with the dot.
        write: Called with the gate list, a name of letters, digits and underscores for the module
            or function, and the lines of the comment at the head of the file, without comment
            marks; returns the text of the file.

    Example:
        >>> NETLIST_WRITERS["verilog"].suffixes
        ('.v', '.sv')
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    write: WriteNetlist


_HERE = "axopt.circuits.formats"

NETLIST_WRITERS = Registry[NetlistWriter](
    "writer of gate lists",
    group="axopt.netlist_writers",
    built_in={
        "blif": f"{_HERE}.blif_text",
        "c": f"{_HERE}.c_text",
        "verilog": f"{_HERE}.verilog_text",
    },
    argument="format",
    kind=NetlistWriter,
)
"""The writers by the name of their format."""


def register_netlist_writer(
    name: str, *, suffixes: Sequence[str], title: str = ""
) -> Callable[[WriteNetlist], WriteNetlist]:
    """Return a decorator that makes a function write gate lists to files of a format.

    Args:
        name: A new name, which ``--format`` takes.
        suffixes: Suffixes of the files, such as ``(".v",)``.
        title: What help calls the format; ``name`` by default.

    Returns:
        A decorator of a function ``write(netlist, name, header)`` that returns the text of the
        file; see `NetlistWriter`.

    Raises:
        ArgumentError: If ``name`` is taken, a suffix does not start with a dot, the title is no
            printable text, or what is decorated is no function.

    Example:
        >>> @register_netlist_writer("gates", suffixes=(".gates",))
        ... def write_gates(netlist, name, header):
        ...     return f"{name} {len(netlist.gates)}"
        >>> NETLIST_WRITERS["gates"].title
        'gates'
        >>> NETLIST_WRITERS.remove("gates")
    """
    checked = checked_suffixes(suffixes, folders=False)
    check_title(title)

    def register(write: WriteNetlist) -> WriteNetlist:
        check_function(write)
        NETLIST_WRITERS.add(name, NetlistWriter(name, title or name, checked, write))
        return write

    return register


def netlist_writer_for(file: str | os.PathLike[str], format: str | None = None) -> NetlistWriter:
    """Return the writer of a format, or the one whose suffix a file name has.

    Args:
        file: The file to write.
        format: Name of the format; None to take it from the suffix.

    Raises:
        ArgumentError: If there is no writer ``format``.
        CircuitError: If no writer, or more than one, has the suffix.

    Example:
        >>> netlist_writer_for("mine.V").name, netlist_writer_for("mine.txt", "blif").name
        ('verilog', 'blif')
    """
    file = as_path(file, "file")
    if format is not None:
        return NETLIST_WRITERS[format]
    writers = [NETLIST_WRITERS[name] for name in NETLIST_WRITERS.names()]
    fitting = [writer for writer in writers if file.suffix.lower() in writer.suffixes]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(repr(writer.name) for writer in fitting)
        raise CircuitError(f"{file}: several formats have this suffix, say {names}.")
    known = ", ".join(sorted(suffix for writer in writers for suffix in writer.suffixes))
    raise CircuitError(f"{file}: the suffix must be one of {known}.")


def netlist_text(
    netlist: Netlist, *, name: str, format: str, multiplier: Multiplier | None = None
) -> str:
    """Return a gate list as a text of a format.

    Args:
        netlist: The gates.
        name: Name of the module or function. Characters other than letters, digits and
            underscores become underscores.
        format: Name of the format, such as ``"verilog"``.
        multiplier: The multiplier whose gates they are: the comment at the head of the text
            states its source, licence, figures and digest. None states the widths and gates.

    Raises:
        ArgumentError: If there is no such format, an argument is of another type, or the writer
            returns anything but a text.

    Example:
        >>> from axopt.circuits import Gate, Netlist
        >>> gates = Gate("and", (2, 4)), Gate("and", (3, 5))
        >>> netlist = Netlist(2, 2, False, gates, (6, 0, 7))
        >>> print(netlist_text(netlist, name="two", format="verilog"))
        // two: unsigned multiplier of 2 x 2 bits, 2 gates
        module two (
            input [1:0] a,
            input [1:0] b,
            output [3:0] product
        );
            wire n6 = a[0] & b[0];
            wire n7 = a[1] & b[1];
            assign product = {1'b0, n7, 1'b0, n6};
        endmodule
        <BLANKLINE>
    """
    if not isinstance(netlist, Netlist):
        raise ArgumentError(f"`netlist` must be a Netlist, got {described(netlist)}.")
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"`name` must be a non-empty text, got {described(name)}.")
    if multiplier is not None and not isinstance(multiplier, Multiplier):
        raise ArgumentError(f"`multiplier` must be a Multiplier, got {described(multiplier)}.")
    writer = NETLIST_WRITERS[format]
    with blamed_on("writer of gate lists", writer.name):
        text = writer.write(
            netlist, identifier(name, netlist), header_of(netlist, name, multiplier)
        )
    if not isinstance(text, str):
        raise ArgumentError(
            f"the writer of gate lists {writer.name!r} must return a text, got {described(text)}."
        )
    return text


def write_netlist(
    netlist: Netlist,
    file: str | os.PathLike[str],
    *,
    name: str,
    format: str | None = None,
    multiplier: Multiplier | None = None,
) -> Path:
    """Write a gate list as Verilog, BLIF, C or in another registered format.

    The module or function has the operands ``a`` (rows of the table) and ``b`` (columns), and the
    output ``product``. `check_export` compares the file with the table.

    Args:
        netlist: The gates.
        file: The file, which is replaced.
        name: Name of the module or function, see `netlist_text`.
        format: Name of the format; by default it follows from the suffix.
        multiplier: The multiplier whose source and figures the file states; None for no figures.

    Returns:
        The path of the file.

    Raises:
        ArgumentError: If there is no writer ``format``, or an argument is of another type.
        CircuitError: If no writer, or more than one, has the suffix.
        OSError: If the file cannot be written.

    Example:
        >>> from axopt.circuits import generate
        >>> _ = write_netlist(generate("exact", bits_a=4, bits_w=4), "exact.blif", name="exact")
        >>> Path("exact.blif").read_text().splitlines()[1]
        '.model exact'
    """
    file = as_path(file, "file")
    writer = netlist_writer_for(file, format)
    text = netlist_text(netlist, name=name, format=writer.name, multiplier=multiplier)
    write_text_atomically(file, text)
    return file
