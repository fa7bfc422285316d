"""From the gates that a reader built to the multiplier that it returns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from axopt.circuits.builder import ZERO, NetlistBuilder
from axopt.circuits.formats.bit_vectors import BitVector
from axopt.circuits.netlist import MAX_BITS
from axopt.errors import CircuitError, LutFormatError
from axopt.multipliers import Imported
from axopt.multipliers.formats.interpretation import interpret

MIN_BITS = 2

_NAME = re.compile(r"mul(\d{1,3})(?:x(\d{1,3}))?(?:([us])e?)?(?:_|$)", re.IGNORECASE)


def widths_in_name(name: str) -> tuple[int, int] | None:
    """Return the widths of the operands A and B in a name of EvoApproxLib's manner.

    Example:
        >>> widths_in_name("mul8x5u_1F9"), widths_in_name("mul8s_1L2H"), widths_in_name("mine")
        ((8, 5), (8, 8), None)
    """
    match = _NAME.match(name)
    return None if match is None else (int(match[1]), int(match[2] or match[1]))


def kind_in_name(name: str) -> bool | None:
    """Return whether a name of EvoApproxLib's manner says signed; None if it does not say.

    Example:
        >>> kind_in_name("mul8x5u_1F9"), kind_in_name("mul8s_1L2H"), kind_in_name("mine")
        (False, True, None)
    """
    match = _NAME.match(name)
    return None if match is None or not match[3] else match[3].lower() == "s"


def check_width(where: object, operand: str, bits: int) -> None:
    """Refuse operands that are too wide or too narrow.

    Raises:
        LutFormatError: If ``bits`` is not in 2..8.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise LutFormatError(
            f"{where}: operand `{operand}` has {bits} bits; operands of {MIN_BITS} to {MAX_BITS}"
            " bits are read."
        )


def order_note(where: object, first: str, second: str) -> tuple[str, ...]:
    """Return a note that tells which operand is the first, if that could surprise."""
    if (first.lower(), second.lower()) != tuple(sorted((first.lower(), second.lower()))):
        return (f"{where}: rows of the table are the first operand, `{first}`.",)
    return ()


def imported_circuit(
    build: NetlistBuilder,
    product: BitVector,
    where: object,
    *,
    name: str,
    figures: Mapping[str, float],
    declared: bool | None = None,
    signed: bool | None = None,
    notes: Sequence[str] = (),
) -> Imported:
    """Return the multiplier whose product has these bits, with its gate list.

    Args:
        build: The builder of the gates.
        product: The bits of the product.
        where: The file, for messages.
        name: The multiplier's name in the file.
        figures: What the file states.
        declared: Whether the file declares its operands as signed; None if only the name may say.
        signed: Whether the user says so.
        notes: What the user should see.

    Raises:
        LutFormatError: If products need more bits than both operands have, or there are too many
            gates.
    """
    bits = len(build.a) + len(build.w)
    outputs = [product.bit(place) for place in range(bits)]
    try:
        _check_excess(build, product, outputs, where)
        netlist = build.netlist(outputs)
    except CircuitError as error:
        raise LutFormatError(f"{where}: {error}") from error
    found = interpret(
        replace(netlist, signed=False).table(),
        where,
        order="patterns",
        bit_patterns=True,
        declared=kind_in_name(name) if declared is None else declared,
        signed=signed,
        figures=figures,
        notes=notes,
        name=name,
    )
    return replace(found, netlist=replace(netlist, signed=found.signed))


def _check_excess(
    build: NetlistBuilder, product: BitVector, outputs: list[int], where: object
) -> None:
    """Refuse products whose bits above the last output are neither zero nor copies of the sign."""
    excess = {*product.low[len(outputs) :], product.above}
    if excess <= {ZERO} or excess <= {outputs[-1]}:
        return
    for expected in (ZERO, outputs[-1]):
        differs = ZERO
        for bit in excess:
            differs = build.or_(differs, build.xor(bit, expected))
        if not np.any(replace(build.netlist([differs]), signed=False).table()):
            return
    raise LutFormatError(
        f"{where}: products of {len(build.a)} x {len(build.w)} bits must have {len(outputs)} bits,"
        " these have more."
    )
