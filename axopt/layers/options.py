"""What the hardware of a layer does besides its products: at borders, and while it adds."""

from __future__ import annotations

from dataclasses import dataclass

from axopt.errors import ArgumentError

PADDED_TAPS = ("multiply", "skip")
OVERFLOWS = ("wrap", "saturate")

_MOST_BITS = 32


@dataclass(frozen=True)
class Accumulator:
    """The register that adds the products of an output, as the circuit gives them.

    Zero-point terms, scale and bias come behind it, where nothing overflows. It is in two's
    complement for signed circuits and without a sign for unsigned ones.

    Attributes:
        bits: Its width, 1..32.
        overflow: "wrap": the sum is taken modulo ``2**bits``. "saturate": every addition stops
            at the largest and the smallest number, in the order of the flattened filter: channel
            by channel, and the taps of a channel row by row.
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
        """The smallest and the largest number that it holds."""
        low = -(1 << (self.bits - 1)) if signed else 0
        return low, low + (1 << self.bits) - 1


@dataclass(frozen=True)
class LayerOptions:
    """How a layer is emulated, apart from its circuit.

    Attributes:
        padded_taps: "multiply": a zero that pads is multiplied like any other value, and a
            circuit with M(0, w) != 0 errs there too. "skip": it is not, and adds exactly nothing.
            Values that other padding modes than zeros put there are always multiplied.
        accumulator: The register that sums the products; None for one that never overflows.
            Gradients are those of a layer without one.
        calibrator: As in `axopt.prepare`; None for what is said there.
        weight_scales: As in `axopt.prepare`; None for what is said there.
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
