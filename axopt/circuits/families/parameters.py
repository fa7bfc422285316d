"""The parameters of families: checked values, texts of the command line, parts of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from axopt.circuits.netlist import MAX_BITS
from axopt.errors import CircuitError

REQUIRED: Any = object()
"""Default of a parameter that has to be given."""


@dataclass(frozen=True)
class Parameter:
    """One argument of a family; base class of the kinds of parameters.

    Attributes:
        name: The argument's name; ``bits_a`` is ``--bits-a`` on the command line.
        help: What it means, in a few words.
        default: Its value where none is given.

    Example:
        >>> Integer("bits_a", "width of the first operand", 8, low=2, high=8).checked(4)
        4
    """

    metavar: ClassVar[str] = ""

    name: str
    help: str
    default: Any = REQUIRED

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    @property
    def rule(self) -> str:
        """What a value must be."""
        raise NotImplementedError

    def checked(self, value: object) -> Any:
        """Return the value in its canonical form.

        Args:
            value: What the caller gave.

        Raises:
            CircuitError: If it breaks the `rule`.
        """
        raise NotImplementedError

    def parsed(self, text: str) -> Any:
        """Return the value that a text of the command line stands for.

        Raises:
            CircuitError: If it breaks the `rule`.
        """
        return self.checked(text)

    def in_name(self, value: Any) -> str:
        """Return the part of a multiplier's name that tells the value."""
        return f"{self.name}{value}"

    def shown(self, value: Any) -> str:
        """Return the text that `parsed` reads as the value."""
        return str(value)

    def refuse(self, value: object) -> CircuitError:
        """Return the error for a value that breaks the rule."""
        return CircuitError(f"`{self.name}` must be {self.rule}, got {_short(value)}.")


@dataclass(frozen=True)
class Integer(Parameter):
    """An integer in ``low..high``."""

    metavar = "N"

    low: int = 0
    high: int = 2 * MAX_BITS

    @property
    def rule(self) -> str:  # noqa: D102
        return f"an integer in {self.low}..{self.high}"

    def checked(self, value: object) -> int:  # noqa: D102
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise self.refuse(value)
        if not self.low <= value <= self.high:
            raise self.refuse(value)
        return int(value)

    def parsed(self, text: str) -> int:  # noqa: D102
        return self.checked(_integer(text))


@dataclass(frozen=True)
class Flag(Parameter):
    """True or False; a flag without value on the command line."""

    default: Any = False

    @property
    def rule(self) -> str:  # noqa: D102
        return "True or False"

    def checked(self, value: object) -> bool:  # noqa: D102
        if not isinstance(value, bool | np.bool_):
            raise self.refuse(value)
        return bool(value)

    def in_name(self, value: Any) -> str:  # noqa: D102
        return self.name if value else f"no_{self.name}"


@dataclass(frozen=True)
class OneOf(Parameter):
    """One of several words."""

    metavar = "NAME"

    choices: tuple[str, ...] = ()

    @property
    def rule(self) -> str:  # noqa: D102
        return f"one of {', '.join(self.choices)}"

    def checked(self, value: object) -> str:  # noqa: D102
        if not isinstance(value, str) or value not in self.choices:
            raise self.refuse(value)
        return value

    def in_name(self, value: Any) -> str:  # noqa: D102
        return str(value)


@dataclass(frozen=True)
class Constant(Parameter):
    """An integer that is added to the products, or ``"mean"``: the mean of what is left out."""

    metavar = "N"

    @property
    def rule(self) -> str:  # noqa: D102
        return "an integer in -65536..65536, or 'mean'"

    def checked(self, value: object) -> int | str:  # noqa: D102
        if value == "mean":
            return "mean"
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise self.refuse(value)
        if abs(int(value)) > 1 << 2 * MAX_BITS:
            raise self.refuse(value)
        return int(value)

    def parsed(self, text: str) -> int | str:  # noqa: D102
        return self.checked(_integer(text))


@dataclass(frozen=True)
class KeptSet(Parameter):
    """The partial products ``a_i w_j`` that are kept.

    A value is a bool array ``[i, j]``, or one word for each bit of ``a`` from the lowest, in a
    sequence or in a text with commas: ``all``, ``none``, or one digit for each bit of ``w`` from
    the lowest, 1 where the product is kept. With ``all`` and ``none`` alone, ``w`` has 8 bits.

    Example:
        >>> KeptSet("kept", "kept partial products").checked("none,01").tolist()
        [[False, False], [False, True]]
    """

    metavar = "ROWS"

    @property
    def rule(self) -> str:  # noqa: D102
        return (
            f"2..{MAX_BITS} rows, one for each bit of the first operand from the lowest: 'all',"
            f" 'none', or 2..{MAX_BITS} digits 0 and 1, one for each bit of the second"
        )

    def checked(self, value: object) -> npt.NDArray[np.bool_]:  # noqa: D102
        if isinstance(value, str):
            value = value.split(",")
        if isinstance(value, Sequence) and value and all(isinstance(row, str) for row in value):
            return self._array(self._digits([str(row).strip() for row in value], value), value)
        return self._array(value, value)

    def in_name(self, value: Any) -> str:  # noqa: D102
        rows = (value.astype(np.int64) << np.arange(value.shape[1])).sum(axis=1)
        return "k" + "".join(f"{row:02x}" for row in rows)

    def shown(self, value: Any) -> str:  # noqa: D102
        words = {0: "none", value.shape[1]: "all"}
        digits = value.astype(int).astype(str)
        return ",".join(
            words.get(row.sum(), "".join(d)) for row, d in zip(value, digits, strict=True)
        )

    def _digits(self, rows: list[str], given: object) -> list[list[bool]]:
        widths = {len(row) for row in rows if row not in ("all", "none")} or {MAX_BITS}
        if len(widths) != 1 or not all(re.fullmatch("all|none|[01]+", row) for row in rows):
            raise self.refuse(given)
        width = widths.pop()
        words = {"all": "1" * width, "none": "0" * width}
        return [[digit == "1" for digit in words.get(row, row)] for row in rows]

    def _array(self, value: object, given: object) -> npt.NDArray[np.bool_]:
        try:
            kept = np.asarray(value)
        except ValueError as error:  # rows of different lengths
            raise self.refuse(given) from error
        if kept.ndim != 2 or not all(2 <= size <= MAX_BITS for size in kept.shape):
            raise self.refuse(given)
        if kept.dtype != np.bool_ and not (
            kept.dtype.kind in "iu" and np.isin(kept, (0, 1)).all()
        ):
            raise self.refuse(given)
        return kept.astype(np.bool_)


def bits(name: str, operand: str, default: Any = MAX_BITS) -> Integer:
    """Return the parameter of an operand's width.

    Example:
        >>> bits("bits_w", "second").rule
        'an integer in 2..8'
    """
    return Integer(name, f"width of the {operand} operand", default, low=2, high=MAX_BITS)


def _integer(text: str) -> int | str:
    """Return the integer that a text states, else the text."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,9}", text) else text


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
