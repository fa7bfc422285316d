"""Import and export of one multiplier, by the suffix of the file."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.files import write_atomically
from axopt.multipliers.formats import adapt, npy, tfapprox
from axopt.multipliers.multiplier import Multiplier

_MAX_FILE_BYTES = 4 << 20  # ten times AdaPT's header


class _Format(NamedTuple):
    read: Callable[[bytes, str, bool], npt.NDArray[np.integer]]
    write: Callable[[npt.NDArray[np.int32], bool], bytes]


_FORMATS = {
    ".h": _Format(adapt.read, adapt.write),
    ".bin": _Format(tfapprox.read, tfapprox.write),
    ".npy": _Format(npy.read, npy.write),
}


def import_multiplier(
    file: str | os.PathLike[str],
    *,
    name: str | None = None,
    signed: bool,
    power_mw: float,
    area_um2: float,
    delay_ns: float,
    release: str = "user",
) -> Multiplier:
    """Read a multiplier's table from an AdaPT header, a TFApprox ``.bin`` or a ``.npy`` file.

    Args:
        file: A ``.h``, ``.bin`` or ``.npy`` file, see the modules of `axopt.multipliers.formats`.
        name: The multiplier's name, by default the file's without suffix.
        signed: Whether the operands are -128..127.
        power_mw: Power in milliwatts, which no format carries.
        area_um2: Area in square micrometres.
        delay_ns: Critical path in nanoseconds.
        release: The release to file it under.

    Raises:
        LutFormatError: If the file cannot be read or does not have its format.
        MultiplierError: If the name or a figure breaks its rule.

    Warns:
        BrokenQuadrantWarning: If a header was made by AdaPT's converter. The table is used as it
            is: that is what AdaPT computes, not what the circuit does.
    """
    file = Path(file)
    table = _format(file).read(_content(file), str(file), signed)
    if signed and file.suffix.lower() == ".h" and adapt.has_broken_quadrant(table):
        warnings.warn(
            f"{file}: products of two negative operands are M(|a|, |w|), and products with -128"
            " have the wrong sign there, as AdaPT's converter writes them; the circuit itself"
            " computes something else.",
            adapt.BrokenQuadrantWarning,
            stacklevel=2,
        )
    _check_range(table, str(file), signed)
    return Multiplier.from_table(
        file.stem if name is None else name,
        table,
        signed=signed,
        power_mw=power_mw,
        area_um2=area_um2,
        delay_ns=delay_ns,
        release=release,
        source=f"imported from {file.name}",
    )


def export_multiplier(multiplier: Multiplier, file: str | os.PathLike[str]) -> None:
    """Write a multiplier's table in the format of the file's suffix, replacing the file.

    Raises:
        LutFormatError: If the suffix is none of ``.h``, ``.bin`` and ``.npy``.
        OSError: If the file cannot be written.
    """
    file = Path(file)
    write_atomically(file, _format(file).write(multiplier.table, multiplier.signed))


def _format(file: Path) -> _Format:
    try:
        return _FORMATS[file.suffix.lower()]
    except KeyError:
        suffixes = ", ".join(_FORMATS)
        raise LutFormatError(f"{file}: the suffix must be one of {suffixes}.") from None


def _content(file: Path) -> bytes:
    try:
        with open(file, "rb") as stream:
            content = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise LutFormatError(f"{file}: cannot be read: {error.strerror}.") from error
    if len(content) > _MAX_FILE_BYTES:
        raise LutFormatError(f"{file}: expected at most {_MAX_FILE_BYTES} bytes, got more.")
    return content


def _check_range(table: npt.NDArray[np.integer], where: str, signed: bool) -> None:
    low, high = (-32768, 32767) if signed else (0, 65535)
    least, most = int(table.min()), int(table.max())
    if least < low or most > high:
        kind = "signed" if signed else "unsigned"
        raise LutFormatError(
            f"{where}: 16-bit {kind} products are {low}..{high}, got {least}..{most}."
        )
