"""Properties of a layer's hardware besides its multiplier: borders and accumulators."""

from __future__ import annotations

from dataclasses import dataclass

from axopt.errors import ArgumentError

PADDED_TAPS = ("multiply", "skip")
"""What hardware does with padded zeros, see `LayerOptions`."""

OVERFLOWS = ("wrap", "saturate")
"""What an accumulator does when a sum leaves its range, see `Accumulator`."""

_MOST_BITS = 32


@dataclass(frozen=True)
class Accumulator:
    """The register that sums the products of an output.

    It holds two's complement numbers for signed multipliers and unsigned numbers for unsigned
    ones. Zero-point sums, scale and bias are applied behind it, where nothing overflows.

    Attributes:
        bits: Width in bits, 1..32.
        overflow: "wrap": the sum is taken modulo ``2**bits``. "saturate": every addition stops
            at the largest and the smallest number. Additions are in the order of the flattened
            filter: channel by channel, and the taps of a channel row by row.

    Raises:
        ArgumentError: If a value breaks its rule.

    Example:
        >>> Accumulator(16).bounds(signed=True)
        (-32768, 32767)
    """

    bits: int
    overflow: str = "wrap"

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 1 <= self.bits <= _MOST_BITS:
            raise ArgumentError(f"`bits` must be in 1..{_MOST_BITS}, got {self.bits!r}.")
        if self.overflow not in OVERFLOWS:
            raise ArgumentError(
                f"`overflow` must be one of {', '.join(OVERFLOWS)}, got {self.overflow!r}."
            )

    def bounds(self, *, signed: bool) -> tuple[int, int]:
        """Return the smallest and the largest number that it holds."""
        low = -(1 << (self.bits - 1)) if signed else 0
        return low, low + (1 << self.bits) - 1


@dataclass(frozen=True)
class LayerOptions:
    """How a layer is emulated, apart from its multiplier.

    Attributes:
        padded_taps: "multiply": a padded zero is multiplied like any other value, so a multiplier
            with M(0, w) != 0 makes errors there too. "skip": a padded zero is not multiplied and
            adds exactly 0. Values of other padding modes are always multiplied.
        accumulator: The register that sums the products; None if no sum overflows. Gradients
            ignore overflow.
        calibrator: Calibrator of the layer; None for the argument of `axopt.prepare`.
        weight_scales: "per-channel" or "per-tensor"; None for the argument of `axopt.prepare`.

    Raises:
        ArgumentError: If a value breaks its rule.

    Example:
        >>> LayerOptions(padded_taps="skip", accumulator=Accumulator(20)).accumulator.bits
        20
    """

    padded_taps: str = "multiply"
    accumulator: Accumulator | None = None
    calibrator: str | None = None
    weight_scales: str | None = None

    def __post_init__(self) -> None:
        if self.padded_taps not in PADDED_TAPS:
            raise ArgumentError(
                f"`padded_taps` must be one of {', '.join(PADDED_TAPS)}, got {self.padded_taps!r}."
            )
        if self.accumulator is not None and not isinstance(self.accumulator, Accumulator):
            raise ArgumentError(
                "`accumulator` must be an Accumulator or None, got "
                f"{type(self.accumulator).__name__}."
            )
