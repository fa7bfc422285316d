"""Affine quantisation onto the codes of a multiplier's operands.

A real value x has the level ``n = clamp(round(x * inverse) + zero_point, 0, top)``. Here inverse
is the float32 nearest to 1 / scale, and rounding is half to even, as in torch's fake_quantize
operators. Level n stands for ``scale * (n - zero_point)``, so real zero has a level of its own. It
is multiplied as the code ``code_of_level[n]``, a row or column of the product table. Without a
correction, levels are codes.

A signed multiplier multiplies ``code - 128``, an unsigned one the code itself. Weights of signed
multipliers are symmetric: zero is code 128. The zero-point sums of another code are subtracted
exactly (see docs/architecture.md). An operand of less than 8 bits has fewer codes: those of 4 bits
are the multiples of 16, so the stride of a format for it is at least 16.

.. [Jacob2018] B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
   Integer-Arithmetic-Only Inference", CVPR 2018.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from axopt.errors import ArgumentError
from axopt.renamed import renamed_attribute

SIGNED_ZERO_POINT = 128
"""Code of the value 0 of a signed operand."""

STRIDES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Distances between the codes of neighbouring levels that a format may have."""

_SMALLEST_SCALE = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, eq=False)
class QuantParams:
    """Scale, zero point and codes of one tensor, or of each channel of a weight.

    Attributes:
        scale: Difference of neighbouring levels' values, ``()`` or ``(channels,)`` float32,
            positive and finite.
        zero_point: Level of the value 0, shaped as ``scale``, int64 in 0..top.
        stride: Distance between the codes of neighbouring levels, a power of two up to 128. A
            multiplier that ignores low bits is accurate on every ``stride``-th code only.
        code_of_level: Code of every level, ``(256,)`` uint8; None: ``level * stride``. Either way
            two neighbouring codes differ by ``scale / stride``, and ``stride * zero_point`` is the
            code that represents zero.

    Raises:
        ArgumentError: If a value breaks its rule.

    Example:
        >>> params = QuantParams(torch.tensor(0.5), torch.tensor(128))
        >>> params.codes(torch.tensor([-1.0, 0.0, 0.6]))
        tensor([126, 128, 129], dtype=torch.uint8)
        >>> coarse = QuantParams(torch.tensor(4.0), torch.tensor(16), stride=8)
        >>> coarse.codes(torch.tensor([-1.0, 0.0, 4.0]))
        tensor([128, 128, 136], dtype=torch.uint8)
    """

    scale: Tensor
    zero_point: Tensor
    stride: int = 1
    code_of_level: Tensor | None = None

    step = renamed_attribute("QuantParams.step", "stride")
    zero_index = renamed_attribute("QuantParams.zero_index", "zero_code")
    index_of_level = renamed_attribute("QuantParams.index_of_level", "code_table")
    indices = renamed_attribute("QuantParams.indices", "codes")

    def __post_init__(self) -> None:
        if self.scale.shape != self.zero_point.shape or self.scale.ndim > 1:
            raise ArgumentError(
                "`scale` and `zero_point` must have the same shape () or (channels,), got "
                f"{tuple(self.scale.shape)} and {tuple(self.zero_point.shape)}."
            )
        if not bool((torch.isfinite(self.scale) & (self.scale > 0)).all()):
            raise ArgumentError(f"`scale` must be positive and finite, got {self.scale.tolist()}.")
        if type(self.stride) is not int or self.stride not in STRIDES:
            raise ArgumentError(f"`stride` must be one of {STRIDES}, got {self.stride!r}.")
        if not bool(((self.zero_point >= 0) & (self.zero_point <= self.top)).all()):
            raise ArgumentError(
                f"`zero_point` must be in 0..{self.top}, got {self.zero_point.tolist()}."
            )
        if self.code_of_level is not None and (
            self.code_of_level.shape != (256,) or self.code_of_level.dtype != torch.uint8
        ):
            raise ArgumentError(
                "`code_of_level` must have shape (256,) and dtype uint8, got "
                f"{tuple(self.code_of_level.shape)} and {self.code_of_level.dtype}."
            )

    @classmethod
    def from_range(
        cls, low: Tensor, high: Tensor, *, signed: bool, stride: int = 1
    ) -> "QuantParams":
        """Return the parameters whose range covers [low, high] and zero.

        Args:
            low: ``()`` or ``(channels,)`` smallest values.
            high: Largest values, same shape.
            signed: Whether the scheme is symmetric (zero is code 128) or affine.
            stride: Distance between the codes of neighbouring levels.

        An empty range (low == high == 0) gets the scale 1.

        Raises:
            ArgumentError: If a bound is not finite or ``low > high``.

        Example:
            >>> params = QuantParams.from_range(torch.tensor(0.0), torch.tensor(5.1), signed=False)
            >>> round(float(params.scale), 4), int(params.zero_point)
            (0.02, 0)
        """
        low, high = low.double(), high.double()
        if not bool((torch.isfinite(low) & torch.isfinite(high) & (low <= high)).all()):
            raise ArgumentError(
                "`low` and `high` must be finite and ordered, got "
                f"{low.tolist()} and {high.tolist()}."
            )
        low, high = low.clamp(max=0), high.clamp(min=0)
        if signed:
            zero_level = SIGNED_ZERO_POINT // stride
            scale = _usable_scale(torch.maximum(-low, high) / max(zero_level - 1, 1))
            return cls(scale, torch.full_like(scale, zero_level, dtype=torch.int64), stride)
        top = 256 // stride - 1
        scale = _usable_scale((high - low) / top)
        zero_point = torch.round(-low / scale.double()).clamp(0, top).long()
        return cls(scale, zero_point, stride)

    def to(self, device: torch.device) -> "QuantParams":
        """Return the parameters on ``device``; this object if they are there already."""
        if self.scale.device == device:
            return self
        codes = None if self.code_of_level is None else self.code_of_level.to(device)
        return QuantParams(self.scale.to(device), self.zero_point.to(device), self.stride, codes)

    def fits(self, stride: int) -> bool:
        """Return whether all codes are multiples of ``stride``, those of a narrow operand.

        Example:
            >>> coarse = QuantParams(torch.tensor(4.0), torch.tensor(16), stride=8)
            >>> coarse.fits(4), coarse.fits(16)
            (True, False)
        """
        codes = self.code_table
        on_grid = codes is None or not bool((codes.int() % stride).any())
        return self.stride % stride == 0 and on_grid

    @property
    def per_channel(self) -> bool:
        """Whether each channel has a scale and a zero point of its own."""
        return self.scale.ndim == 1

    @property
    def top(self) -> int:
        """Highest level."""
        return 256 // self.stride - 1

    @property
    def unit(self) -> Tensor:
        """Difference of the values of neighbouring codes; shaped as ``scale``."""
        return self.scale / self.stride

    @property
    def zero_code(self) -> Tensor:
        """The code that represents zero; shaped as ``zero_point``."""
        return self.zero_point * self.stride

    @property
    def code_table(self) -> Tensor | None:
        """Code of every level, ``(256,)`` uint8; levels above `top` count as `top`.

        None if levels are codes.
        """
        if self.code_of_level is None and self.stride == 1:
            return None
        levels = torch.arange(256, device=self.scale.device).clamp(max=self.top)
        if self.code_of_level is None:
            return (levels * self.stride).to(torch.uint8)
        return self.code_of_level[levels]

    def _shaped(self, ndim: int) -> tuple[Tensor, Tensor]:
        """Shape scale and zero point to broadcast against a tensor whose channels come first."""
        if not self.per_channel:
            return self.scale, self.zero_point.float()
        shape = (-1,) + (1,) * (ndim - 1)
        return self.scale.view(shape), self.zero_point.float().view(shape)

    def levels(self, x: Tensor) -> Tensor:
        """Quantise to levels.

        Args:
            x: Any shape; channels first if the parameters are per channel. Infinities saturate,
                and NaN becomes the zero point.

        Returns:
            uint8 tensor of the same shape.
        """
        scale, zero_point = self._shaped(x.ndim)
        steps = (x.detach().float() * scale.reciprocal()).round_().nan_to_num_(nan=0.0)
        return steps.add_(zero_point).clamp_(0, self.top).to(torch.uint8)

    def codes(self, x: Tensor) -> Tensor:
        """Quantise to the codes that the multiplier gets, uint8 of the same shape."""
        levels = self.levels(x)
        if self.code_of_level is not None:
            return self.code_of_level[levels.long()]
        return levels if self.stride == 1 else levels.mul_(self.stride)

    def values(self, levels: Tensor) -> Tensor:
        """Return the real values that ``levels`` stand for, float32."""
        scale, zero_point = self._shaped(levels.ndim)
        return (levels.float() - zero_point) * scale

    def fake_quantise(self, x: Tensor) -> Tensor:
        """Round ``x`` to values that levels stand for: ``values(levels(x))``."""
        return self.values(self.levels(x))

    def inside(self, x: Tensor) -> Tensor:
        """Return a mask of the elements that are not clipped; NaN counts as clipped."""
        scale, zero_point = self._shaped(x.ndim)
        steps = torch.round(x.detach().float() * scale.reciprocal()) + zero_point
        return (steps >= 0) & (steps <= self.top)


@dataclass(frozen=True, eq=False)
class Quantisation:
    """The formats of a layer's operands and results.

    A result is ``float(sum) * scale + bias'`` with ``scale = (activation.unit * weights.unit) *
    gain`` and ``bias' = bias + shift``. Each operation is rounded to float32.

    Attributes:
        activation: Format of the activations.
        weights: Format of the weights.
        gain: ``(out_channels,)`` float32; None for 1.
        shift: ``(out_channels,)`` float32; None for 0.
        corrections: Names of the corrections in use; empty for calibrated formats.

    Example:
        >>> one = QuantParams(torch.tensor(0.5), torch.tensor(128))
        >>> formats = Quantisation(one, one).corrected("gain", torch.tensor([1.0, 1.25]), None)
        >>> formats.output_scale, formats.corrections
        (tensor([0.2500, 0.3125]), ('gain',))
    """

    activation: QuantParams
    weights: QuantParams
    gain: Tensor | None = None
    shift: Tensor | None = None
    corrections: tuple[str, ...] = ()

    def to(self, device: torch.device) -> "Quantisation":
        """Return the formats on ``device``; this object if they are there already."""
        if self.activation.scale.device == device:
            return self
        gain, shift = (None if v is None else v.to(device) for v in (self.gain, self.shift))
        return Quantisation(
            self.activation.to(device), self.weights.to(device), gain, shift, self.corrections
        )

    @property
    def output_scale(self) -> Tensor:
        """Factor from sums to results, ``()`` or ``(out_channels,)`` float32."""
        scale = self.activation.unit * self.weights.unit
        return scale if self.gain is None else scale * self.gain

    def corrected(self, name: str, gain: Tensor | None, shift: Tensor | None) -> "Quantisation":
        """Return these formats with another gain and shift.

        Both are `rounded`, so that results do not depend on the last bits of measured values,
        which differ between machines.

        Args:
            name: Name of the correction, added to the others.
            gain: ``(out_channels,)``, or None for 1.
            shift: ``(out_channels,)``, or None for 0.
        """
        names = (*(other for other in self.corrections if other != name), name)
        gain, shift = (None if v is None else rounded(v).float() for v in (gain, shift))
        return replace(self, gain=gain, shift=shift, corrections=names)

    def output_bias(self, bias: Tensor | None) -> Tensor | None:
        """Return the sum of ``bias`` and the shift; None if there is neither."""
        if self.shift is None or bias is None:
            return self.shift if bias is None else bias.detach().float()
        return bias.detach().float() + self.shift


def rounded(values: Tensor) -> Tensor:
    """Round to 20 significant bits, in float64.

    Example:
        >>> rounded(torch.tensor(1 + 2.0**-30, dtype=torch.float64)).item()
        1.0
    """
    mantissa, exponent = torch.frexp(values.double())
    return torch.ldexp((mantissa * 2**20).round(), exponent - 20)


def _usable_scale(scale: Tensor) -> Tensor:
    """Return a float32 scale: 1 for an empty range, at least the smallest normal number."""
    usable = scale.float().clamp(min=_SMALLEST_SCALE)
    return torch.where(scale == 0, torch.ones_like(usable), usable)


def weight_params(
    weight: Tensor, *, signed: bool, per_channel: bool, stride: int = 1
) -> QuantParams:
    """Return the parameters that cover the whole range of a weight.

    Args:
        weight: Output channels first.
        signed: Whether the format is symmetric (True) or affine (False).
        per_channel: Whether each output channel gets a scale of its own.
        stride: Distance between the codes of neighbouring levels.

    Raises:
        ArgumentError: If the weight holds NaN or infinity.

    Example:
        >>> weight = torch.tensor([[1.27, 0.0], [-2.54, 1.0]])
        >>> weight_params(weight, signed=True, per_channel=True).scale
        tensor([0.0100, 0.0200])
    """
    values = weight.detach().flatten(1) if per_channel else weight.detach().flatten()
    if values.numel() == 0:
        low = high = torch.zeros(values.shape[:-1])
    else:
        low, high = torch.aminmax(values, dim=-1)
    return QuantParams.from_range(low, high, signed=signed, stride=stride)
