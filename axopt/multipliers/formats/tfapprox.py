"""``.bin`` files of TFApprox: 65,536 little-endian 16-bit products and nothing else.

The product of bit patterns a and b lies at position ``a << 8 | b``: the first operand is the high
byte. TFApprox itself has unsigned multipliers only. Signed ones are written in the same way, with
operands and products in two's complement.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axopt.errors import LutFormatError
from axopt.multipliers.formats.bit_patterns import swap_halves
from axopt.multipliers.formats.interpretation import interpret, is_far_nearer
from axopt.multipliers.formats.registry import (
    Imported,
    check_full_width,
    read_table_file,
    register_importer,
    register_table_writer,
)
from axopt.multipliers.metrics import TABLE_SHAPE

_BYTES = 2 * 65536


@register_importer("tfapprox", suffixes=(".bin",), title="TFApprox table")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the table of a file, which does not say whether its operands are signed.

    Big-endian products and operands in numeric order are recognised by their errors.

    Raises:
        LutFormatError: If the file does not have exactly 131,072 bytes.
    """
    content = read_table_file(path)
    if len(content) != _BYTES:
        raise LutFormatError(f"{path}: expected {_BYTES} bytes, got {len(content)}.")
    little, big = (_interpreted(content, path, signed, order) for order in ("<u2", ">u2"))
    return [big if is_far_nearer(big, little) else little]


def _interpreted(content: bytes, path: Path, signed: bool | None, dtype: str) -> Imported:
    note = f"{path}: the bytes of products are recognised as big-endian."
    return interpret(
        np.frombuffer(content, dtype).reshape(TABLE_SHAPE),
        path,
        order="patterns",
        bit_patterns=True,
        any_order=True,
        signed=signed,
        notes=(note,) if dtype == ">u2" else (),
    )


@register_table_writer("tfapprox", suffixes=(".bin",), title="TFApprox table")
def write(table: npt.NDArray[np.int32], signed: bool) -> bytes:
    """Return the file's content.

    Raises:
        LutFormatError: If the table is not one of 8 x 8 bits.
    """
    check_full_width(table, "a TFApprox table")
    return (swap_halves(table) if signed else table).astype("<i4").astype("<u2").tobytes()
