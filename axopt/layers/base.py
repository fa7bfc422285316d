"""The base of emulated layers: multiplier, formats, calibration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from axopt.errors import CalibrationError
from axopt.layers.calibrators import activation_params
from axopt.layers.code_shares import tensor_code_shares
from axopt.layers.gradients import Steps
from axopt.layers.histogram import Histogram
from axopt.layers.native import Version, plan_of, version_of
from axopt.layers.observation import ChannelHistograms, WindowSample
from axopt.layers.options import Accumulator
from axopt.layers.quantisation import (
    Quantisation,
    QuantParams,
    weight_params,
)
from axopt.layers.shares import Shares
from axopt.layers.surrogate import Gradient
from axopt.multipliers import Multiplier

Bounds = tuple[float, float]

Strides = tuple[int, int]
"""Least strides of the codes of activations and weights; (1, 1) for 8 bits a side."""

Formats = tuple[Mapping[tuple[bool, Strides], Quantisation], Quantisation | None]
"""Fixed formats by whether the multiplier is signed and by least strides, and the correction."""


def strides_of(multiplier: Multiplier, swap: bool) -> Strides:
    """Return the least strides of the codes of activations and weights.

    Args:
        multiplier: The multiplier.
        swap: Whether the weight is its first operand.

    Example:
        >>> from axopt import load_library
        >>> strides_of(load_library(narrow=True)["mul8x4u_2UU"], True)
        (16, 1)
    """
    first, second = multiplier.strides
    return (second, first) if swap else (first, second)


class EmulatedLayer(nn.Module, ABC):
    """A layer whose products come from the table of a multiplier.

    The multiplier decides the number format: symmetric for signed multipliers, affine for unsigned
    ones, with as many levels as its operands have values. All formats follow from one calibration.
    A correction replaces them for the multiplier in use.

    Args:
        weight: Float weight of the original layer.
        bias: Float bias of the original layer, or None.
        multiplier: The multiplier to start with.
        name: Name of the layer in the model.
        calibrator: A name of `CALIBRATORS`.
        per_channel: Whether each output channel of the weight has a scale of its own.
        bounds: Lowest and highest result, of a fused ReLU; None for no bounds.
        padded_taps: See `LayerOptions`.
        accumulator: See `LayerOptions`.

    Example:
        >>> import axopt
        >>> emulated = axopt.prepare(nn.Linear(8, 4), torch.rand(16, 8))
        >>> layer = emulated.emulated_layers["0"]
        >>> layer.assign(axopt.load_library()["mul8s_1L1G"], swap=False)
        >>> layer.kind, layer.multiplier.name, layer.quantisation().activation.top
        ('linear', 'mul8s_1L1G', 255)

    Attributes:
        name: Name in the model, for messages.
        kind: Short name of the layer type, as it appears in reports.
        convolves: Whether `Cost.rel_power_conv` counts it.
        has_channels: Whether results have channels with statistics of their own.
        weight: Float weight in the shape of the original layer, see `filters`. A product of two
            activations has a sample of its second operands instead, see `EmulatedMatMul`.
        bias: Float bias or None; it is added exactly.
        bounds: Lowest and highest result if the layer does the ReLU behind it, or None.
        padded_taps: See `LayerOptions`.
        accumulator: See `LayerOptions`.
        histogram: Histogram of the input, from calibration.
        channels: Histograms of the input channels, from calibration.
        sample: Sample of the input's windows, from calibration.
        multiplier: The multiplier in use.
        swap: Whether the weight is its first operand.
        gradient: How the layer is differentiated.
        shares: Level frequencies that weight the slopes of the multiplier; None for equal weights.
        steps: Scales that are being learned, or None; `axopt.retrain` sets them.
        correction: Formats of the correction in use, or None; `assign` clears it.
        derived: Caches of other packages, keyed by the class that owns them. Calibration clears
            them; an owner compares `version` to notice changes of the weights.
    """

    kind: ClassVar[str]
    convolves: ClassVar[bool] = False
    has_channels: ClassVar[bool] = True
    weight: Tensor
    bias: nn.Parameter | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        multiplier: Multiplier,
        *,
        name: str = "",
        calibrator: str = "mse",
        per_channel: bool = True,
        bounds: Bounds | None = None,
        padded_taps: str = "multiply",
        accumulator: Accumulator | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self._hold(weight, bias)
        self.calibrator = calibrator
        self.per_channel = per_channel
        self.bounds = bounds
        self.padded_taps = padded_taps
        self.accumulator = accumulator
        self.histogram = Histogram()
        self.channels = ChannelHistograms()
        self.sample = WindowSample()
        self.observing = False
        self.gradient = Gradient()
        self.shares: Shares | None = None
        self.steps: Steps | None = None
        self.correction: Quantisation | None = None
        self.derived: dict[object, Any] = {}
        self._fixed: dict[tuple[bool, Strides], Quantisation] = {}
        self._activation: dict[tuple[bool, int], QuantParams] = {}
        self._calibrated: dict[tuple[bool, Strides], tuple[Version, Quantisation]] = {}
        self.assign(multiplier, swap=False)

    def _hold(self, weight: Tensor, bias: Tensor | None) -> None:
        """Make weight and bias parameters of the layer."""
        if isinstance(weight, nn.Parameter):
            self.weight = weight
        else:
            self.register_buffer("weight", weight, persistent=False)
        self.register_parameter("bias", cast(nn.Parameter | None, bias))

    @property
    def filters(self) -> Tensor:
        """The weight as ``(out_channels, channels of a group, ...)``, a view."""
        return self.weight

    def assign(self, multiplier: Multiplier, *, swap: bool) -> None:
        """Use ``multiplier`` from now on, with the weight as its first operand if ``swap``."""
        self.multiplier = multiplier
        self.swap = swap
        self.correction = None
        self._strides = strides_of(multiplier, swap)
        self._plan = plan_of(multiplier, swap)

    def quantisation(self, signed: bool | None = None, strides: Strides = (1, 1)) -> Quantisation:
        """Return the formats of operands and results.

        Args:
            signed: Whether to return the uncorrected formats of signed or of unsigned
                multipliers; None for the formats in use.
            strides: Least strides of the codes of activations and weights, see `strides_of`;
                ignored for the formats in use.

        Raises:
            CalibrationError: If calibration saw nothing.
        """
        if signed is None:
            if self.correction is not None:
                return self.correction.to(self.weight.device)
            signed, strides = self.multiplier.signed, self._strides
        key = (signed, strides)
        if key in self._fixed:
            return self._fixed[key].to(self.weight.device)
        version = self.weight_version()
        cached = self._calibrated.get(key)
        if cached is None or cached[0] != version:
            with torch.inference_mode(False):  # they may be in a backward pass later
                activation = self._activation_params(signed, strides[0])
                weights = self._weight_params(signed, strides[1])
            cached = (version, Quantisation(activation, weights))
            self._calibrated[key] = cached
        return cached[1]

    def _activation_params(self, signed: bool, stride: int) -> QuantParams:
        key = (signed, stride)
        if key not in self._activation:
            if self.histogram.empty:
                raise CalibrationError(f"layer {self.name!r} was never calibrated.")
            self._activation[key] = activation_params(
                self.histogram, signed=signed, calibrator=self.calibrator, stride=stride
            )
        return self._activation[key].to(self.weight.device)

    def _weight_params(self, signed: bool, stride: int) -> QuantParams:
        return weight_params(
            self.filters, signed=signed, per_channel=self.per_channel, stride=stride
        )

    def fix_quantisation(
        self, signed: bool, quantisation: Quantisation, strides: Strides = (1, 1)
    ) -> None:
        """Use these formats instead of the calibrated ones for multipliers of a kind.

        Args:
            signed: Whether the multipliers are signed.
            quantisation: The formats; their codes are those that the multipliers have.
            strides: Least strides of the codes of activations and weights, see `strides_of`.
        """
        self._fixed[signed, strides] = quantisation

    def release_quantisation(self) -> None:
        """Return to the calibrated formats, without a correction."""
        self._fixed.clear()
        self.correction = None

    def adjust(self, quantisation: Quantisation) -> None:
        """Replace the formats in use: the correction if there is one, else the fixed formats."""
        if self.correction is not None:
            self.correction = quantisation
        else:
            self._fixed[self.multiplier.signed, self._strides] = quantisation

    @property
    def out_channels(self) -> int:
        """Number of gains and shifts in the formats."""
        return len(self.filters)

    @property
    def formats(self) -> Formats:
        """The state of formats that does not follow from weights and calibration."""
        return dict(self._fixed), self.correction

    @formats.setter
    def formats(self, formats: Formats) -> None:
        fixed, self.correction = formats
        self._fixed = dict(fixed)

    def weight_code_shares(self, weights: QuantParams) -> Tensor:
        """Return how often each code of the weight is multiplied, ``(256,)`` float64."""
        return tensor_code_shares(self.filters, weights)

    def weight_version(self) -> Version:
        """Return a value that differs from any earlier one if the weight has changed."""
        weight = self.weight  # an attribute look-up takes a microsecond
        return (version_of(weight), weight.data_ptr(), weight.device)

    def version(self) -> Version:
        """Return a value that differs from any earlier one if weight or bias have changed."""
        bias = self.bias
        of_bias = () if bias is None else (version_of(bias), bias.data_ptr())
        return (*self.weight_version(), *of_bias)

    def bounded(self, y: Tensor) -> Tensor:
        """Clamp results to the bounds of the fused ReLU."""
        return y if self.bounds is None else y.clamp(*self.bounds)

    def _count(self, histogram: Histogram, x: Tensor) -> None:
        """Count the values of an operand, and clear what was derived from calibration."""
        try:
            histogram.update(x)
        except CalibrationError as error:
            raise CalibrationError(f"layer {self.name!r}: {error}") from None
        self._activation.clear()
        self._calibrated.clear()
        self.derived.clear()

    def observed(self) -> tuple[Tensor, ...]:
        """Return what calibration kept for corrections."""
        return self.channels.counts, self.channels.zeros, self.sample.windows

    @property
    def definition(self) -> str:
        """`geometry`, and options that differ from their defaults."""
        return ", ".join([self.geometry(), *self.unusual_options()])

    def unusual_options(self) -> list[str]:
        """Return the options that change results and differ from their defaults, as text."""
        options = [f"padded_taps={self.padded_taps}"] if self.padded_taps != "multiply" else []
        if self.accumulator is not None:
            register = self.accumulator
            options.append(f"accumulator={register.bits} bits, {register.overflow}")
        return options

    @abstractmethod
    def by_channel(self, y: Tensor) -> Tensor:
        """Reshape results to ``(out_channels, n)``."""

    @abstractmethod
    def geometry(self) -> str:
        """Return shapes and options that, with the weights, define the layer, as text."""

    @abstractmethod
    def exact_float(self, *operands: Any, **options: Any) -> Tensor:
        """Compute the float layer, for calibration; it takes the arguments of `forward`."""

    @abstractmethod
    def unbounded(self, *operands: Any, **options: Any) -> Tensor:
        """Return the emulated results without the fused ReLU and without gradients."""

    def __getstate__(self) -> dict[str, object]:
        """Leave out what is computed again at its first use."""
        return {**self.__dict__, "derived": {}}

    def extra_repr(self) -> str:
        return f"{self.definition}, {self.multiplier.key}, swap={self.swap}"
