"""Import and export of one multiplier, in a registered format."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from axopt.errors import AxoptError, LutFormatError, MissingFigureError
from axopt.files import as_path, write_atomically
from axopt.multipliers.formats.interpretation import TABLE_SHAPES, is_table_shape, repaired
from axopt.multipliers.formats.registry import (
    IMPORTERS,
    TABLE_WRITERS,
    GateList,
    Imported,
    Importer,
    TableWarning,
    TableWriter,
    check_range,
)
from axopt.multipliers.metrics import PUBLISHED_NAMES
from axopt.multipliers.multiplier import FIGURES, Multiplier, as_multiplier, table_digest
from axopt.registry import Registry, blamed_on

_Format = TypeVar("_Format", Importer, TableWriter)


def import_multiplier(
    file: str | os.PathLike[str],
    *,
    name: str | None = None,
    signed: bool | None = None,
    power_mw: float | None = None,
    area_um2: float | None = None,
    delay_ns: float | None = None,
    release: str = "user",
    format: str | None = None,
    repair: bool = False,
) -> Multiplier:
    """Read a multiplier from a file of a registered format.

    axopt reads circuits (Verilog, BLIF, C models) and tables (``.npy``, ``.npz``, ``.csv``,
    ``.txt``, ``.h`` of AdaPT, ``.bin`` of TFApprox). Rows of a table are the first operand and
    columns the second, in numeric order: -128..127 or 0..255. Tables in another order or of
    another kind than their format says are recognised by their errors, reordered and reported.
    `axopt.circuits.netlist_of` knows the gates of a circuit that was read.

    Args:
        file: The file.
        name: The multiplier's name; by default that in the file, else the file's without suffix.
        signed: Whether the operands are -128..127; None takes the kind that the file states, or
            the one whose mean absolute error is smaller.
        power_mw: Power in milliwatts; by default what the file states. Figures that a circuit
            lacks are estimated from its gates and have an interval; those of a table must be
            given.
        area_um2: Area in square micrometres.
        delay_ns: Critical path in nanoseconds.
        release: The release to file it under.
        format: Name of the importer; by default it follows from the suffix.
        repair: Whether to rebuild the products of two negative operands that AdaPT's converter
            broke, where the other products determine them.

    Returns:
        The multiplier.

    Raises:
        LutFormatError: If the file cannot be read or does not hold one table of its format, or if
            its table cannot be repaired.
        MultiplierError: If the name or a figure breaks its rule; `MissingFigureError` if power,
            area or delay of a table is neither in the file nor given.
        ArgumentError: If there is no importer ``format``.

    Warns:
        TableWarning: Where the importer had to recognise how the table is laid out, figures are
            estimated, or a bundled multiplier has the table with its operands exchanged.
        BrokenQuadrantWarning: If a header was made by AdaPT's converter, unless ``repair``. The
            table is used as it is: that is what AdaPT computes, not what the multiplier does.

    Example:
        >>> from axopt import load_library
        >>> export_multiplier(load_library()["mul8s_1L2H"], "mine.npy")
        >>> import_multiplier("mine.npy", power_mw=0.3, area_um2=500, delay_ns=1.2).key
        'user/mine'
    """
    file = as_path(file, "file")
    found = read_tables(file, signed=signed, format=format, repair=repair)
    if len(found) != 1:
        raise LutFormatError(f"{file}: expected one table, got {len(found)}.")
    imported = found[0]
    given = {"power_mw": power_mw, "area_um2": area_um2, "delay_ns": delay_ns}
    figures = {**imported.figures, **{n: v for n, v in given.items() if v is not None}}
    own_name = imported.name or file.stem
    multiplier = imported_multiplier(
        imported, file, name=own_name if name is None else name, release=release, figures=figures
    )
    notes = [*imported.notes, *estimate_notes(multiplier, file), *exchange_notes(multiplier, file)]
    for note in notes:
        warning = note if isinstance(note, Warning) else TableWarning(note)
        warnings.warn(warning, stacklevel=2)
    return multiplier


def imported_multiplier(
    imported: Imported, file: Path, *, name: str, release: str, figures: Mapping[str, float]
) -> Multiplier:
    """Make a multiplier of what an importer found.

    Args:
        imported: What it found in the file.
        file: The file.
        name: The multiplier's name.
        release: The release to file it under.
        figures: Known figures of hardware and errors. Of a gate list, absent ones are estimated.

    Raises:
        MissingFigureError: If there is no gate list and power, area or delay is absent.
        MultiplierError: If the name or a figure breaks its rule.
    """
    hardware = {figure: figures[figure] for figure in FIGURES if figure in figures}
    published = {figure: value for figure, value in figures.items() if figure not in FIGURES}
    source = f"imported from {file.name}"
    if isinstance(imported.netlist, GateList):
        return imported.netlist.to_multiplier(
            name, release=release, figures=hardware, published=published, source=source
        )
    missing = [figure for figure in FIGURES if figure not in figures]
    if missing:
        names = " and no ".join(f"`{figure}`" for figure in missing)
        raise MissingFigureError(f"{file}: states no {names}; give what is missing.")
    return Multiplier(
        release=release,
        name=name,
        signed=imported.signed,
        table=np.asarray(imported.table, np.int32),
        power_mw=hardware["power_mw"],
        area_um2=hardware["area_um2"],
        delay_ns=hardware["delay_ns"],
        source=source,
        published=published,
    )


def estimate_notes(multiplier: Multiplier, file: Path) -> list[str]:
    """Return a note that names the figures of a multiplier that are estimates, if there are."""
    *others, last = multiplier.intervals or [""]
    if not last:
        return []
    named = f"{', '.join(others)} and {last}" if others else last
    return [f"{file}: {named} {'are' if others else 'is'} estimated from the gates."]


def exchange_notes(multiplier: Multiplier, file: Path) -> list[str]:
    """Return a note if a bundled multiplier has the table with its operands exchanged."""
    from axopt.multipliers.library import load_library  # it imports formats

    bundled, signed = load_library(narrow=True), multiplier.signed
    exchanged = table_digest(multiplier.table.T)
    if exchanged == multiplier.digest or bundled.with_table(multiplier.digest, signed=signed):
        return []
    keys = bundled.with_table(exchanged, signed=signed)
    return [f"{file}: the table is that of {keys[0]} with its operands exchanged."] if keys else []


def read_tables(
    file: str | os.PathLike[str],
    *,
    signed: bool | None = None,
    format: str | None = None,
    repair: bool = False,
) -> list[Imported]:
    """Read all product tables of a file, with the figures that it states.

    Args:
        file: The file.
        signed: Whether the operands are -128..127; None as for `import_multiplier`.
        format: Name of the importer; by default it follows from the suffix.
        repair: As for `import_multiplier`.

    Returns:
        The tables, in the order of the file.

    Raises:
        LutFormatError: If the file cannot be read or does not have its format.
        ArgumentError: If there is no importer ``format``.

    Example:
        >>> from axopt import load_library
        >>> export_multiplier(load_library()["mul8u_2HH"], "mine.bin")
        >>> [(found.signed, found.table.shape) for found in read_tables("mine.bin")]
        [(False, (256, 256))]
    """
    [found] = read_many_tables(
        [as_path(file, "file")], signed=signed, format=format, repair=repair
    )
    if isinstance(found, AxoptError):
        raise found
    return found


def read_many_tables(
    files: Sequence[Path],
    *,
    signed: bool | None = None,
    format: str | None = None,
    repair: bool = False,
) -> list[list[Imported] | AxoptError]:
    """Read the tables of several files like `read_tables`, together where that is faster.

    Args:
        files: The files.
        signed: Whether the operands are -128..127; None as for `import_multiplier`.
        format: Name of the importer of all; by default it follows from each suffix.
        repair: As for `import_multiplier`.

    Returns:
        For each file its tables, or the error that says why it has none.

    Raises:
        ArgumentError: If there is no importer ``format``.

    Example:
        >>> [error] = read_many_tables([Path("missing.npy")])
        >>> str(error)
        'missing.npy: cannot be read: No such file or directory.'
    """
    results: dict[Path, list[Imported] | AxoptError] = {}
    by_importer: dict[str, list[Path]] = {}
    for file in files:
        try:
            by_importer.setdefault(_format(IMPORTERS, file, format).name, []).append(file)
        except LutFormatError as error:
            results[file] = error
    for name, chosen in by_importer.items():
        for file, found in zip(chosen, _read(IMPORTERS[name], chosen, signed), strict=True):
            try:
                results[file] = _accepted(found, name, file, signed, repair)
            except AxoptError as error:
                results[file] = error
    return [results[file] for file in files]


def _read(
    importer: Importer, files: Sequence[Path], signed: bool | None
) -> Sequence[Sequence[Imported] | AxoptError]:
    """Return what an importer returns for each file, or the error that it raises."""
    if importer.read_many is not None and len(files) > 1:
        try:
            with blamed_on("importer", importer.name):
                return importer.read_many(files, signed)
        except AxoptError as error:
            return [error] * len(files)
    return [_read_one(importer, file, signed) for file in files]


def _read_one(
    importer: Importer, file: Path, signed: bool | None
) -> Sequence[Imported] | AxoptError:
    try:
        with blamed_on("importer", importer.name):
            return importer.read(file, signed)
    except AxoptError as error:
        return error
    except OSError as error:
        refusal = LutFormatError(f"{file}: cannot be read: {error.strerror}.")
        refusal.__cause__ = error
        return refusal


def _accepted(
    found: object, importer: str, file: Path, signed: bool | None, repair: bool
) -> list[Imported]:
    """Return what an importer found in a file, if it may be so.

    Raises:
        AxoptError: If it is an error, or breaks a rule.
    """
    if isinstance(found, AxoptError):
        raise found
    if not isinstance(found, list | tuple) or not all(isinstance(f, Imported) for f in found):
        raise LutFormatError(
            f"{file}: the importer {importer!r} must return a list of `Imported`, "
            f"got {found!r:.80}."
        )
    for imported in found:
        _check(imported, file, signed)
    return [repaired(imported, file) for imported in found] if repair else list(found)


def export_multiplier(
    multiplier: Multiplier, file: str | os.PathLike[str], *, format: str | None = None
) -> None:
    """Write a multiplier's table in a registered format, replacing the file.

    Args:
        multiplier: The multiplier; its figures are not written.
        file: The file.
        format: Name of the table writer; by default it follows from the suffix.

    Raises:
        LutFormatError: If no table writer has the suffix, or the format cannot hold the table.
        ArgumentError: If there is no table writer ``format``, or ``multiplier`` is none.
        OSError: If the file cannot be written.

    Example:
        >>> from axopt import load_library
        >>> export_multiplier(load_library()["mul8s_1L2H"], "mine.bin")
        >>> Path("mine.bin").stat().st_size
        131072
    """
    as_multiplier(multiplier)
    file = as_path(file, "file")
    writer = _format(TABLE_WRITERS, file, format)
    with blamed_on("table writer", writer.name):
        content = writer.write(multiplier.table, multiplier.signed)
    if not isinstance(content, bytes):
        raise LutFormatError(
            f"{file}: the table writer {writer.name!r} must return bytes, "
            f"got {type(content).__name__}."
        )
    write_atomically(file, content)


def describe_formats(registry: Registry[_Format]) -> str:
    """Return the formats of a registry with their titles and suffixes, for help.

    Example:
        >>> describe_formats(TABLE_WRITERS)
        'adapt: AdaPT header (.h); matrix: text matrix (.csv, .txt); npy: NumPy array (.npy); \
npz: NumPy archive (.npz); tfapprox: TFApprox table (.bin); tsv: text matrix with tabs (.tsv)'
    """
    formats = (registry[name] for name in registry.names())
    return "; ".join(f"{f.name}: {f.title} ({', '.join(f.suffixes)})" for f in formats)


def _format(registry: Registry[_Format], file: Path, name: str | None) -> _Format:
    """Return the format of that name, else that of the file's suffix."""
    if name is not None:
        return registry[name]
    formats = [registry[name] for name in registry.names()]
    suffix = file.suffix.lower()
    fitting = [format for format in formats if suffix in format.suffixes]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(repr(format.name) for format in fitting)
        raise LutFormatError(f"{file}: several formats have this suffix, say {names}.")
    raise LutFormatError(f"{file}: the suffix must be one of {_suffixes(formats)}.")


def _suffixes(formats: Iterable[Importer | TableWriter]) -> str:
    return ", ".join(
        sorted({suffix for format in formats for suffix in format.suffixes if suffix})
    )


def _check(imported: Imported, file: Path, signed: bool | None) -> None:
    """Refuse what an importer must not return.

    Raises:
        LutFormatError: If it has another kind than was asked for, an unknown figure, a table of
            another shape, of other than integers, or of values beyond 16 bits, or a gate list of
            another table.
    """
    table = imported.table
    if not isinstance(table, np.ndarray):
        raise LutFormatError(f"{file}: expected a NumPy array, got {type(table).__name__}.")
    if signed is not None and imported.signed != signed:
        kind = "signed" if imported.signed else "unsigned"
        raise LutFormatError(f"{file}: holds a table of {kind} operands.")
    if not is_table_shape(table.shape) or table.dtype.kind not in "iu":
        raise LutFormatError(
            f"{file}: expected integers of shape {TABLE_SHAPES}, got {table.dtype} {table.shape}."
        )
    unknown = sorted(set(imported.figures) - {*FIGURES, *PUBLISHED_NAMES})
    if unknown:
        raise LutFormatError(f"{file}: states an unknown figure {unknown[0]!r}.")
    check_range(table, file, imported.signed, imported.bits_a + imported.bits_w)
    gates = imported.netlist
    if isinstance(gates, GateList) and not np.array_equal(gates.table(), table):
        raise LutFormatError(f"{file}: the gate list computes another table than that given.")
