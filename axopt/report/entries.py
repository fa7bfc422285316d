"""The small parts of a run record: layers, multipliers, trials and products that stay in float."""

from dataclasses import dataclass

from axopt.errors import ReportError
from axopt.report.rules import check_interval, check_plain_fields


@dataclass(frozen=True)
class Layer:
    """An emulated layer.

    Attributes:
        name: Name of the layer in the model.
        kind: Kind of the layer: ``"conv2d"``, ``"linear"`` and so on.
        macs: Number of its multiplications for one sample.

    Raises:
        ReportError: If a value breaks its rule.

    Example:
        >>> Layer("conv1", "conv2d", macs=9216).name
        'conv1'
    """

    name: str
    kind: str
    macs: int

    def __post_init__(self) -> None:
        check_plain_fields(self)


@dataclass(frozen=True)
class LayerOption:
    """What one layer uses.

    Attributes:
        multiplier: Key of its multiplier: ``"v1/mul8s_1L2H"``.
        swap: Whether the weight is the multiplier's first operand.

    Raises:
        ReportError: If a value breaks its rule.

    Example:
        >>> LayerOption("v1/mul8s_1L2H", swap=False).multiplier
        'v1/mul8s_1L2H'
    """

    multiplier: str
    swap: bool

    def __post_init__(self) -> None:
        check_plain_fields(self)


@dataclass(frozen=True)
class UsedMultiplier:
    """A multiplier that the search could choose, or that a point uses.

    Attributes:
        key: Its key, as in `LayerOption`.
        signed: Whether its operands are signed.
        bits_a: Width of the first operand.
        bits_w: Width of the second operand.
        power_mw: Power in milliwatts.
        power_low: Lowest power, if it is an estimate; else None.
        power_high: Highest power, if it is an estimate; else None.

    Raises:
        ReportError: If a value breaks its rule.

    Example:
        >>> UsedMultiplier("v1/mul8x4u_2UU", False, 8, 4, power_mw=0.137).bits_w
        4
    """

    key: str
    signed: bool
    bits_a: int
    bits_w: int
    power_mw: float
    power_low: float | None = None
    power_high: float | None = None

    def __post_init__(self) -> None:
        check_plain_fields(self)
        if (self.power_low is None) != (self.power_high is None):
            raise ReportError(
                "`power_low` and `power_high` must be both numbers or both null, got "
                f"{(self.power_low, self.power_high)}."
            )
        if self.power_low is not None and self.power_high is not None:
            check_interval("power_mw", (self.power_mw, self.power_low, self.power_high))


@dataclass(frozen=True)
class TrialRow:
    """One evaluation of the search.

    Attributes:
        number: Number of the trial, from 0.
        state: ``"complete"``, ``"failed"`` or ``"pruned"``.
        quality: Quality on the validation split; None if there is none.
        rel_power: Power relative to the record's reference multiplier; None if unknown.

    Raises:
        ReportError: If a value breaks its rule.

    Example:
        >>> TrialRow(0, "complete", quality=98.9, rel_power=0.25).state
        'complete'
    """

    number: int
    state: str
    quality: float | None
    rel_power: float | None

    def __post_init__(self) -> None:
        check_plain_fields(self)


@dataclass(frozen=True)
class LeftOut:
    """A product of the model that is not emulated.

    Attributes:
        name: Name of the product.
        multiplications: Number of its multiplications for one sample.

    Raises:
        ReportError: If a value breaks its rule.

    Example:
        >>> LeftOut("head.matmul", 120_000).multiplications
        120000
    """

    name: str
    multiplications: int

    def __post_init__(self) -> None:
        check_plain_fields(self)
