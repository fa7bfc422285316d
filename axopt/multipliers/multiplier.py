"""`Multiplier`: the product table and the hardware figures of one multiplier."""

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError, MultiplierError
from axopt.multipliers.functions import table_of_function
from axopt.multipliers.metrics import (
    MAX_BITS,
    PUBLISHED_NAMES,
    TABLE_SHAPE,
    ErrorMetrics,
    bits_of_shape,
    exact_table,
    product_range,
)

FIGURES = ("power_mw", "area_um2", "delay_ns")
"""Names of the hardware figures."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")


@dataclass(frozen=True, eq=False)
class Multiplier:
    """A multiplier of two operands of 2 to 8 bits each, immutable.

    Releases use the same names for different tables: `release`, `name` and `digest` together
    identify a multiplier.

    Attributes:
        release: The release of the library, such as ``"v1"``, or ``"user"``.
        name: Its name in that release: at most 100 letters, digits and ``_ . + -``.
        signed: Whether the operands are signed: of 8 bits, -128..127 instead of 0..255.
        table: ``(2**bits_a, 2**bits_w)`` int32, read-only: ``table[i, j]`` is the product of the
            i-th first operand and the j-th second operand, both in numeric order. Products have
            ``bits_a + bits_w`` bits, in two's complement if `signed`.
        power_mw: Power in milliwatts.
        area_um2: Area in square micrometres.
        delay_ns: Critical path in nanoseconds.
        source: Origin of table and figures.
        published: Error figures as published, by the names of `ErrorMetrics.published_figures`.
        intervals: Lowest and highest value of each figure that is estimated, by its name:
            ``"power_mw"``, ``"area_um2"`` or ``"delay_ns"``.

    Raises:
        MultiplierError: If a field breaks its rule.

    Example:
        >>> table = np.multiply.outer(np.arange(-128, 128), np.arange(-128, 128)) & ~3
        >>> mine = Multiplier.from_table(
        ...     "mine", table, signed=True, power_mw=0.3, area_um2=500, delay_ns=1.2
        ... )
        >>> mine.key, mine.metrics.wce, mine.is_exact
        ('user/mine', 3.0, False)
        >>> narrow = Multiplier.from_function(
        ...     lambda a, w: a * w, name="narrow", signed=True, bits_a=4, bits_w=5,
        ...     power_mw=0.1, area_um2=200, delay_ns=1.0, intervals={"power_mw": (0.08, 0.13)},
        ... )
        >>> narrow.table.shape, narrow.strides, narrow.is_exact, narrow.is_estimated
        ((16, 32), (16, 8), True, True)
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
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for argument in ("release", "name"):
            check_name(argument, getattr(self, argument))
        if not isinstance(self.signed, bool):
            raise MultiplierError(f"{self.key}: `signed` must be a bool, got {self.signed!r}.")
        for argument in FIGURES:
            value = check_figure(f"{self.key}: `{argument}`", getattr(self, argument))
            object.__setattr__(self, argument, value)
        object.__setattr__(self, "table", _checked_table(self.key, self.table, self.signed))
        object.__setattr__(self, "published", _checked_published(self.key, self.published))
        object.__setattr__(self, "intervals", self._checked_intervals())

    def _checked_intervals(self) -> dict[str, tuple[float, float]]:
        if not isinstance(self.intervals, Mapping):
            raise MultiplierError(
                f"{self.key}: `intervals` must be a mapping of figures to (low, high), got"
                f" {type(self.intervals).__name__}."
            )
        unknown = [figure for figure in self.intervals if figure not in FIGURES]
        if unknown:
            raise MultiplierError(
                f"{self.key}: `intervals` must be of {', '.join(FIGURES)}, got {unknown[0]!r}."
            )
        return {
            figure: check_interval(
                f"{self.key}: `intervals` {figure}", pair, getattr(self, figure)
            )
            for figure, pair in self.intervals.items()
        }

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
        intervals: Mapping[str, tuple[float, float]] | None = None,
    ) -> Self:
        """Make a multiplier from a product table, whose shape tells the operands' widths.

        Args:
            name: Its name.
            table: Anything that NumPy converts to a ``(2**bits_a, 2**bits_w)`` integer array, of
                2 to 8 bits each: ``table[i, j]`` is the product of the i-th first and the j-th
                second operand, both in numeric order.
            signed: Whether the operands are signed: of 8 bits, -128..127 instead of 0..255.
            power_mw: Power in milliwatts.
            area_um2: Area in square micrometres.
            delay_ns: Critical path in nanoseconds.
            release: The release to file it under.
            source: Origin of table and figures.
            intervals: Lowest and highest value of each estimated figure, by its name.

        Raises:
            MultiplierError: If an argument breaks its rule.
        """
        try:
            array = np.asarray(table)
        except ValueError as error:  # rows of different lengths
            raise MultiplierError(f"{release}/{name}: `table` is no array: {error}.") from error
        figures = (power_mw, area_um2, delay_ns)
        return cls(
            release, name, signed, array, *figures, source=source, intervals=intervals or {}
        )

    @classmethod
    def from_function(
        cls,
        f: Callable[[Any, Any], Any],
        *,
        name: str,
        signed: bool,
        bits_a: int = 8,
        bits_w: int = 8,
        power_mw: float,
        area_um2: float,
        delay_ns: float,
        release: str = "user",
        source: str = "",
        intervals: Mapping[str, tuple[float, float]] | None = None,
    ) -> Self:
        """Make a multiplier from a Python function of two integers.

        Args:
            f: Called once with two int64 arrays of the shape ``(2**bits_a, 2**bits_w)``, which
                hold all pairs of operands; it returns the products in an integer array of that
                shape. If it raises, it is called for each pair with two ints and returns an int.
            name: The multiplier's name.
            signed: Whether the operands are signed: of 8 bits, -128..127 instead of 0..255.
            bits_a: Width of the first operand, 2..8.
            bits_w: Width of the second operand, 2..8.
            power_mw: Power in milliwatts.
            area_um2: Area in square micrometres.
            delay_ns: Critical path in nanoseconds.
            release: The release to file it under.
            source: Origin of table and figures.
            intervals: Lowest and highest value of each estimated figure, by its name.

        Raises:
            MultiplierError: If an argument breaks its rule, ``f`` raises for a pair of operands,
                or it returns anything but integers that the product's bits can hold.

        Example:
            >>> def without_low_bits(a, w):
            ...     return (a & ~1) * (w & ~1)
            >>> mine = Multiplier.from_function(
            ...     without_low_bits, name="mine", signed=False, bits_a=4, bits_w=6,
            ...     power_mw=0.1, area_um2=200, delay_ns=1.0,
            ... )
            >>> mine.bits_a, mine.bits_w, int(mine.table[3, 7])
            (4, 6, 12)
        """
        check_name("release", release)
        check_name("name", name)
        return cls.from_table(
            name,
            table_of_function(f, f"{release}/{name}", signed, bits_a, bits_w),
            signed=signed,
            power_mw=power_mw,
            area_um2=area_um2,
            delay_ns=delay_ns,
            release=release,
            source=source,
            intervals=intervals,
        )

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
            dict(self.intervals),
        )

    @property
    def key(self) -> str:
        """``"release/name"``."""
        return f"{self.release}/{self.name}"

    @property
    def bits_a(self) -> int:
        """Width of the first operand, 2..8."""
        return bits_of_shape(self.table.shape)[0]

    @property
    def bits_w(self) -> int:
        """Width of the second operand, 2..8."""
        return bits_of_shape(self.table.shape)[1]

    @property
    def is_narrow(self) -> bool:
        """Whether an operand has less than 8 bits."""
        return self.table.shape != TABLE_SHAPE

    @property
    def is_estimated(self) -> bool:
        """Whether a hardware figure is an estimate."""
        return bool(self.intervals)

    @property
    def strides(self) -> tuple[int, int]:
        """Distance between the codes of neighbouring operands, of the first and the second.

        These are the least strides of the quantisers of a layer: 1 for 8 bits, 16 for 4 bits.
        """
        return 2 ** (MAX_BITS - self.bits_a), 2 ** (MAX_BITS - self.bits_w)

    @cached_property
    def code_table(self) -> npt.NDArray[np.int32]:
        """The products by 8-bit codes, which layers and kernels use; ``(256, 256)`` int32.

        Operand number i in numeric order has the code ``i * stride``, so zero is code 0, or 128
        if `signed`. Codes in between equal the code below. Products are multiplied by
        ``strides[0] * strides[1]``, as operands are. Of 8 x 8 bits, it is `table`.
        """
        if not self.is_narrow:
            return self.table
        rows, columns = self.strides
        table = self.table.repeat(rows, axis=0).repeat(columns, axis=1) * (rows * columns)
        table.setflags(write=False)
        return table

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex of the table as little-endian 16-bit integers, in C order.

        The bytes of a narrow table have the widths before them, such as ``b"4x8:"``.
        """
        return table_digest(self.table)

    @cached_property
    def metrics(self) -> ErrorMetrics:
        """The errors against the exact product of operands of the same widths."""
        return ErrorMetrics.of(self.table, self.signed)

    @cached_property
    def rank(self) -> int:
        """Rank of the table as a real matrix: the least number of separable terms."""
        return int(np.linalg.matrix_rank(self.table.astype(np.float64)))

    @property
    def is_exact(self) -> bool:
        """Whether every product of the operands is exact."""
        return self.digest == exact_digest(self.signed, self.bits_a, self.bits_w)

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
    """Return the SHA-256 in hex of a table, see `Multiplier.digest`."""
    bits_a, bits_w = bits_of_shape(table.shape)
    widths = b"" if table.shape == TABLE_SHAPE else f"{bits_a}x{bits_w}:".encode()
    return hashlib.sha256(widths + table.astype("<i4").astype("<u2").tobytes()).hexdigest()


@cache
def exact_digest(signed: bool, bits_a: int = 8, bits_w: int = 8) -> str:
    """Return the digest of the exact products."""
    return table_digest(exact_table(signed, bits_a, bits_w))


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
    if not isinstance(table, np.ndarray):
        raise MultiplierError(
            f"{key}: `table` must be an array of integers, got {type(table).__name__}."
        )
    try:
        bits = bits_of_shape(table.shape)
    except MultiplierError as error:
        raise MultiplierError(f"{key}: {error}") from None
    if table.dtype.kind not in "iu":
        raise MultiplierError(f"{key}: `table` must hold integers, got dtype {table.dtype}.")
    low, high = product_range(signed, *bits)
    least, most = int(table.min()), int(table.max())
    if least < low or most > high:
        kind = "signed" if signed else "unsigned"
        raise MultiplierError(
            f"{key}: `table` of {kind} products of {bits[0]} x {bits[1]} bits must hold"
            f" {low}..{high}, got {least}..{most}."
        )
    copy = np.array(table, dtype=np.int32, order="C")
    copy.setflags(write=False)
    return copy


def check_interval(what: str, interval: object, value: float) -> tuple[float, float]:
    """Return the interval of an estimated figure.

    Raises:
        MultiplierError: If it is no pair (low, high) of figures that holds the figure ``value``.
    """
    if not isinstance(interval, (tuple, list)) or len(interval) != 2:
        raise MultiplierError(f"{what} must be a pair (low, high), got {interval!r}.")
    low, high = (check_figure(what, bound) for bound in interval)
    if not low <= value <= high:
        raise MultiplierError(f"{what} must hold the figure {value!r}, got {low!r}..{high!r}.")
    return low, high


def _checked_published(key: str, published: Mapping[str, float]) -> dict[str, float]:
    unknown = sorted(set(published) - set(PUBLISHED_NAMES))
    if unknown:
        raise MultiplierError(
            f"{key}: `published` must be of {', '.join(PUBLISHED_NAMES)}, got {unknown[0]!r}."
        )
    return {n: check_figure(f"{key}: `published` {n}", value) for n, value in published.items()}
