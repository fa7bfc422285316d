"""`MultiplierLibrary`: multipliers by name, with filters, in a folder of CSV and npz files."""

import difflib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path

from axopt.errors import (
    ArgumentError,
    LutFormatError,
    MultiplierError,
    RunExistsError,
    UnknownMultiplierError,
)
from axopt.files import as_path
from axopt.multipliers.metrics import MAX_BITS, MIN_BITS, ErrorMetrics
from axopt.multipliers.multiplier import Multiplier, as_multiplier, exact_digest
from axopt.multipliers.storage import Entry, read_directory, write_pair

DEFAULT_RELEASE = "v1"
METRIC_NAMES = tuple(field.name for field in fields(ErrorMetrics))

_logger = logging.getLogger(__name__)

_loaded: dict[Path, None] = {}
"""Folders of loaded libraries, in the order of their last loading."""


class MultiplierLibrary(Mapping[str, Multiplier]):
    """An immutable mapping of keys ``"release/name"`` to multipliers, in the order of the files.

    A bare name stands for release ``v1`` if that release has it, else for the only release that
    has it. A table is read, and compared with its digest, when its multiplier is first accessed.

    Args:
        multipliers: Multipliers with distinct keys.

    Raises:
        MultiplierError: If two multipliers have the same key.
        ArgumentError: If ``multipliers`` holds anything else.

    Example:
        >>> library = load_library()
        >>> len(library), "mul8s_1L2H" in library
        (99, True)
        >>> library["mul8s_1L2H"].power_mw
        0.301
        >>> [m.name for m in library.select(signed=True, pareto="mae", release="v1").values()][:3]
        ['mul8s_1KV8', 'mul8s_1KVA', 'mul8s_1KVB']
    """

    def __init__(self, multipliers: Iterable[Multiplier | Entry] = ()) -> None:
        self._items: dict[str, Multiplier | Entry] = {}
        for item in _checked(multipliers):
            if item.key in self._items:
                raise MultiplierError(f"{item.key} is in the library already.")
            self._items[item.key] = item

    def __getitem__(self, name: str) -> Multiplier:
        """Return the multiplier of a name or key.

        Raises:
            UnknownMultiplierError: If there is none, or if several releases but not ``v1`` have
                that name; the message lists near misses. Also if the name is no text.
            LutFormatError: If its table is damaged.
        """
        return _multiplier(self._items[self._resolve(name)])

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and bool(self._resolve(name))
        except UnknownMultiplierError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"MultiplierLibrary({len(self)} multipliers)"

    def select(
        self,
        *,
        names: Iterable[str] | None = None,
        signed: bool | None = None,
        release: str | None = None,
        pareto: str | None = None,
        degenerate: bool = False,
        bits_a: int | None = None,
        bits_w: int | None = None,
    ) -> "MultiplierLibrary":
        """Return the multipliers that pass every filter, in the order of the library.

        Args:
            names: Names or keys to keep. A degenerate multiplier that is named is kept.
            signed: True keeps the signed multipliers, False the unsigned ones.
            release: The release to keep.
            pareto: A metric of `ErrorMetrics`. Keeps, for each kind and each pair of operand
                widths separately, the Pareto front of power and the absolute value of the metric.
                Of equal tables with equal power only the first is kept.
            degenerate: Whether to keep multipliers whose output is constant.
            bits_a: The width of the first operand to keep, 2..8; None for every width.
            bits_w: The width of the second operand to keep.

        Returns:
            A library of the multipliers that are kept.

        Raises:
            ArgumentError: If `pareto` is not a metric, `names` is no sequence or a single string,
                no multiplier has `release`, or a width is not 2..8.
            UnknownMultiplierError: If one of `names` is unknown.
        """
        kept = dict(self._items)
        if release is not None:
            _check_text("release", release)
            kept = {key: item for key, item in kept.items() if item.release == release}
            if not kept:
                known = ", ".join(sorted({item.release for item in self._items.values()}))
                raise ArgumentError(f"`release` must be one of {known}, got {release!r}.")
        if names is not None:
            wanted = self._resolve_all(names)
            kept = {key: item for key, item in kept.items() if key in wanted}
        if signed is not None:
            kept = {key: item for key, item in kept.items() if item.signed == signed}
        for argument, bits in (("bits_a", bits_a), ("bits_w", bits_w)):
            if bits is not None:
                _check_bits(argument, bits)
                kept = {key: m for key, m in kept.items() if getattr(m, argument) == bits}
        if not degenerate and names is None:
            kept = {key: item for key, item in kept.items() if not _multiplier(item).is_degenerate}
        if pareto is not None:
            optimal = _pareto_keys([_multiplier(item) for item in kept.values()], pareto)
            kept = {key: item for key, item in kept.items() if key in optimal}
        return MultiplierLibrary(kept.values())

    def exact(self, signed: bool) -> Multiplier:
        """Return the exact 8 x 8 multiplier, whose power is 1 on the scale of relative power.

        Args:
            signed: Whether its operands are signed.

        Returns:
            The exact one of 8 x 8 bits of this library, of release ``v1`` if that has
            one. A library without one gets the bundled one and a logged warning: its figures are
            of 45 nm and do not compare with those of another technology.
        """
        digest = exact_digest(signed)
        found = [i for i in self._items.values() if i.signed == signed and i.digest == digest]
        if not found:
            bundled = load_library().exact(signed)
            kind = "signed" if signed else "unsigned"
            _logger.warning(
                "the library has no exact %s multiplier; power is relative to the bundled %s"
                " (%.3f mW at 45 nm)",
                kind,
                bundled.key,
                bundled.power_mw,
            )
            return bundled
        return _multiplier(min(found, key=lambda item: item.release != DEFAULT_RELEASE))

    def aliases(self, name: str) -> list[str]:
        """Return the keys of all multipliers with the same table, including ``name``'s own.

        Args:
            name: Name or key of a multiplier.

        Raises:
            UnknownMultiplierError: If there is no multiplier ``name``.
        """
        own = self._items[self._resolve(name)]
        return self.with_table(own.digest, signed=own.signed)

    def with_table(self, digest: str, *, signed: bool) -> list[str]:
        """Return the keys of all multipliers with a table.

        Args:
            digest: The `Multiplier.digest` of the table.
            signed: Whether its operands are signed.
        """
        return [
            key
            for key, item in self._items.items()
            if item.signed == signed and item.digest == digest
        ]

    def with_multiplier(self, multiplier: Multiplier) -> "MultiplierLibrary":
        """Return a library with one more multiplier.

        Args:
            multiplier: The multiplier, which comes last.

        Raises:
            MultiplierError: If its key is taken.
            ArgumentError: If it is no `Multiplier`.
        """
        as_multiplier(multiplier)
        return MultiplierLibrary([*self._items.values(), multiplier])

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write the library to a folder, which `load_library` reads.

        Args:
            directory: The folder; it is made if it is missing.

        Raises:
            RunExistsError: If the directory holds a library already.
            OSError: If the directory cannot be written.
        """
        directory = as_path(directory, "directory")
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.glob("*.csv")):
            raise RunExistsError(f"{directory} holds a multiplier library already.")
        write_pair(directory, "library", self.values())

    def _resolve(self, name: str) -> str:
        """Return the key of a name or key."""
        if not isinstance(name, str):
            raise UnknownMultiplierError(
                "`name` must be the name of a multiplier, such as 'mul8s_1L2H' or "
                f"'v1/mul8s_1L2H', got {type(name).__name__}."
            )
        if name in self._items:
            return name
        keys = [key for key, item in self._items.items() if item.name == name]
        default = f"{DEFAULT_RELEASE}/{name}"
        if default in keys:
            return default
        if len(keys) > 1:
            raise UnknownMultiplierError(f"{name!r} is ambiguous: say {' or '.join(keys)}.")
        if not keys:
            raise UnknownMultiplierError(self._unknown(name))
        return keys[0]

    def _resolve_all(self, names: Iterable[str]) -> set[str]:
        if isinstance(names, str) or not isinstance(names, Iterable):
            given = f"the string {names!r}" if isinstance(names, str) else type(names).__name__
            raise ArgumentError(f"`names` must be a sequence of names, got {given}.")
        return {self._resolve(name) for name in names}

    def _unknown(self, name: str) -> str:
        """Return the message for an unknown name, with the nearest keys."""
        message = f"{name!r} is not in the library of {len(self)} multipliers"
        if self is load_library() and name in load_library(narrow=True):
            return f"{message}; `load_library(narrow=True)` has it."
        nearest = difflib.get_close_matches(str(name), _spellings(self._items), n=4, cutoff=0.6)
        return f"{message}; did you mean {', '.join(nearest)}?" if nearest else f"{message}."


def load_library(
    path: str | os.PathLike[str] | None = None, *, narrow: bool = False
) -> MultiplierLibrary:
    """Load the bundled EvoApproxLib multipliers, or a library from a folder.

    Args:
        path: A folder of pairs ``NAME.csv`` (figures) and ``NAME.npz`` (tables); None for the
            bundled library.
        narrow: Whether the bundled library is to have, besides its 99 multipliers of 8 x 8 bits,
            its 390 unsigned ones of 8 x 2 to 8 x 7 and 7 x 7 bits. A folder is read as a whole.

    Returns:
        The library. Tables are read later, when they are accessed.

    Raises:
        LutFormatError: If the folder is not a library, or one of its CSV files is malformed.

    Example:
        >>> load_library()
        MultiplierLibrary(99 multipliers)
        >>> load_library(narrow=True)["mul8x4u_2UU"].table.shape
        (256, 16)
        >>> load_library().select(names=["mul8s_1L2H"]).save("saved")
        >>> list(load_library("saved"))
        ['v1/mul8s_1L2H']
    """
    if path is None:
        return _bundled(narrow)
    directory = as_path(path, "path")
    if not directory.is_dir():
        raise LutFormatError(f"{directory}: not a directory, expected a multiplier library.")
    library = MultiplierLibrary(read_directory(directory))
    folder = directory.resolve()
    _loaded.pop(folder, None)  # the last one comes last
    _loaded[folder] = None
    return library


def loaded_directories() -> list[Path]:
    """Return the folders that libraries were loaded from in this process, the last one first.

    Other files of a library are looked for there, such as gate lists.

    Example:
        >>> load_library().select(names=["mul8s_1L2H"]).save("loaded")
        >>> _ = load_library("loaded")
        >>> loaded_directories()[0] == Path("loaded").resolve()
        True
    """
    return list(reversed(_loaded))


def add_to_library(
    multiplier: Multiplier | Sequence[Multiplier], directory: str | os.PathLike[str]
) -> Path:
    """Add a multiplier, or several, to the library in a folder.

    What is added gets files of its own: an interrupted write cannot damage other entries.

    Args:
        multiplier: The multiplier, or a sequence of at least one.
        directory: The folder; it is made if it is missing.

    Returns:
        The ``.csv`` file of what was added.

    Raises:
        MultiplierError: If the library has a multiplier of that release and name.
        LutFormatError: If the folder holds a malformed library.
        OSError: If the folder cannot be written.

    Example:
        >>> add_to_library(load_library()["mul8s_1L2H"], "mine").name
        'v1@mul8s_1L2H.csv'
        >>> list(load_library("mine"))
        ['v1/mul8s_1L2H']
    """
    several = isinstance(multiplier, Sequence) and not isinstance(multiplier, str)
    added = [as_multiplier(m) for m in (multiplier if several else (multiplier,))]  # type: ignore[union-attr]
    if not added:
        raise ArgumentError("`multiplier` must be at least one multiplier, got an empty sequence.")
    directory = as_path(directory, "directory")
    directory.mkdir(parents=True, exist_ok=True)
    known = load_library(directory)._items.values() if any(directory.glob("*.csv")) else ()
    MultiplierLibrary([*known, *added])  # refuses a key that occurs twice
    # "@" is in no name, so no two keys share a file
    others = f"@{len(added) - 1}" if len(added) > 1 else ""
    stem = f"{added[0].release}@{added[0].name}{others}"
    write_pair(directory, stem, added)
    return directory / f"{stem}.csv"


def bundled_directory() -> Path:
    """Return the folder of the bundled library: the installed one, or that of a checkout.

    Example:
        >>> bundled_directory().name
        'multiplier_lib'
    """
    package = Path(__file__).resolve().parents[1]
    installed, checkout = package / "multiplier_lib", package.parent / "multiplier_lib"
    return installed if installed.is_dir() else checkout


@cache
def _bundled(narrow: bool) -> MultiplierLibrary:
    if narrow:
        return load_library(bundled_directory())
    everything = _bundled(True)
    return MultiplierLibrary(
        item for item in everything._items.values() if item.bits_a == item.bits_w == MAX_BITS
    )


def _checked(multipliers: object) -> Iterator[Multiplier | Entry]:
    """Yield the multipliers of a library, once they are known to be such.

    Raises:
        ArgumentError: If one is none, or they are not in a sequence.
    """
    if isinstance(multipliers, str | bytes) or not isinstance(multipliers, Iterable):
        raise ArgumentError(
            f"`multipliers` must be a sequence of multipliers, got {type(multipliers).__name__}."
        )
    for item in multipliers:
        if not isinstance(item, Multiplier | Entry):
            raise ArgumentError(
                f"`multipliers` must be multipliers, got one of type {type(item).__name__}."
            )
        yield item


def _check_bits(argument: str, value: object) -> None:
    if type(value) is not int or not MIN_BITS <= value <= MAX_BITS:
        raise ArgumentError(f"`{argument}` must be in {MIN_BITS}..{MAX_BITS}, got {value!r}.")


def _check_text(argument: str, value: object) -> None:
    if not isinstance(value, str):
        raise ArgumentError(f"`{argument}` must be a text, got {type(value).__name__}.")


def _multiplier(item: Multiplier | Entry) -> Multiplier:
    return item.multiplier if isinstance(item, Entry) else item


def _spellings(keys: Iterable[str]) -> list[str]:
    """Return all keys and bare names, among which near misses are looked for."""
    keys = list(keys)
    return keys + sorted({key.partition("/")[2] for key in keys})


def _pareto_keys(multipliers: list[Multiplier], metric: str) -> set[str]:
    """Return the keys of the Pareto front of power and the absolute value of a metric."""
    _check_text("pareto", metric)
    if metric not in METRIC_NAMES:
        raise ArgumentError(f"`pareto` must be one of {', '.join(METRIC_NAMES)}, got {metric!r}.")
    optimal: set[str] = set()
    for group in dict.fromkeys((m.signed, m.bits_a, m.bits_w) for m in multipliers):
        kind = [m for m in multipliers if (m.signed, m.bits_a, m.bits_w) == group]
        points = [(m.power_mw, abs(getattr(m.metrics, metric))) for m in kind]
        seen: set[tuple[float, str]] = set()
        for multiplier, point in zip(kind, points, strict=True):
            identity = (multiplier.power_mw, multiplier.digest)
            if identity not in seen and not any(_dominates(other, point) for other in points):
                optimal.add(multiplier.key)
            seen.add(identity)
    return optimal


def _dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a != b and a[0] <= b[0] and a[1] <= b[1]
