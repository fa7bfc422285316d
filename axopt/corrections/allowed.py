"""What a correction may use."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Corrections:
    """What a correction may use; each is used only where it helps.

    Attributes:
        order: Swap the operands.
        affine: Let zero be any code of the activations of a signed circuit: after a rectifier
            half of the codes of a symmetric format are never used.
        activation_codes: Quantise activations onto the codes that the circuit multiplies well:
            the hardware must round there in its requantisation.
        weight_codes: The same for weights, which costs the hardware nothing.
        mean_error: Add the mean error of each output channel to its bias.
        gain: Scale each output channel to the least squared error.
    """

    order: bool = True
    affine: bool = True
    activation_codes: bool = True
    weight_codes: bool = True
    mean_error: bool = True
    gain: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """What is allowed."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name))


ALL = Corrections()
NONE = Corrections(**dict.fromkeys(ALL.names, False))
