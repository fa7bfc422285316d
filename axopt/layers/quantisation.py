"""Affine quantisation onto operand indices.

A real value x has the index ``clamp(round(x * inverse) + zero_point, 0, 255)``, with inverse the
float32 nearest to 1 / scale and rounding half to even, as torch's fake_quantize operators do. An
index i stands for ``scale * (i - zero_point)``. A signed circuit multiplies
``i - 128``, so its scheme is symmetric: the zero point is 128. An unsigned circuit multiplies i
itself; its zero point is wherever the range puts it. In both, real zero has an index of its own.

.. [Jacob2018] B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
   Integer-Arithmetic-Only Inference", CVPR 2018.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from axopt.errors import ArgumentError

SIGNED_ZERO_POINT = 128
"""Index of the value 0 of a signed operand."""

_SMALLEST_SCALE = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, eq=False)
class QuantParams:
    """Scale and zero point of one tensor, or of each channel of a weight.

    Attributes:
        scale: ``()`` or ``(channels,)`` float32, positive and finite.
        zero_point: Same shape, int64 in 0..255.
    """

    scale: Tensor
    zero_point: Tensor

    def __post_init__(self) -> None:
        if self.scale.shape != self.zero_point.shape or self.scale.ndim > 1:
            raise ArgumentError(
                "`scale` and `zero_point` must have the same shape () or (channels,), got "
                f"{tuple(self.scale.shape)} and {tuple(self.zero_point.shape)}."
            )
        if not bool((torch.isfinite(self.scale) & (self.scale > 0)).all()):
            raise ArgumentError(f"`scale` must be positive and finite, got {self.scale.tolist()}.")
        if not bool(((self.zero_point >= 0) & (self.zero_point <= 255)).all()):
            raise ArgumentError(f"`zero_point` must be in 0..255, got {self.zero_point.tolist()}.")

    @classmethod
    def from_range(cls, low: Tensor, high: Tensor, *, signed: bool) -> "QuantParams":
        """The parameters whose representable range covers [low, high] and zero.

        Args:
            low: ``()`` or ``(channels,)`` smallest values.
            high: Largest values, same shape.
            signed: Whether the operand is signed (symmetric scheme) or unsigned (affine).

        An empty range (low == high == 0) gets the scale 1.

        Raises:
            ArgumentError: If a bound is not finite or ``low > high``.
        """
        low, high = low.double(), high.double()
        if not bool((torch.isfinite(low) & torch.isfinite(high) & (low <= high)).all()):
            raise ArgumentError(
                "`low` and `high` must be finite and ordered, got "
                f"{low.tolist()} and {high.tolist()}."
            )
        low, high = low.clamp(max=0), high.clamp(min=0)
        if signed:
            scale = _usable_scale(torch.maximum(-low, high) / 127)
            return cls(scale, torch.full_like(scale, SIGNED_ZERO_POINT, dtype=torch.int64))
        scale = _usable_scale((high - low) / 255)
        zero_point = torch.round(-low / scale.double()).clamp(0, 255).long()
        return cls(scale, zero_point)

    def to(self, device: torch.device) -> "QuantParams":
        """The same parameters on ``device``; these themselves if they are there."""
        if self.scale.device == device:
            return self
        return QuantParams(self.scale.to(device), self.zero_point.to(device))

    @property
    def per_channel(self) -> bool:
        return self.scale.ndim == 1

    def _shaped(self, ndim: int) -> tuple[Tensor, Tensor]:
        """Scale and zero point, broadcastable against a tensor whose channels come first."""
        if not self.per_channel:
            return self.scale, self.zero_point.float()
        shape = (-1,) + (1,) * (ndim - 1)
        return self.scale.view(shape), self.zero_point.float().view(shape)

    def indices(self, x: Tensor) -> Tensor:
        """Quantise.

        Args:
            x: Any shape; channels first where the parameters are per channel. Infinities saturate
                and NaN becomes the zero point.

        Returns:
            uint8 tensor of the same shape.
        """
        scale, zero_point = self._shaped(x.ndim)
        steps = (x.detach().float() * scale.reciprocal()).round_().nan_to_num_(nan=0.0)
        return steps.add_(zero_point).clamp_(0, 255).to(torch.uint8)

    def values(self, indices: Tensor) -> Tensor:
        """The real values (float32) that ``indices`` stand for."""
        scale, zero_point = self._shaped(indices.ndim)
        return (indices.float() - zero_point) * scale

    def fake_quantise(self, x: Tensor) -> Tensor:
        """``values(indices(x))``: x rounded to what the operands can represent."""
        return self.values(self.indices(x))

    def inside(self, x: Tensor) -> Tensor:
        """Mask of the elements that quantisation does not clip; NaN counts as clipped."""
        scale, zero_point = self._shaped(x.ndim)
        steps = torch.round(x.detach().float() * scale.reciprocal()) + zero_point
        return (steps >= 0) & (steps <= 255)


def _usable_scale(scale: Tensor) -> Tensor:
    """float32 scale, 1 where the range is empty, never below the smallest normal number."""
    usable = scale.float().clamp(min=_SMALLEST_SCALE)
    return torch.where(scale == 0, torch.ones_like(usable), usable)


def weight_params(weight: Tensor, *, signed: bool, per_channel: bool) -> QuantParams:
    """Min-max parameters of a weight whose first dimension is the output channel.

    Raises:
        ArgumentError: If the weight holds NaN or infinity.
    """
    values = weight.detach().flatten(1) if per_channel else weight.detach().flatten()
    if values.numel() == 0:
        low = high = torch.zeros(values.shape[:-1])
    else:
        low, high = torch.aminmax(values, dim=-1)
    return QuantParams.from_range(low, high, signed=signed)
