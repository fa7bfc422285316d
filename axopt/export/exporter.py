"""Exporters: what one gets, what it returns, and the registry that finds it by name."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.errors import ArgumentError
from axopt.files import as_path
from axopt.registry import Registry
from axopt.report import Layer, Point, RunRecord

if TYPE_CHECKING:
    from axopt.model import Assignment


@dataclass(frozen=True)
class ExportInput:
    """Everything that an exporter may use.

    Attributes:
        assignment: The multiplier of every layer, with quantisation, metrics and cost.
        record: The run that the assignment is from; None for the file of an assignment alone.
        point: The assignment's point in the front of that run; None without a run.
        library: Folder of the library of the multipliers. None stands for the one that the
            assignment names, or the bundled one.

    Example:
        >>> from axopt.model import Assignment
        >>> from axopt.report import example_record
        >>> record = example_record()
        >>> given = ExportInput(Assignment({}), record, record.front[0])
        >>> given.layers[0]
        Layer(name='conv', kind='conv2d', macs=9216)
    """

    assignment: Assignment
    record: RunRecord | None = None
    point: Point | None = None
    library: Path | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The model's emulated layers in the order of execution; empty without a run."""
        return () if self.record is None else self.record.layers


OfInput = Callable[[ExportInput], str | bytes]
"""Function of an exporter that returns the content of the file."""


@dataclass(frozen=True)
class Exporter:
    """A file format for assignments.

    Attributes:
        name: Name of the format: ``"csv"``.
        function: What makes the file: `ExportInput` -> its content (a text is written as UTF-8).
            If ``writes_path`` or ``writes_folder``, it takes a path as its second argument and
            writes there.
        suffix: Suffix of the format's files, with the dot: ``".csv"``. Empty for a folder.
        summary: What the format is for, in one line of the command line's help.
        writes_path: Whether the function writes to a path instead of returning the content.
        writes_folder: Whether the format is a folder, and the function writes its files.

    Raises:
        ArgumentError: If the suffix does not begin with a dot, the summary is empty, or the
            function is not one.

    Example:
        >>> Exporter("names", lambda given: "conv1", ".names", "names of the layers").suffix
        '.names'
    """

    name: str
    function: Callable[..., Any]
    suffix: str
    summary: str
    writes_path: bool = False
    writes_folder: bool = False

    def __post_init__(self) -> None:
        if self.writes_path and self.writes_folder:
            raise ArgumentError("`writes_path` and `writes_folder` exclude each other.")
        if self.writes_folder and self.suffix != "":
            raise ArgumentError(f"`suffix` must be empty for a folder, got {self.suffix!r}.")
        if self.writes_folder:
            pass
        elif not isinstance(self.suffix, str) or not re.fullmatch(r"(\.\w+)+", self.suffix):
            raise ArgumentError(f"`suffix` must be a dot and letters, got {self.suffix!r}.")
        if not isinstance(self.summary, str) or not self.summary.strip():
            raise ArgumentError(f"`summary` must be a line of text, got {self.summary!r}.")
        if not callable(self.function):
            raise ArgumentError(f"`function` must be a function, got {self.function!r}.")


BUILT_IN = {
    "csv": "axopt.export.csv_format",
    "json": "axopt.export.json_format",
    "verilog": "axopt.export.verilog_format",
}
"""The formats that axopt brings, and their modules."""

EXPORTERS = Registry[Exporter](
    "exporter",
    group="axopt.exporters",
    built_in=BUILT_IN,
    argument="format",
)
"""The exporters by the name of their format."""


def register_exporter(
    name: str,
    *,
    suffix: str = "",
    summary: str,
    writes_path: bool = False,
    writes_folder: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that makes a function known as an exporter.

    An installed package offers its exporter through the entry-point group ``axopt.exporters``:
    the name of the entry point is the name of the format, its value is the decorated function.

    Args:
        name: Name of the format, as ``axopt export --format`` takes it.
        suffix: Suffix of the format's files, with the dot; none for a folder.
        summary: What the format is for, in one line.
        writes_path: False: the function takes an `ExportInput` and returns the content of the
            file, str or bytes. True: it takes an `ExportInput` and a path, writes the file there
            and returns nothing.
        writes_folder: True: the function takes an `ExportInput` and the path of an empty folder,
            and writes files there.

    Raises:
        ArgumentError: If an argument breaks its rule or the name is taken.

    Example:
        >>> @register_exporter("names", suffix=".names", summary="names of the layers")
        ... def names(given: ExportInput) -> str:
        ...     return " ".join(given.assignment.layers)
        >>> list_exporters()
        ['csv', 'json', 'names', 'verilog']
        >>> EXPORTERS.remove("names")
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        EXPORTERS.add(name, Exporter(name, function, suffix, summary, writes_path, writes_folder))
        return function

    return decorate


def list_exporters() -> list[str]:
    """Return the names of all formats, sorted. Packages that offer one are not imported.

    Example:
        >>> list_exporters()
        ['csv', 'json', 'verilog']
    """
    return EXPORTERS.names()


def get_exporter(name: str) -> Exporter:
    """Return the exporter of a format.

    Args:
        name: Name of the format.

    Raises:
        ArgumentError: If there is none of that name, or the package that offers it is broken.

    Example:
        >>> get_exporter("csv").summary
        'one row per layer: its name, multiplier, table digest and operand order'
    """
    exporter = EXPORTERS[name]
    if not isinstance(exporter, Exporter):
        raise ArgumentError(
            f"the exporter {name!r} must be registered with `register_exporter` under that name, "
            f"got {exporter!r}."
        )
    return exporter


def exporter_for(path: str | os.PathLike[str]) -> Exporter:
    """Return the exporter whose suffix a file name has; axopt's own formats come first.

    Formats that are folders have no suffix.

    Args:
        path: Path of the file to write. Its suffix may have several dots: ``.tar.gz``.

    Raises:
        ArgumentError: If no format has that suffix, or a package that offers one is broken.

    Example:
        >>> exporter_for("runs/point.csv").name
        'csv'
    """
    name = str(as_path(path, "path")).lower()
    own = [get_exporter(format) for format in BUILT_IN]
    others = (get_exporter(format) for format in list_exporters() if format not in BUILT_IN)
    known = []
    for exporter in itertools.chain(own, others):
        if exporter.writes_folder:
            continue
        if name.endswith(exporter.suffix.lower()):
            return exporter
        known.append(exporter.suffix)
    raise ArgumentError(f"`path` must end in one of {', '.join(known)}, got {os.fspath(path)!r}.")
