"""`Multiplier`: the product table and the hardware figures of one 8 x 8-bit multiplier."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError, MultiplierError
from axopt.multipliers.metrics import PUBLISHED_NAMES, TABLE_SHAPE, ErrorMetrics, exact_table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")


@dataclass(frozen=True, eq=False)
class Multiplier:
    """An 8 x 8-bit multiplier, immutable.

    Releases use the same names for different tables: `release`, `name` and `digest` together
    identify a multiplier.

    Attributes:
        release: The release of the library, such as ``"v1"``, or ``"user"``.
        name: Its name in that release: at most 100 letters, digits and ``_ . + -``.
        signed: Whether the operands are -128..127 instead of 0..255.
        table: ``(256, 256)`` int32, read-only: ``table[i, j]`` is the product of the i-th first
            operand and the j-th second operand, both in numeric order. Products have 16 bits, in
            two's complement if `signed`.
        power_mw: Power in milliwatts.
        area_um2: Area in square micrometres.
        delay_ns: Critical path in nanoseconds.
        source: Origin of table and figures.
        published: Error figures as published, by the names of `ErrorMetrics.published_figures`.

    Raises:
        MultiplierError: If a field breaks its rule.

    Example:
        >>> table = np.multiply.outer(np.arange(-128, 128), np.arange(-128, 128)) & ~3
        >>> mine = Multiplier.from_table(
        ...     "mine", table, signed=True, power_mw=0.3, area_um2=500, delay_ns=1.2
        ... )
        >>> mine.key, mine.metrics.wce, mine.is_exact
        ('user/mine', 3.0, False)
    """

    release: str
    name: str
    signed: bool
    table: npt.NDArray[np.int32] = field(repr=False)
    power_mw: float
    area_um2: float
    delay_ns: float
    source: str = field(default="", repr=False)
    published: Mapping[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for argument in ("release", "name"):
            check_name(argument, getattr(self, argument))
        if not isinstance(self.signed, bool):
            raise MultiplierError(f"{self.key}: `signed` must be a bool, got {self.signed!r}.")
        for argument in ("power_mw", "area_um2", "delay_ns"):
            value = check_figure(f"{self.key}: `{argument}`", getattr(self, argument))
            object.__setattr__(self, argument, value)
        object.__setattr__(self, "table", _checked_table(self.key, self.table, self.signed))
        object.__setattr__(self, "published", _checked_published(self.key, self.published))

    @classmethod
    def from_table(
        cls,
        name: str,
        table: npt.ArrayLike,
        *,
        signed: bool,
        power_mw: float,
        area_um2: float,
        delay_ns: float,
        release: str = "user",
        source: str = "",
    ) -> Self:
        """Make a multiplier from a product table.

        Args:
            name: Its name.
            table: Anything that NumPy converts to a ``(256, 256)`` integer array:
                ``table[i, j]`` is the product of the i-th first and the j-th second operand.
            signed: Whether the operands are -128..127 instead of 0..255.
            power_mw: Power in milliwatts.
            area_um2: Area in square micrometres.
            delay_ns: Critical path in nanoseconds.
            release: The release to file it under.
            source: Origin of table and figures.

        Raises:
            MultiplierError: If an argument breaks its rule.
        """
        try:
            array = np.asarray(table)
        except ValueError as error:  # rows of different lengths
            raise MultiplierError(f"{release}/{name}: `table` is no array: {error}.") from error
        return cls(release, name, signed, array, power_mw, area_um2, delay_ns, source=source)

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles call the constructor, because NumPy drops the read-only flag.
        return type(self), (
            self.release,
            self.name,
            self.signed,
            self.table,
            self.power_mw,
            self.area_um2,
            self.delay_ns,
            self.source,
            dict(self.published),
        )

    @property
    def key(self) -> str:
        """``"release/name"``."""
        return f"{self.release}/{self.name}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex of the table as little-endian 16-bit integers, in C order."""
        return table_digest(self.table)

    @cached_property
    def metrics(self) -> ErrorMetrics:
        """The errors against the exact product."""
        return ErrorMetrics.of(self.table, self.signed)

    @cached_property
    def rank(self) -> int:
        """Rank of the table as a real matrix: the least number of separable terms."""
        return int(np.linalg.matrix_rank(self.table.astype(np.float64)))

    @property
    def is_exact(self) -> bool:
        """Whether every product is exact."""
        return self.digest == exact_digest(self.signed)

    @cached_property
    def is_degenerate(self) -> bool:
        """Whether all products are equal."""
        return bool((self.table == self.table[0, 0]).all())

    @cached_property
    def is_commutative(self) -> bool:
        """Whether the operands can be swapped."""
        return np.array_equal(self.table, self.table.T)


def as_multiplier(value: object) -> Multiplier:
    """Return what a caller gave as the argument ``multiplier``.

    Raises:
        ArgumentError: If it is no `Multiplier`.
    """
    if not isinstance(value, Multiplier):
        raise ArgumentError(
            f"`multiplier` must be a Multiplier, got {type(value).__name__}; "
            "`load_library()[name]` is one."
        )
    return value


def table_digest(table: npt.NDArray[np.integer]) -> str:
    """Return the SHA-256 in hex of the table as little-endian 16-bit integers, in C order."""
    return hashlib.sha256(table.astype("<i4").astype("<u2").tobytes()).hexdigest()


@cache
def exact_digest(signed: bool) -> str:
    """Return the digest of the exact products."""
    return table_digest(exact_table(signed))


def check_name(argument: str, value: object) -> None:
    """Check a release or name, which becomes part of a key and of a file name.

    Raises:
        MultiplierError: If ``value`` is not a string of the allowed characters.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise MultiplierError(
            f"`{argument}` must be 1 to 100 of the characters A-Z a-z 0-9 _ . + - and start with"
            f" a letter or digit, got {value!r}."
        )


def check_figure(what: str, value: object) -> float:
    """Return a hardware or error figure as a float.

    Raises:
        MultiplierError: If ``value`` is not a finite number >= 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise MultiplierError(f"{what} must be a number, got {value!r}.")
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise MultiplierError(f"{what} must be finite and >= 0, got {value!r}.")
    return number


def _checked_table(key: str, table: object, signed: bool) -> npt.NDArray[np.int32]:
    """Return a read-only int32 copy of a valid table."""
    if not isinstance(table, np.ndarray) or table.shape != TABLE_SHAPE:
        shape = getattr(table, "shape", type(table).__name__)
        raise MultiplierError(f"{key}: `table` must be a (256, 256) array, got {shape}.")
    if table.dtype.kind not in "iu":
        raise MultiplierError(f"{key}: `table` must hold integers, got dtype {table.dtype}.")
    low, high = (-32768, 32767) if signed else (0, 65535)
    least, most = int(table.min()), int(table.max())
    if least < low or most > high:
        kind = "signed" if signed else "unsigned"
        raise MultiplierError(
            f"{key}: `table` of {kind} products must hold {low}..{high}, got {least}..{most}."
        )
    copy = np.array(table, dtype=np.int32, order="C")
    copy.setflags(write=False)
    return copy


def _checked_published(key: str, published: Mapping[str, float]) -> dict[str, float]:
    unknown = sorted(set(published) - set(PUBLISHED_NAMES))
    if unknown:
        raise MultiplierError(
            f"{key}: `published` must be of {', '.join(PUBLISHED_NAMES)}, got {unknown[0]!r}."
        )
    return {n: check_figure(f"{key}: `published` {n}", value) for n, value in published.items()}
