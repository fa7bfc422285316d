"""``.npz`` archives of product tables: one multiplier for each array, named like it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.files import open_regular
from axopt.multipliers.formats.interpretation import interpret
from axopt.multipliers.formats.npy import parse_npy
from axopt.multipliers.formats.npy import write as write_npy
from axopt.multipliers.formats.registry import (
    MAX_FILE_BYTES,
    Imported,
    register_importer,
    register_table_writer,
)

MAX_ARRAYS = 2000

_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)


@register_importer("npz", suffixes=(".npz",), title="NumPy archive")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read all tables of an archive, in its order.

    Raises:
        LutFormatError: If the archive is damaged, has no or more than 2,000 arrays, or one that is
            no table.
    """
    found = []
    with open_regular(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = [info for info in archive.infolist() if not info.is_dir()]
                if not 1 <= len(members) <= MAX_ARRAYS:
                    raise LutFormatError(
                        f"{path}: expected 1 to {MAX_ARRAYS} arrays, got {len(members)}."
                    )
                for info in members:
                    found.append(_table(archive, info, path, signed, named=len(members) > 1))
        except _ERRORS as error:
            if isinstance(error, LutFormatError):
                raise
            raise LutFormatError(f"{path}: damaged archive: {error}.") from error
    return found


@register_table_writer("npz", suffixes=(".npz",), title="NumPy archive")
def write(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return an archive of one array, ``table``; equal tables give equal bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        # `ZipInfo` has a fixed date
        info = zipfile.ZipInfo("table.npy")
        archive.writestr(info, write_npy(table, signed), archive.compression)
    return content.getvalue()


def _table(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    path: Path,
    signed: bool | None,
    *,
    named: bool,
) -> Imported:
    """Read one array; it has the name of the file if it is the only one."""
    name = info.filename.removesuffix(".npy")
    where = f"{path}[{name[:60]}]"
    content = member_bytes(archive, info, where, MAX_FILE_BYTES)
    found = interpret(parse_npy(content, where), where, order="numeric", signed=signed)
    return replace(found, name=name if named else "")


def member_bytes(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: object, limit: int
) -> bytes:
    """Return the content of a member of an archive.

    Raises:
        LutFormatError: If it is larger than ``limit``, encrypted, or of an unknown compression.
    """
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LutFormatError(f"{where}: expected deflate compression and no password.")
    with archive.open(info) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise LutFormatError(f"{where}: expected at most {limit} bytes, got more.")
    return content
