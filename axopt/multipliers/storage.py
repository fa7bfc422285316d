"""The format of a library folder: pairs ``NAME.csv`` (figures) and ``NAME.npz`` (tables).

The CSV has one row per multiplier. `REQUIRED_COLUMNS` must be there. Published figures
(`PUBLISHED_NAMES`) and ``source`` may be absent or empty. So may ``bits_a`` and ``bits_w``, the
widths of the operands (8), and ``power_mw_low``, ``power_mw_high`` and so on, the intervals of
estimated figures. Other columns are ignored.

The npz has one member per distinct table. Its name is ``s`` (signed) or ``u`` (unsigned) and the
first 16 hex digits of the table's digest. It holds ``(2, 2**bits_a, 2**bits_w)`` uint8: the low
and the high byte of (table - exact product) modulo 65,536, which compresses better than the table.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError, MultiplierError
from axopt.files import read_bytes, write_atomically, write_text_atomically
from axopt.multipliers.formats.npy import parse_npy
from axopt.multipliers.metrics import (
    MAX_BITS,
    MIN_BITS,
    PUBLISHED_NAMES,
    bits_of_shape,
    exact_table,
)
from axopt.multipliers.multiplier import (
    FIGURES,
    Multiplier,
    check_figure,
    check_interval,
    check_name,
    table_digest,
)

REQUIRED_COLUMNS = ("release", "name", "signed", *FIGURES, "table_sha256")
WRITTEN_COLUMNS = (*REQUIRED_COLUMNS, *PUBLISHED_NAMES, "source")
WIDTH_COLUMNS = ("bits_a", "bits_w")
"""Written if a multiplier is narrow."""

INTERVAL_COLUMNS = tuple(f"{figure}_{end}" for figure in FIGURES for end in ("low", "high"))
"""Written if a figure is an estimate."""

_WIDTHS = tuple(str(bits) for bits in range(MIN_BITS, MAX_BITS + 1))
_MAX_MEMBER_BYTES = 2 * 65536 + 4096  # the planes and an npy header
_MAX_CSV_BYTES = 16 << 20
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)
_HEX_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True, eq=False)
class Entry:
    """One row of a library. Its `multiplier` is built, and its digest checked, on first access."""

    release: str
    name: str
    signed: bool
    power_mw: float
    area_um2: float
    delay_ns: float
    digest: str
    source: str
    published: dict[str, float]
    tables: Path
    bits_a: int = MAX_BITS
    bits_w: int = MAX_BITS
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.release}/{self.name}"

    @cached_property
    def multiplier(self) -> Multiplier:
        """The multiplier with its table.

        Raises:
            LutFormatError: If the table is missing, damaged or of another digest.
        """
        return Multiplier(
            release=self.release,
            name=self.name,
            signed=self.signed,
            table=_read_table(self),
            power_mw=self.power_mw,
            area_um2=self.area_um2,
            delay_ns=self.delay_ns,
            source=self.source,
            published=self.published,
            intervals=self.intervals,
        )


def read_directory(directory: Path) -> list[Entry]:
    """Read the rows of all CSV files of a folder, in the order of file names and rows.

    Raises:
        LutFormatError: If there is no CSV file, one is malformed or lacks its npz, or two rows
            have the same release and name.
    """
    files = sorted(directory.glob("*.csv"))
    if not files:
        raise LutFormatError(f"{directory}: not a multiplier library, expected at least one .csv.")
    entries: dict[str, Entry] = {}
    for file in files:
        for entry in _read_csv(file):
            if entry.key in entries:
                raise LutFormatError(f"{file}: {entry.key} occurs twice in the library.")
            entries[entry.key] = entry
    return list(entries.values())


def write_pair(directory: Path, stem: str, multipliers: Iterable[Multiplier]) -> None:
    """Write ``stem.npz``, then ``stem.csv``. A crash between the two leaves no entry.

    Raises:
        OSError: If the directory cannot be written.
    """
    multipliers = list(multipliers)
    write_atomically(directory / f"{stem}.npz", npz_bytes(multipliers))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _columns(multipliers), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(multiplier) for multiplier in multipliers)
    write_text_atomically(directory / f"{stem}.csv", text.getvalue())


def _columns(multipliers: Iterable[Multiplier]) -> list[str]:
    """Return the columns to write: optional ones where a multiplier needs them."""
    multipliers = list(multipliers)
    columns = list(WRITTEN_COLUMNS)
    if any(multiplier.is_narrow for multiplier in multipliers):
        columns += WIDTH_COLUMNS
    if any(multiplier.is_estimated for multiplier in multipliers):
        columns += INTERVAL_COLUMNS
    return columns


def _row(multiplier: Multiplier) -> dict[str, str]:
    """Return the CSV row of a multiplier; `repr` writes floats that read back equal."""
    figures = {column: repr(getattr(multiplier, column)) for column in FIGURES}
    published = {
        column: repr(multiplier.published[column])
        for column in PUBLISHED_NAMES
        if column in multiplier.published
    }
    row = {
        "release": multiplier.release,
        "name": multiplier.name,
        "signed": str(int(multiplier.signed)),
        **figures,
        "table_sha256": multiplier.digest,
        **published,
        "source": multiplier.source,
    }
    if multiplier.is_narrow:
        row |= {column: str(getattr(multiplier, column)) for column in WIDTH_COLUMNS}
    for figure, (low, high) in multiplier.intervals.items():
        row |= {f"{figure}_low": repr(low), f"{figure}_high": repr(high)}
    return row


def npz_bytes(multipliers: Iterable[Multiplier]) -> bytes:
    planes = {_member(m.signed, m.digest): _error_planes(m.table, m.signed) for m in multipliers}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for member, array in planes.items():
            npy = io.BytesIO()
            np.save(npy, array, allow_pickle=False)
            # `ZipInfo` has a fixed date: equal libraries give equal files
            archive.writestr(zipfile.ZipInfo(f"{member}.npy"), npy.getvalue(), archive.compression)
    return content.getvalue()


def _member(signed: bool, digest: str) -> str:
    return ("s" if signed else "u") + digest[:16]


def _error_planes(table: npt.NDArray[np.int32], signed: bool) -> npt.NDArray[np.uint8]:
    error = (table - exact_table(signed, *bits_of_shape(table.shape))) & 0xFFFF
    return np.stack([error & 0xFF, error >> 8]).astype(np.uint8)


def _table_of_planes(planes: npt.NDArray[np.uint8], signed: bool) -> npt.NDArray[np.int32]:
    error = planes[0].astype(np.int32) | planes[1].astype(np.int32) << 8
    products = (exact_table(signed, *bits_of_shape(error.shape)) + error).astype(np.uint16)
    table: npt.NDArray[np.int32] = (products.view(np.int16) if signed else products).astype(
        np.int32
    )
    return table


def _read_table(entry: Entry) -> npt.NDArray[np.int32]:
    member = _member(entry.signed, entry.digest)
    where = f"{entry.tables}[{member}]"
    shape = (2, 2**entry.bits_a, 2**entry.bits_w)
    planes = parse_npy(_member_bytes(entry.tables, member, where), where, shape=shape)
    if planes.dtype != np.uint8:
        raise LutFormatError(f"{where}: expected dtype uint8, got {planes.dtype}.")
    table = _table_of_planes(planes.astype(np.uint8), entry.signed)
    actual = table_digest(table)
    if actual != entry.digest:
        raise LutFormatError(
            f"{where}: the table of {entry.key} must have digest {entry.digest}, got {actual}."
        )
    return table


def _member_bytes(tables: Path, member: str, where: str) -> bytes:
    """Return the content of an npz member, of at most `_MAX_MEMBER_BYTES`."""
    try:
        with zipfile.ZipFile(tables) as archive:
            info = archive.getinfo(f"{member}.npy")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise LutFormatError(f"{where}: expected deflate compression.")
            with archive.open(info) as file:
                content = file.read(_MAX_MEMBER_BYTES + 1)
    except KeyError:
        raise LutFormatError(f"{where}: the table is missing.") from None
    except _ARCHIVE_ERRORS as error:
        raise LutFormatError(f"{where}: damaged archive: {error}.") from error
    if len(content) > _MAX_MEMBER_BYTES:
        raise LutFormatError(f"{where}: expected at most {_MAX_MEMBER_BYTES} bytes, got more.")
    return content


def _read_csv(file: Path) -> list[Entry]:
    tables = file.with_suffix(".npz")
    if not tables.is_file():
        raise LutFormatError(f"{file}: its tables are missing, expected {tables.name} beside it.")
    try:
        text = read_bytes(file, limit=_MAX_CSV_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        missing = [c for c in REQUIRED_COLUMNS if c not in (reader.fieldnames or ())]
        if missing:
            raise LutFormatError(f"{file}: column `{missing[0]}` is missing.")
        return [_entry(row, f"{file}:{reader.line_num}", tables) for row in reader]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise LutFormatError(f"{file}: not a readable UTF-8 CSV file: {error}.") from error


def _entry(row: dict[str, str | None], where: str, tables: Path) -> Entry:
    if None in row:
        raise LutFormatError(f"{where}: the row has more cells than the header.")
    columns = (*WRITTEN_COLUMNS, *WIDTH_COLUMNS, *INTERVAL_COLUMNS)
    cells = {column: row.get(column) or "" for column in columns}
    try:
        check_name("release", cells["release"])
        check_name("name", cells["name"])
        figures = {column: _number(cells, column) for column in FIGURES}
        published = {c: _number(cells, c) for c in PUBLISHED_NAMES if cells[c]}
        intervals = {f: _interval(cells, f, figures[f]) for f in FIGURES if _has(cells, f)}
        bits_a, bits_w = (_width(cells, column) for column in WIDTH_COLUMNS)
    except MultiplierError as error:
        raise LutFormatError(f"{where}: {error}") from error
    if cells["signed"] not in ("0", "1"):
        raise LutFormatError(f"{where}: `signed` must be 0 or 1, got {cells['signed']!r}.")
    digest = cells["table_sha256"]
    if len(digest) != 64 or not _HEX_DIGITS.issuperset(digest):
        raise LutFormatError(
            f"{where}: `table_sha256` must be 64 lower-case hex digits, got {digest!r}."
        )
    return Entry(
        release=cells["release"],
        name=cells["name"],
        signed=cells["signed"] == "1",
        digest=digest,
        source=cells["source"],
        published=published,
        tables=tables,
        intervals=intervals,
        bits_a=bits_a,
        bits_w=bits_w,
        **figures,
    )


def _has(cells: dict[str, str], figure: str) -> bool:
    """Return whether a row has an interval of a figure, or half of one."""
    return bool(cells[f"{figure}_low"] or cells[f"{figure}_high"])


def _interval(cells: dict[str, str], figure: str, value: float) -> tuple[float, float]:
    bounds = (_number(cells, f"{figure}_low"), _number(cells, f"{figure}_high"))
    return check_interval(f"`{figure}_low` and `{figure}_high`", bounds, value)


def _width(cells: dict[str, str], column: str) -> int:
    if cells[column] not in ("", *_WIDTHS):
        raise MultiplierError(
            f"`{column}` must be {MIN_BITS}..{MAX_BITS} bits, got {cells[column]!r}."
        )
    return int(cells[column] or MAX_BITS)


def _number(cells: dict[str, str], column: str) -> float:
    try:
        value = float(cells[column])
    except ValueError:
        raise MultiplierError(f"`{column}` must be a number, got {cells[column]!r}.") from None
    return check_figure(f"`{column}`", value)
