"""What every emulated layer has in common: operands, multiplier, calibration, zero points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from axopt.errors import CalibrationError
from axopt.kernels import Convolution, Plan, Window, active
from axopt.layers.calibrators import activation_params
from axopt.layers.gradients import Gradients, Steps, differentiable
from axopt.layers.histogram import Histogram
from axopt.layers.native import convolution_of, plan_of
from axopt.layers.observation import ChannelHistograms, WindowSample
from axopt.layers.quantisation import (
    SIGNED_ZERO_POINT,
    Quantisation,
    QuantParams,
    weight_params,
)
from axopt.layers.shares import Shares
from axopt.layers.surrogate import Gradient
from axopt.multipliers import Multiplier

_MAX_KERNELS = 64
_MAX_KERNEL_BYTES = 32 << 20
"""Packed weights that a layer keeps for the formats used before, besides the present ones."""


Version = tuple[object, ...]
Bounds = tuple[float, float]
Formats = tuple[Mapping[bool, Quantisation], Quantisation | None]
"""Fixed formats by kind of circuit, and the correction."""


@dataclass(frozen=True, eq=False)
class _Kernel:
    """A native operation and what it was made from."""

    convolution: Convolution
    version: Version
    quantisation: Quantisation  # kept alive, since its id is part of the key


class EmulatedLayer(nn.Module, ABC):
    """A layer whose products come from the table of a multiplier.

    The multiplier decides the number format: a signed circuit makes the layer symmetric, an
    unsigned one affine. Parameters of both formats follow from one calibration, unless a
    correction brings formats of its own for the circuit in use.

    Attributes:
        name: Name in the model, for messages.
        kind: Short name of the layer type, as it appears in reports.
        has_channels: Whether results have channels with statistics of their own.
        weight: Float weight, output channels first; in a layer without weights, some of its second
            operands (see `EmulatedMatMul`).
        bias: Float bias or None; it is added exactly.
        bounds: What the results are clamped to, where the layer does the rectifier behind it too.
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
    has_channels: ClassVar[bool] = True
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
        bounds: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.weight: Tensor
        if isinstance(weight, nn.Parameter):
            self.weight = weight
        else:
            self.register_buffer("weight", weight, persistent=False)
        self.register_parameter("bias", cast(nn.Parameter | None, bias))
        self.calibrator = calibrator
        self.per_channel = per_channel
        self.bounds = bounds
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
        self._indices: tuple[Version, QuantParams, Tensor] | None = None
        self._kernels: OrderedDict[tuple[object, ...], _Kernel] = OrderedDict()
        self.assign(multiplier, swap=False)

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
        return weight_params(self.weight, signed=signed, per_channel=self.per_channel)

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
        return len(self.weight)

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
        return (self.weight._version, self.weight.data_ptr(), self.weight.device)

    def version(self) -> Version:
        """Differs from any earlier one if the weight or the bias was changed or replaced."""
        bias = self.bias
        of_bias = () if bias is None else (bias._version, bias.data_ptr())
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
        return {**self.__dict__, "_kernels": OrderedDict(), "derived": {}}

    def extra_repr(self) -> str:
        return f"{self.geometry()}, {self.multiplier.key}, swap={self.swap}"


class WeightedLayer(EmulatedLayer):
    """A layer whose second operand is its weight, the same in every call."""

    def _weight_indices(self, weights: QuantParams) -> Tensor:
        """Indices of the weight, kept for the next call with the same ones."""
        version = self.weight_version()
        cached = self._indices
        if cached is None or cached[0] != version or cached[1] is not weights:
            cached = self._indices = (version, weights, weights.indices(self.weight))
        return cached[2]

    def forward(self, x: Tensor) -> Tensor:
        """Emulate the layer; same shapes and dtype as the layer it stands for.

        Raises:
            CalibrationError: If the layer was never calibrated.
        """
        if self.observing:
            self._count(self.histogram, x)
            self._sample_windows(x)
            return self.bounded(self.exact_float(x))
        quantisation = self.quantisation()
        prepared = self._prepared_input(x.float())
        if torch.is_grad_enabled() and (x.requires_grad or self._trains()):
            y = differentiable(self, prepared, self.weight, self.bias, quantisation, self.steps)
            return y.to(x.dtype)
        return self.emulated(prepared, quantisation, bounds=self.bounds).to(x.dtype)

    def _trains(self) -> bool:
        return (
            self.steps is not None
            or self.weight.requires_grad
            or (self.bias is not None and self.bias.requires_grad)
        )

    def unbounded(self, x: Tensor) -> Tensor:
        y = self.emulated(self._prepared_input(x.float()), self.quantisation())
        return y.to(x.dtype)

    def emulated(
        self,
        x: Tensor,
        quantisation: Quantisation,
        *,
        bounds: tuple[float, float] | None = None,
    ) -> Tensor:
        """Dequantised sums of table products, and the bias, clamped to ``bounds``."""
        if x.device.type == "cpu":
            return self._convolved(self._kernel(quantisation), x, bounds)
        y = self.emulated_stepwise(x, quantisation)
        return y if bounds is None else y.clamp_(*bounds)

    def emulated_stepwise(self, x: Tensor, quantisation: Quantisation) -> Tensor:
        """What `emulated` computes, one element-wise operation after the other."""
        activation, weights = quantisation.activation, quantisation.weights
        indices = self._weight_indices(weights)
        sums = self.integer_sums(activation.indices(x), indices, activation, weights)
        y = sums.float().mul_(self._per_output(quantisation.output_scale))
        bias = quantisation.output_bias(self.bias)
        return y if bias is None else y.add_(self._per_output(bias))

    def _kernel(self, quantisation: Quantisation) -> Convolution:
        """The native operation for the present weights and multiplier, made at first use."""
        key = (self.multiplier.digest, self.swap, active(), id(quantisation))
        version = self.version()
        cached = self._kernels.get(key)
        if cached is None or cached.version != version:
            convolution = convolution_of(
                self._plan,
                self._as_kernel(self._weight_indices(quantisation.weights)),
                self._window(),
                quantisation,
                self.bias,
                signed=self.multiplier.signed,
            )
            self._forget_kernels(version)
            cached = self._kernels[key] = _Kernel(convolution, version, quantisation)
        self._kernels.move_to_end(key)
        return cached.convolution

    def _forget_kernels(self, version: Version) -> None:
        """Drop the kernels of other weights, and those used longest ago if they are too many."""
        for key in [k for k, kernel in self._kernels.items() if kernel.version != version]:
            del self._kernels[key]
        total = sum(kernel.convolution.nbytes for kernel in self._kernels.values())
        while self._kernels and (total > _MAX_KERNEL_BYTES or len(self._kernels) >= _MAX_KERNELS):
            total -= self._kernels.popitem(last=False)[1].convolution.nbytes

    def integer_sums(
        self, x: Tensor, weight: Tensor, activation: QuantParams, weights: QuantParams
    ) -> Tensor:
        """Sums of table products, less the zero-point terms (see docs/architecture.md).

        Args:
            x: uint8 indices of the prepared input.
            weight: uint8 indices of the weight.
            activation: Parameters that made ``x``.
            weights: Parameters that made ``weight``.

        Returns:
            int32 sums, or int64 where there are zero-point terms.
        """
        origin = SIGNED_ZERO_POINT if self.multiplier.signed else 0
        activation_zero = int(activation.zero_index) - origin
        weight_zero = self._per_output(weights.zero_index) - origin
        sums = self._product_sums(x, weight, self._plan)
        if activation_zero == 0 and self.multiplier.signed:
            return sums
        terms = weight[0].numel()
        activation_sums = self._activation_sums(x, weight) - origin * terms
        weight_sums = (
            self._per_output(weight.flatten(1).sum(1, dtype=torch.int64)) - origin * terms
        )
        return (
            sums.long()
            - weight_zero * activation_sums
            - activation_zero * weight_sums
            + terms * activation_zero * weight_zero
        )

    @abstractmethod
    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        """Gradients of the float layer, see `gradients.Differentiable`."""

    @abstractmethod
    def _sample_windows(self, x: Tensor) -> None:
        """Update ``channels`` and ``sample`` with an input."""

    @abstractmethod
    def _window(self) -> Window:
        """How the kernel moves over the prepared input."""

    @abstractmethod
    def _as_kernel(self, weight: Tensor) -> Tensor:
        """The weight as ``(out_channels, channels, kernel_h, kernel_w)``."""

    @abstractmethod
    def _convolved(
        self, convolution: Convolution, x: Tensor, bounds: tuple[float, float] | None
    ) -> Tensor:
        """The prepared input, convolved."""

    @abstractmethod
    def _prepared_input(self, x: Tensor) -> Tensor:
        """The input as the kernel takes it: batched, padded where that is not with zeros."""

    @abstractmethod
    def _product_sums(self, x: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        """int32 sums of products."""

    @abstractmethod
    def _activation_sums(self, x: Tensor, weight: Tensor) -> Tensor:
        """Sum of the activation indices that meet in each output, broadcastable against it."""

    @abstractmethod
    def _per_output(self, values: Tensor) -> Tensor:
        """Per-tensor or per-channel values, broadcastable against the output."""
