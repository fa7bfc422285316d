"""The set of corrections that may be used."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any, Self

from axopt.errors import ArgumentError

BY_POWER = "power"
"""Value of `Corrections.order` with which power decides between orders of similar errors."""

ORDER_BY_POWER = "order_by_power"
"""Name of that value among the corrections."""


@dataclass(frozen=True)
class Corrections:
    """The set of corrections that may be used. A layer gets those that reduce its error.

    Attributes:
        order: Swap the two operands of the multiplier. "power": of two orders whose errors differ
            by at most 5 %, use the one with less power under the layer's data; every multiplier
            then needs a gate list, see `axopt.circuits.netlist_of`.
        affine: Let any code represent zero in the activations of a signed multiplier. A symmetric
            format wastes half of its codes on the output of a ReLU.
        activation_codes: Quantise activations onto codes that the multiplier multiplies with a
            small error. The hardware must then requantise onto these codes.
        weight_codes: Do the same for weights, which costs the hardware nothing.
        mean_error: Subtract the mean error of each output channel, by way of its bias.
        gain: Scale each output channel for the least squared error.

    Example:
        >>> Corrections(activation_codes=False, order=False).names
        ('affine', 'weight_codes', 'mean_error', 'gain')

    Raises:
        ArgumentError: If ``order`` is neither a truth value nor "power".
    """

    order: bool | str = True
    affine: bool = True
    activation_codes: bool = True
    weight_codes: bool = True
    mean_error: bool = True
    gain: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.order, bool) and self.order != BY_POWER:
            raise ArgumentError(f"`order` must be a truth value or 'power', got {self.order!r}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the corrections that are allowed; "order_by_power" if power decides it."""
        names = (field.name for field in fields(self) if getattr(self, field.name))
        order = ORDER_BY_POWER if self.order == BY_POWER else "order"
        return tuple(order if name == "order" else name for name in names)

    @classmethod
    def of_names(cls, names: Collection[str]) -> Self:
        """Return the corrections with these `names`.

        Example:
            >>> Corrections.of_names(["order_by_power", "gain"]).order
            'power'
        """
        allowed: dict[str, Any] = {f.name: f.name in names for f in fields(cls)}
        if ORDER_BY_POWER in names:
            allowed["order"] = BY_POWER
        return cls(**allowed)


ALL = Corrections()
"""Every correction."""

NONE = Corrections(**dict.fromkeys(ALL.names, False))
"""No correction."""
