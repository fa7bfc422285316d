"""What every emulated layer has in common: operands, multiplier, calibration, zero points."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from axopt.errors import CalibrationError
from axopt.kernels import Window, active
from axopt.layers.calibrators import activation_params
from axopt.layers.gradients import Gradients, Steps, differentiable
from axopt.layers.histogram import Histogram
from axopt.layers.native import (
    Convolutions,
    KernelCache,
    Version,
    convolution_of,
    plan_of,
)
from axopt.layers.observation import ChannelHistograms, WindowSample
from axopt.layers.options import Accumulator
from axopt.layers.quantisation import (
    Quantisation,
    QuantParams,
    weight_params,
)
from axopt.layers.shares import Shares
from axopt.layers.sums import Products
from axopt.layers.surrogate import Gradient
from axopt.multipliers import Multiplier

_WINDOW_VALUES = 1 << 22
"""Values of the windows that are summed at a time, where a layer is summed by windows."""

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
        weight: Float weight, in the shape that the layer it stands for has; see `filters`.
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
        padded_taps: str = "multiply",
        accumulator: Accumulator | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.weight = cast(nn.Parameter, weight)
        self.register_parameter("bias", cast(nn.Parameter | None, bias))
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
        self._indices: tuple[Version, QuantParams, Tensor] | None = None
        self._kernels = KernelCache()
        self._by_windows: tuple[Quantisation, tuple[object, ...], bool] | None = None
        self.assign(multiplier, swap=False)

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
            weights = weight_params(self.filters, signed=signed, per_channel=self.per_channel)
            cached = (version, Quantisation(self._activation_params(signed), weights))
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

    def _weight_indices(self, weights: QuantParams) -> Tensor:
        """Indices of the filters, kept for the next call with the same ones."""
        version = self.weight_version()
        cached = self._indices
        if cached is None or cached[0] != version or cached[1] is not weights:
            cached = self._indices = (version, weights, weights.indices(self.filters))
        return cached[2]

    def forward(self, x: Tensor) -> Tensor:
        """Emulate the layer; same shapes and dtype as the layer it stands for.

        Raises:
            CalibrationError: If the layer was never calibrated.
        """
        if self.observing:
            self._observe(x)
            return self.bounded(self.exact_float(x))
        quantisation = self.quantisation()
        prepared = self._prepared_input(x.float())
        if torch.is_grad_enabled() and (x.requires_grad or self._trains()):
            bias = None if self.bias is None else self.bias.float()
            weight = self.filters.float()
            y = differentiable(self, prepared, weight, bias, quantisation, self.steps)
            return y.to(x.dtype)
        return self.emulated(prepared, quantisation, bounds=self.bounds).to(x.dtype)

    def _trains(self) -> bool:
        return (
            self.steps is not None
            or self.weight.requires_grad
            or (self.bias is not None and self.bias.requires_grad)
        )

    def unbounded(self, x: Tensor) -> Tensor:
        """The emulated results without the rectifier that the layer does; no gradients."""
        y = self.emulated(self._prepared_input(x.float()), self.quantisation())
        return y.to(x.dtype)

    def bounded(self, y: Tensor) -> Tensor:
        """Results after the rectifier that the layer does."""
        return y if self.bounds is None else y.clamp(*self.bounds)

    def _observe(self, x: Tensor) -> None:
        try:
            self.histogram.update(x)
        except CalibrationError as error:
            raise CalibrationError(f"layer {self.name!r}: {error}") from None
        self._sample_windows(x)
        self._activation.clear()
        self._calibrated.clear()
        self.derived.clear()

    def emulated(
        self,
        x: Tensor,
        quantisation: Quantisation,
        *,
        bounds: tuple[float, float] | None = None,
    ) -> Tensor:
        """Dequantised sums of table products, and the bias, clamped to ``bounds``."""
        if x.device.type == "cpu" and not self._summed_by_windows(quantisation):
            return self._convolved(self._kernel(quantisation), x, bounds)
        y = self.emulated_stepwise(x, quantisation)
        return y if bounds is None else y.clamp_(*bounds)

    def emulated_stepwise(self, x: Tensor, quantisation: Quantisation) -> Tensor:
        """What `emulated` computes, one element-wise operation after the other."""
        products = self._products(quantisation)
        if self._summed_by_windows(quantisation):
            sums = self._window_sums(x, products)
        else:
            sums = self.integer_sums(x, products)
        y = sums.float().mul_(self._per_output(quantisation.output_scale))
        bias = quantisation.output_bias(self.bias)
        return y if bias is None else y.add_(self._per_output(bias))

    def _products(self, quantisation: Quantisation) -> Products:
        codes = self._weight_indices(quantisation.weights)
        return Products(self._plan, self.multiplier.signed, quantisation, codes)

    def _summed_by_windows(self, quantisation: Quantisation) -> bool:
        """Whether an option of the layer can change a sum, which native kernels do not know."""
        skips = self.padded_taps == "skip" and self._pads
        if not skips and self.accumulator is None:
            return False
        key = (self.multiplier.digest, self.swap, self.accumulator, skips, self.weight_version())
        known = self._by_windows
        if known is None or known[0] is not quantisation or known[1] != key:
            needed = self._products(quantisation).need_steps(skips, self.accumulator)
            known = self._by_windows = (quantisation, key, needed)
        return known[2]

    def _window_sums(self, x: Tensor, products: Products) -> Tensor:
        """Sums of all windows, a part of them at a time: slow, and with all options."""
        codes = products.quantisation.activation.indices(x)
        outputs = torch.arange(self._outputs(x), device=x.device)
        size = max(1, _WINDOW_VALUES // max(1, products.codes[0].numel()))
        sums = [
            products.window_sums(
                *self._windows_at(codes, some, products.padding_code), self.accumulator
            )
            for some in torch.split(outputs, size)
        ]
        return self._from_rows(torch.cat(sums), x)

    def _kernel(self, quantisation: Quantisation) -> Convolutions:
        """The native operations for the present weights and multiplier, made at first use."""
        key = (self.multiplier.digest, self.swap, active())
        version = self.version()
        kept = self._kernels.get(key, quantisation, version)
        if kept is None:
            kept = tuple(
                self._without_taps(quantisation)
                if part is None
                else convolution_of(
                    self._plan, *part, quantisation, self.bias, signed=self.multiplier.signed
                )
                for part in self._as_kernels(self._weight_indices(quantisation.weights))
            )
            self._kernels.put(key, quantisation, version, kept)
        return kept

    def _without_taps(self, quantisation: Quantisation) -> Tensor:
        """``(out_channels,)`` results where no product is summed."""
        bias = quantisation.output_bias(self.bias)
        return torch.zeros(len(self.filters)) if bias is None else bias

    @abstractmethod
    def integer_sums(self, x: Tensor, products: Products) -> Tensor:
        """Sums of products, less the zero-point terms, for the prepared input.

        Returns:
            int32 sums shaped as the results, or int64 where there are zero-point terms.
        """

    def sums_by_tap(self, grad: Tensor, sums: Tensor) -> Tensor:
        """A gradient of the results, summed over those that each tap is in.

        Args:
            grad: Of the results, shaped as they are.
            sums: Its ``(out_channels,)`` sums over all.

        Returns:
            A tensor that broadcasts against the filters.
        """
        return sums.view(-1, *(1,) * (self.weight.ndim - 1))

    @property
    def definition(self) -> str:
        """`geometry` and the options of the layer that are not the usual ones."""
        options = [f"padded_taps={self.padded_taps}"] if self.padded_taps != "multiply" else []
        if self.accumulator is not None:
            register = self.accumulator
            options.append(f"accumulator={register.bits} bits, {register.overflow}")
        return ", ".join([self.geometry(), *options])

    @abstractmethod
    def by_channel(self, y: Tensor) -> Tensor:
        """Results as ``(out_channels, n)``."""

    @abstractmethod
    def geometry(self) -> str:
        """Options and shapes that, with the weights, define what the layer computes."""

    @abstractmethod
    def exact_float(self, x: Tensor) -> Tensor:
        """The float layer, used while calibrating."""

    @abstractmethod
    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        """Gradients of the float layer, see `gradients.Differentiable`."""

    def _sample_windows(self, x: Tensor) -> None:
        x = self._prepared_input(x.detach())
        self._count_channels(x)
        offered = self._outputs(x)
        windows, absent = self._windows_at(x, self.sample.wanted(offered), 0)
        if absent is not None:
            windows = windows.masked_fill(absent, math.nan)
        self.sample.add(windows, offered)

    @property
    def _pads(self) -> bool:
        """Whether a window may hold zeros that are not of the input."""
        return False

    @abstractmethod
    def _count_channels(self, x: Tensor) -> None:
        """Count the values of the prepared input in the histograms of its channels."""

    @abstractmethod
    def _outputs(self, x: Tensor) -> int:
        """How many results each output channel has, for the prepared input."""

    @abstractmethod
    def _windows_at(self, x: Tensor, at: Tensor, padding: float) -> tuple[Tensor, Tensor | None]:
        """What meets in some results.

        Args:
            x: Prepared input, or its indices.
            at: ``(n,)`` int64 numbers of results, counted over samples and positions.
            padding: What stands for a zero that pads.

        Returns:
            ``(n, groups, depth)`` values, the depth ordered as a flattened filter is, and a mask
            that broadcasts to it of those that are not multiplied; None if there are none.
        """

    @abstractmethod
    def _from_rows(self, rows: Tensor, x: Tensor) -> Tensor:
        """Results ``(outputs, out_channels)`` in the shape that those of ``x`` have."""

    @abstractmethod
    def _as_kernels(self, codes: Tensor) -> list[tuple[Tensor, Window] | None]:
        """Weight indices as ``(out_channels, channels // groups, kernel_h, kernel_w)``, by part.

        Each part is one native operation; None for one that has no taps.
        """

    @abstractmethod
    def _convolved(
        self, convolutions: Convolutions, x: Tensor, bounds: tuple[float, float] | None
    ) -> Tensor:
        """Run the native operations on the prepared input, and bring their results together."""

    @abstractmethod
    def _prepared_input(self, x: Tensor) -> Tensor:
        """The input as it is quantised: checked, and padded where that is not with zeros."""

    @abstractmethod
    def _per_output(self, values: Tensor) -> Tensor:
        """Per-tensor or per-channel values, broadcastable against the output."""

    def __getstate__(self) -> dict[str, object]:
        """What copies are made from: all that follows from it is made again at its first use."""
        return {**self.__dict__, "_kernels": KernelCache(), "_by_windows": None, "derived": {}}

    def extra_repr(self) -> str:
        return f"{self.definition}, {self.multiplier.key}, swap={self.swap}"
