"""Import of many multipliers at once: a file, a folder or a zip archive of circuits and tables."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from axopt.circuits.netlist import Netlist
from axopt.circuits.storage import SUFFIX, save_netlists
from axopt.errors import ArgumentError, AxoptError, LutFormatError
from axopt.files import as_path, open_regular, read_bytes
from axopt.multipliers import (
    IMPORTERS,
    Imported,
    Multiplier,
    add_to_library,
    read_many_tables,
)
from axopt.multipliers.formats.exchange import exchange_notes, imported_multiplier
from axopt.multipliers.formats.npz import member_bytes
from axopt.multipliers.multiplier import FIGURES

MAX_FILES = 20_000
MAX_MEMBER_BYTES = 4 << 20
MAX_ARCHIVE_BYTES = 1 << 30

_PREFERRED = (".c", ".v", ".sv", ".blif")
"""A circuit says more than a table: the first of these that can be read counts, then tables."""

_VARIANT = re.compile(r"_(?:pdk45|gen)$")
"""EvoApproxLib has the same circuit in several files: generic gates, and cells of 45 nm."""

_ODD = re.compile(r"[^A-Za-z0-9_.+-]")
_STEP = 100  # files between two lines of progress

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportedLibrary:
    """The multipliers of a file, a folder or an archive.

    Attributes:
        multipliers: The multipliers, with distinct keys.
        netlists: Gate lists by the keys of their multipliers, where files have them.
        notes: Sentences or warnings on how files were read.
        failures: One line for each multiplier that could not be read.
        merged: Number of files that hold a multiplier which another file holds too.

    Example:
        >>> ImportedLibrary((), {}, failures=("x.c: nothing",)).failures
        ('x.c: nothing',)
    """

    multipliers: tuple[Multiplier, ...]
    netlists: Mapping[str, Netlist] = field(repr=False)
    notes: tuple[str | Warning, ...] = field(default=(), repr=False)
    failures: tuple[str, ...] = ()
    merged: int = 0

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Add the multipliers and their gate lists to the library in a folder.

        Args:
            directory: The folder; it is made if it is missing.

        Raises:
            MultiplierError: If the library has a multiplier of that release and name.
            LutFormatError: If the folder holds a malformed library.
            OSError: If the folder cannot be written.
        """
        file = add_to_library(self.multipliers, directory)
        if self.netlists:
            save_netlists(file.with_name(file.stem + SUFFIX), self.netlists)


def import_library(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    signed: bool | None = None,
    power_mw: float | None = None,
    area_um2: float | None = None,
    delay_ns: float | None = None,
    release: str = "user",
    format: str | None = None,
    repair: bool = False,
) -> ImportedLibrary:
    """Read all multipliers of a file, a folder with its subfolders, or a zip archive.

    Files of a folder whose names differ in the suffix only (or ``_pdk45``) hold one multiplier:
    the first that can be read counts, circuits before tables. Multipliers with equal tables and
    equal names, or equal figures, are merged: EvoApproxLib's folders can be read as they are.
    Names that are taken get a number.

    Args:
        path: The file, folder or archive. In a folder, files of other suffixes are ignored.
        name: The multiplier's name, if there is one only.
        signed: Whether operands are -128..127; None to follow the files.
        power_mw: Power in mW; of a folder, that of multipliers whose files state none. By default
            it is estimated from their gate lists, with an interval, as are area and delay.
        area_um2: Area in um2, in the same way.
        delay_ns: Delay in ns, in the same way.
        release: The release to file the multipliers under.
        format: Name of the importer; by default it follows from each suffix.
        repair: Whether to rebuild the quadrant that AdaPT's converter breaks.

    Returns:
        The multipliers, and what could not be read.

    Raises:
        AxoptError: If a single file cannot be read, with the reason.
        LutFormatError: If nothing in a folder or archive can be read.
        ArgumentError: If there is no importer ``format``, or ``name`` would name several.

    Example:
        >>> from axopt.multipliers import export_multiplier, load_library
        >>> _ = Path("tables").mkdir()
        >>> export_multiplier(load_library()["mul8u_2HH"], "tables/one.npy")
        >>> _ = Path("tables/two.npy").write_text("no table")
        >>> found = import_library("tables", power_mw=0.3, area_um2=500, delay_ns=1.2)
        >>> [m.key for m in found.multipliers], found.failures
        (['user/one'], ('tables/two.npy: not a .npy file.',))
    """
    path = as_path(path, "path")
    if not path.exists():
        raise LutFormatError(f"{path}: no such file or folder.")
    given = {"power_mw": power_mw, "area_um2": area_um2, "delay_ns": delay_ns}
    collection = _Collection(release, {n: v for n, v in given.items() if v is not None}, name)
    with _unpacked(path, collection) as (root, shown):
        single = root == path and not path.is_dir()
        groups = [[path]] if single else _groups(root, collection)
        if name is not None and len(groups) > 1:
            raise ArgumentError(f"`name` must name one multiplier, {path} has {len(groups)}.")
        for group in _read_groups(groups, signed, format, repair):
            collection.add(group, root, shown, single=single)
    found = collection.result()
    if not found.multipliers:
        reasons = f"; the first: {found.failures[0]}" if found.failures else "."
        raise LutFormatError(f"{path}: no multiplier among {len(groups)} files{reasons}")
    return found


@contextmanager
def _unpacked(path: Path, collection: _Collection) -> Iterator[tuple[Path, str]]:
    """Yield the folder or file to read, and how messages call it."""
    if path.suffix.lower() != ".zip" or path.is_dir():
        yield path, str(path)
        return
    with tempfile.TemporaryDirectory(prefix="axopt-import-") as name:
        try:
            with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
                _extract(archive, path, Path(name), collection)
        except OSError as error:
            raise LutFormatError(f"{path}: cannot be read: {error.strerror}.") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            if isinstance(error, AxoptError):
                raise
            raise LutFormatError(f"{path}: damaged archive: {error}.") from error
        yield Path(name), str(path)


def _extract(archive: zipfile.ZipFile, path: Path, folder: Path, collection: _Collection) -> None:
    """Write the members that an importer reads into a folder; none may lead out of it."""
    suffixes = _suffixes()
    total = 0
    members = [
        m for m in archive.infolist() if PurePosixPath(m.filename).suffix.lower() in suffixes
    ]
    _check_count(len(members), path)
    for info in members:
        where = f"{path}[{info.filename[:80]}]"
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        kind = stat.S_IFMT(info.external_attr >> 16)
        if ".." in parts or parts[0].startswith("/") or kind not in (0, stat.S_IFREG):
            collection.failures.append(f"{where}: refused: its name leads out of the archive.")
            continue
        try:
            content = member_bytes(archive, info, where, MAX_MEMBER_BYTES)
        except LutFormatError as error:
            collection.failures.append(str(error))
            continue
        total += len(content)
        if total > MAX_ARCHIVE_BYTES:
            raise LutFormatError(f"{path}: holds more than {MAX_ARCHIVE_BYTES >> 20} MiB.")
        try:
            _write_member(folder.joinpath(*parts), content)
        except (OSError, RecursionError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            reason = getattr(error, "strerror", None) or "too many folders"
            collection.failures.append(f"{where}: cannot be unpacked: {reason}.")


def _write_member(file: Path, content: bytes) -> None:
    """Write a file that is not there yet: a second member of a name is another multiplier."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as stream:
        stream.write(content)


def _groups(root: Path, collection: _Collection) -> list[list[Path]]:
    """Return the files of a folder that importers read, those of one multiplier together."""
    suffixes = _suffixes()
    groups: dict[tuple[str, str], list[Path]] = {}
    count = 0
    seen: set[tuple[str, bytes]] = set()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if file.suffix.lower() in suffixes and not name.startswith("."):
                count += 1
                groups.setdefault((folder, _VARIANT.sub("", file.stem)), []).append(file)
        _check_count(count, root)
    distinct = []
    for files in groups.values():
        files.sort(key=lambda file: (_rank(file), len(file.stem), file.name))
        content = (files[0].name, _digest(files[0]))
        if content in seen:  # EvoApproxLib has a circuit in each subset where it is optimal
            collection.merged += 1
        else:
            seen.add(content)
            distinct.append(files)
    return distinct


def _digest(file: Path) -> bytes:
    """Return a digest of a file; of one that cannot be read, that of its path."""
    try:
        content = read_bytes(file, limit=MAX_MEMBER_BYTES)
    except OSError:
        content = os.fsencode(file)
    return hashlib.sha256(content).digest()


def _check_count(count: int, where: object) -> None:
    if count > MAX_FILES:
        raise LutFormatError(f"{where}: more than {MAX_FILES:,} files.")


def _rank(file: Path) -> int:
    suffix = file.suffix.lower()
    return _PREFERRED.index(suffix) if suffix in _PREFERRED else len(_PREFERRED)


def _suffixes() -> set[str]:
    importers = (IMPORTERS[name] for name in IMPORTERS.names())
    return {suffix for importer in importers for suffix in importer.suffixes if suffix}


@dataclass
class _Group:
    """The files of one multiplier, and what was read from one of them."""

    files: Sequence[Path]
    file: Path
    found: list[Imported] | AxoptError


def _read_groups(
    groups: Sequence[Sequence[Path]], signed: bool | None, format: str | None, repair: bool
) -> Iterator[_Group]:
    """Read of each group the first file that can be read; a failure is that of its first file."""
    for start in range(0, len(groups), _STEP):
        if start:
            _logger.info("read %d of %d multipliers", start, len(groups))
        chosen = groups[start : start + _STEP]
        results = [_Group(files, files[0], LutFormatError("")) for files in chosen]
        todo = list(range(len(chosen)))
        attempt = 0
        while todo:
            files = [chosen[i][attempt] for i in todo]
            read = read_many_tables(files, signed=signed, format=format, repair=repair)
            for i, file, found in zip(todo, files, read, strict=True):
                if attempt == 0 or not isinstance(found, AxoptError):
                    results[i] = _Group(chosen[i], file, found)
            attempt += 1
            todo = [
                i
                for i in todo
                if isinstance(results[i].found, AxoptError) and attempt < len(chosen[i])
            ]
        yield from results


class _Collection:
    """Multipliers as they are found, without duplicates."""

    def __init__(self, release: str, given: Mapping[str, float], name: str | None) -> None:
        self.failures: list[str] = []
        self.merged = 0
        self._release, self._given, self._name = release, given, name
        self._multipliers: dict[str, Multiplier] = {}
        self._by_table: dict[tuple[bool, str], list[Multiplier]] = {}
        self._netlists: dict[str, Netlist] = {}
        self._notes: list[str | Warning] = []

    def add(self, group: _Group, root: Path, shown: str, *, single: bool) -> None:
        """Add what was read of a group of files.

        Raises:
            AxoptError: If it is a single file that cannot be read.
        """
        try:
            if isinstance(group.found, AxoptError):
                raise group.found
            for imported in group.found:
                self._add(imported, group.file, several=len(group.found) > 1, single=single)
        except AxoptError as error:
            if single:
                raise
            self.failures.append(str(error).replace(str(root), shown))
            return
        notes = [note for imported in group.found for note in imported.notes]
        for note in notes:
            moved = str(note).replace(str(root), shown)
            self._notes.append(type(note)(moved) if isinstance(note, Warning) else moved)

    def _add(self, imported: Imported, file: Path, *, several: bool, single: bool) -> None:
        if self._name is not None and several:
            raise LutFormatError(f"{file}: holds several multipliers, but `name` names one.")
        name = self._name or imported.name or file.stem
        if not single:
            name = _ODD.sub("_", name).lstrip("_.+-")[:90] or "unnamed"
        figures = (
            {**imported.figures, **self._given} if single else {**self._given, **imported.figures}
        )
        multiplier = imported_multiplier(
            imported,
            file,
            name=self._free(name, imported),
            release=self._release,
            figures=figures,
        )
        same = self._by_table.setdefault((multiplier.signed, multiplier.digest), [])
        for other in same:
            costs = [[getattr(m, f) for f in FIGURES] for m in (multiplier, other)]
            equal = multiplier.table.shape == other.table.shape
            if equal and (other.name == name or costs[0] == costs[1]):
                self.merged += 1
                return
        same.append(multiplier)
        self._multipliers[multiplier.key] = multiplier
        if single:
            self._notes += exchange_notes(multiplier, file)
        if isinstance(imported.netlist, Netlist):
            self._netlists[multiplier.key] = imported.netlist

    def _free(self, name: str, imported: Imported) -> str:
        """Return a name that no multiplier with another table has."""
        number, free = 1, name
        while f"{self._release}/{free}" in self._multipliers:
            other = self._multipliers[f"{self._release}/{free}"]
            if other.signed == imported.signed and np.array_equal(other.table, imported.table):
                break  # they are merged
            number += 1
            free = f"{name}_{number}"
        return free

    def result(self) -> ImportedLibrary:
        """Return all that was found."""
        return ImportedLibrary(
            tuple(self._multipliers.values()),
            self._netlists,
            tuple(self._notes),
            tuple(self.failures),
            self.merged,
        )
