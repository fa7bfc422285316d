"""The set of corrections that may be used."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Corrections:
    """The set of corrections that may be used. A layer gets those that reduce its error.

    Attributes:
        order: Swap the two operands of the multiplier.
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
    """

    order: bool = True
    affine: bool = True
    activation_codes: bool = True
    weight_codes: bool = True
    mean_error: bool = True
    gain: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the corrections that are allowed."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name))


ALL = Corrections()
"""Every correction."""

NONE = Corrections(**dict.fromkeys(ALL.names, False))
"""No correction."""
