"""What every emulated layer has in common: multiplier, formats, calibration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from axopt.errors import CalibrationError
from axopt.layers.calibrators import activation_params
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

Formats = tuple[Mapping[bool, Quantisation], Quantisation | None]
"""Fixed formats by kind of circuit, and the correction."""


class EmulatedLayer(nn.Module, ABC):
    """A layer whose products come from the table of a multiplier.

    The multiplier decides the number format: a signed circuit makes the layer symmetric, an
    unsigned one affine. Parameters of both formats follow from one calibration, unless a
    correction brings formats of its own for the circuit in use.

    Attributes:
        name: Name in the model, for messages.
        kind: Short name of the layer type, as it appears in reports.
        convolves: Whether `Cost.rel_power_conv` counts it.
        has_channels: Whether results have channels with statistics of their own.
        weight: Float weight, in the shape that the layer it stands for has, see `filters`; in a
            layer without weights, some of its second operands (see `EmulatedMatMul`).
        bias: Float bias or None; it is added exactly.
        bounds: What the results are clamped to, where the layer does the rectifier behind it too.
        padded_taps: See `LayerOptions`.
        accumulator: See `LayerOptions`.
        histogram: What calibration saw at the input.
        channels: The same for each input channel.
        sample: Some windows of the input.
        multiplier: The circuit in use.
        swap: Whether the weight is the first operand.
        gradient: How the layer is differentiated.
        shares: What the slopes of the circuit are weighted by; None for all levels alike.
        steps: Scales that are being learned, or None; `axopt.retrain` sets and takes them.
        correction: Formats chosen for the circuit in use, or None; `assign` forgets them.
        derived: What others found out about the weights and calibration, by who did.
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
        self._fixed: dict[bool, Quantisation] = {}
        self._activation: dict[bool, QuantParams] = {}
        self._calibrated: dict[bool, tuple[Version, Quantisation]] = {}
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
        """The weight as ``(out_channels, channels of a group, ...)``, a view of it."""
        return self.weight

    def assign(self, multiplier: Multiplier, *, swap: bool) -> None:
        """Use ``multiplier`` from now on, with the weight as first operand if ``swap``."""
        self.multiplier = multiplier
        self.swap = swap
        self.correction = None
        self._plan = plan_of(multiplier, swap)

    def quantisation(self, signed: bool | None = None) -> Quantisation:
        """The formats of operands and results.

        Args:
            signed: Kind of the circuit, for its formats without any correction; by default those
                in use.

        Raises:
            CalibrationError: If calibration saw nothing.
        """
        if signed is None:
            if self.correction is not None:
                return self.correction.to(self.weight.device)
            signed = self.multiplier.signed
        if signed in self._fixed:
            return self._fixed[signed].to(self.weight.device)
        version = self.weight_version()
        cached = self._calibrated.get(signed)
        if cached is None or cached[0] != version:
            with torch.inference_mode(False):  # they may be in a backward pass later
                params = self._activation_params(signed), self._weight_params(signed)
            cached = (version, Quantisation(*params))
            self._calibrated[signed] = cached
        return cached[1]

    def _activation_params(self, signed: bool) -> QuantParams:
        if signed not in self._activation:
            if self.histogram.empty:
                raise CalibrationError(f"layer {self.name!r} was never calibrated.")
            self._activation[signed] = activation_params(
                self.histogram, signed=signed, calibrator=self.calibrator
            )
        return self._activation[signed].to(self.weight.device)

    def _weight_params(self, signed: bool) -> QuantParams:
        return weight_params(self.filters, signed=signed, per_channel=self.per_channel)

    def fix_quantisation(self, signed: bool, quantisation: Quantisation) -> None:
        """Use these formats instead of the calibrated ones for circuits of that kind."""
        self._fixed[signed] = quantisation

    def release_quantisation(self) -> None:
        """Go back to the calibrated formats."""
        self._fixed.clear()
        self.correction = None

    def adjust(self, quantisation: Quantisation) -> None:
        """Replace the formats in use, be they a correction's or fixed or calibrated ones."""
        if self.correction is not None:
            self.correction = quantisation
        else:
            self._fixed[self.multiplier.signed] = quantisation

    @property
    def out_channels(self) -> int:
        """How many gains and shifts the formats may hold."""
        return len(self.filters)

    @property
    def formats(self) -> Formats:
        """Everything about formats that does not follow from weights and calibration."""
        return dict(self._fixed), self.correction

    @formats.setter
    def formats(self, formats: Formats) -> None:
        fixed, self.correction = formats
        self._fixed = dict(fixed)

    def weight_version(self) -> Version:
        """Differs from any earlier one if the weight was changed or replaced."""
        weight = self.weight  # a look-up of a module's takes a microsecond
        return (version_of(weight), weight.data_ptr(), weight.device)

    def version(self) -> Version:
        """Differs from any earlier one if the weight or the bias was changed or replaced."""
        bias = self.bias
        of_bias = () if bias is None else (version_of(bias), bias.data_ptr())
        return (*self.weight_version(), *of_bias)

    def bounded(self, y: Tensor) -> Tensor:
        """Results after the rectifier that the layer does."""
        return y if self.bounds is None else y.clamp(*self.bounds)

    def _count(self, histogram: Histogram, x: Tensor) -> None:
        """Count the values of an operand; what followed from calibration is forgotten."""
        try:
            histogram.update(x)
        except CalibrationError as error:
            raise CalibrationError(f"layer {self.name!r}: {error}") from None
        self._activation.clear()
        self._calibrated.clear()
        self.derived.clear()

    def observed(self) -> tuple[Tensor, ...]:
        """What calibration kept for corrections."""
        return self.channels.counts, self.channels.zeros, self.sample.windows

    @property
    def definition(self) -> str:
        """`geometry` and the options of the layer that are not the usual ones."""
        return ", ".join([self.geometry(), *self.unusual_options()])

    def unusual_options(self) -> list[str]:
        """Options that change results and are not the usual ones, as text."""
        options = [f"padded_taps={self.padded_taps}"] if self.padded_taps != "multiply" else []
        if self.accumulator is not None:
            register = self.accumulator
            options.append(f"accumulator={register.bits} bits, {register.overflow}")
        return options

    @abstractmethod
    def by_channel(self, y: Tensor) -> Tensor:
        """Results as ``(out_channels, n)``."""

    @abstractmethod
    def geometry(self) -> str:
        """Options and shapes that, with the weights, define what the layer computes."""

    @abstractmethod
    def exact_float(self, *operands: Any, **options: Any) -> Tensor:
        """The float layer, used while calibrating; it takes what `forward` does."""

    @abstractmethod
    def unbounded(self, *operands: Any, **options: Any) -> Tensor:
        """The emulated results without the rectifier that the layer does; no gradients."""

    def __getstate__(self) -> dict[str, object]:
        """What copies are made from: all that follows from it is made again at its first use."""
        return {**self.__dict__, "derived": {}}

    def extra_repr(self) -> str:
        return f"{self.definition}, {self.multiplier.key}, swap={self.swap}"
