"""Run an exporter and write its file."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from axopt.errors import ArgumentError, ReportError, RunExistsError
from axopt.export.exporter import Exporter, ExportInput, exporter_for, get_exporter
from axopt.files import as_path, write_atomically
from axopt.registry import blamed_on


def export_bytes(given: ExportInput, format: str) -> bytes:
    """Return the file of an assignment in a format.

    Args:
        given: The assignment and the run that it is from.
        format: Name of the format, see `list_exporters`.

    Returns:
        The content of the file; a text is UTF-8.

    Raises:
        ArgumentError: If there is no such format or it is a folder, or the exporter returns
            anything else than a text or bytes.
        ReportError: If a text holds lone surrogates, which UTF-8 cannot represent.

    Example:
        >>> from axopt.model import Assignment
        >>> from axopt.model.assignment import LayerAssignment
        >>> layers = {"conv1": LayerAssignment("v1/mul8s_1L2H", digest="0f3a")}
        >>> print(export_bytes(ExportInput(Assignment(layers)), "csv").decode(), end="")
        layer,multiplier,digest,swap
        conv1,v1/mul8s_1L2H,0f3a,false
    """
    exporter = get_exporter(format)
    if exporter.writes_folder:
        raise ArgumentError(f"`format` {format!r} writes a folder; `write_export` makes it.")
    with blamed_on("exporter", format):
        content = _written(exporter, given) if exporter.writes_path else exporter.function(given)
    if isinstance(content, str):
        try:
            return content.encode()
        except UnicodeEncodeError as error:
            raise ReportError(f"the {format} text must be valid Unicode: {error}.") from error
    if not isinstance(content, bytes):
        raise ArgumentError(
            f"the exporter {format!r} must return a text or bytes, got {type(content).__name__}."
        )
    return content


def write_export(
    given: ExportInput,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    force: bool = False,
) -> str:
    """Write an assignment in a format of another program.

    Args:
        given: The assignment and the run that it is from.
        path: The file to write, as one step; or the folder, for a format that is one.
        format: Name of the format; by default the one whose suffix ``path`` has.
        force: Whether to replace an existing file. In an existing folder, files of the same names
            are replaced and others stay.

    Returns:
        The name of the format.

    Raises:
        ArgumentError: If there is no such format, or a folder is to be written to a file.
        RunExistsError: If the file, or a folder that is not empty, exists and ``force`` is not
            set.
        OSError: If the file cannot be written.

    Example:
        >>> from axopt.model import Assignment
        >>> write_export(ExportInput(Assignment({})), "point.json")
        'json'
    """
    path = as_path(path, "path")
    name = exporter_for(path).name if format is None else format
    if get_exporter(name).writes_folder:
        _write_folder(get_exporter(name), given, path, force)
        return name
    if path.exists() and not force:
        raise RunExistsError(f"{path}: exists already; `force` replaces it.")
    write_atomically(path, export_bytes(given, name))
    return name


def _write_folder(exporter: Exporter, given: ExportInput, path: Path, force: bool) -> None:
    """Let an exporter write a folder beside the final one, then move it or its files there."""
    if path.exists() and not path.is_dir():
        raise ArgumentError(f"`path` must be a folder, {path} is a file.")
    if path.is_dir() and any(path.iterdir()) and not force:
        raise RunExistsError(f"{path}: exists already; `force` replaces its files.")
    temporary = Path(tempfile.mkdtemp(prefix=".axopt-export-", dir=path.parent))
    try:
        with blamed_on("exporter", exporter.name):
            exporter.function(given, temporary)
        path.mkdir(exist_ok=True)
        for source in sorted(temporary.rglob("*")):
            target = path / source.relative_to(temporary)
            if source.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(source, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _written(exporter: Exporter, given: ExportInput) -> bytes:
    """Let an exporter write to a path, and return what it has written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"export{exporter.suffix}"
        exporter.function(given, path)
        if not path.is_file():
            raise ArgumentError(
                f"the exporter {exporter.name!r} must write the file at the path that it gets."
            )
        return path.read_bytes()
