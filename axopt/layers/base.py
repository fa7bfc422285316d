"""What every emulated layer has in common: operands, multiplier, calibration, zero points."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from axopt.errors import CalibrationError
from axopt.kernels import Convolution, Plan, Scales, Window, active, plan
from axopt.layers.calibrators import activation_params
from axopt.layers.histogram import Histogram
from axopt.layers.quantisation import QuantParams, weight_params
from axopt.layers.surrogate import Gradients, emulated_products
from axopt.multipliers import Multiplier

_MAX_KERNEL_BYTES = 32 << 20
"""Packed weights that a layer keeps for the multipliers used before, besides the present one."""


@functools.lru_cache(maxsize=512)
def _plan_of(multiplier: Multiplier, swap: bool) -> Plan:
    return plan(multiplier.table.T if swap else multiplier.table)


@dataclass(frozen=True, eq=False)
class _Kernel:
    """A native operation and what it was made from."""

    convolution: Convolution
    version: tuple[object, ...]
    params: tuple[QuantParams, QuantParams]

    def fits(self, version: tuple[object, ...], params: tuple[QuantParams, QuantParams]) -> bool:
        return self.version == version and all(
            ours is theirs for ours, theirs in zip(self.params, params, strict=True)
        )


class EmulatedLayer(nn.Module, ABC):
    """A layer whose products come from the table of a multiplier.

    The multiplier decides the number format: a signed circuit makes the layer symmetric, an
    unsigned one affine. Parameters of both formats follow from one calibration.

    Attributes:
        name: Name in the model, for messages.
        kind: Short name of the layer type, as it appears in reports.
        weight: Float weight, output channels first.
        bias: Float bias or None; it is added exactly.
        bounds: What the results are clamped to, where the layer does the rectifier behind it too.
        histogram: What calibration saw at the input.
        multiplier: The circuit in use.
        swap: Whether the weight is the first operand.
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
    ) -> None:
        super().__init__()
        self.name = name
        self.weight = cast(nn.Parameter, weight)
        self.register_parameter("bias", cast(nn.Parameter | None, bias))
        self.calibrator = calibrator
        self.per_channel = per_channel
        self.bounds = bounds
        self.histogram = Histogram()
        self.observing = False
        self._fixed: dict[bool, tuple[QuantParams, QuantParams]] = {}
        self._activation: dict[bool, QuantParams] = {}
        self._weights: dict[bool, tuple[tuple[int, int], QuantParams, Tensor]] = {}
        self._kernels: OrderedDict[tuple[object, ...], _Kernel] = OrderedDict()
        self.assign(multiplier, swap=False)

    def assign(self, multiplier: Multiplier, *, swap: bool) -> None:
        """Use ``multiplier`` from now on, with the weight as first operand if ``swap``."""
        self.multiplier = multiplier
        self.swap = swap
        self._plan = _plan_of(multiplier, swap)

    def quantisation(self, signed: bool | None = None) -> tuple[QuantParams, QuantParams]:
        """Parameters of the activations and of the weights.

        Args:
            signed: Kind of the circuit; that of the assigned multiplier by default.

        Raises:
            CalibrationError: If calibration saw nothing.
        """
        signed = self.multiplier.signed if signed is None else signed
        device = self.weight.device
        if signed in self._fixed:
            activation, weights = self._fixed[signed]
            return activation.to(device), weights.to(device)
        if signed not in self._activation:
            if self.histogram.empty:
                raise CalibrationError(f"layer {self.name!r} was never calibrated.")
            self._activation[signed] = activation_params(
                self.histogram, signed=signed, calibrator=self.calibrator
            )
        return self._activation[signed].to(device), self._quantised_weight(signed)[0]

    def fix_quantisation(
        self, signed: bool, activation: QuantParams, weights: QuantParams
    ) -> None:
        """Use these parameters instead of the calibrated ones for circuits of that kind."""
        self._fixed[signed] = (activation, weights)
        self._weights.pop(signed, None)

    def release_quantisation(self) -> None:
        """Go back to the calibrated parameters."""
        self._fixed.clear()
        self._weights.clear()

    def _quantised_weight(self, signed: bool) -> tuple[QuantParams, Tensor]:
        """Parameters and indices of the weight, computed once per version of the weight."""
        version = (self.weight._version, self.weight.data_ptr())
        cached = self._weights.get(signed)
        if cached is None or cached[0] != version:
            if signed in self._fixed:
                params = self._fixed[signed][1].to(self.weight.device)
            else:
                params = weight_params(self.weight, signed=signed, per_channel=self.per_channel)
            cached = (version, params, params.indices(self.weight))
            self._weights[signed] = cached
        return cached[1], cached[2]

    def forward(self, x: Tensor) -> Tensor:
        """Emulate the layer; same shapes and dtype as the layer it stands for.

        Raises:
            CalibrationError: If the layer was never calibrated.
        """
        if self.observing:
            self._observe(x)
            return self._bounded(self.exact_float(x))
        activation, weights = self.quantisation()
        prepared = self._prepared_input(x.float())
        if torch.is_grad_enabled() and (x.requires_grad or self._trains()):
            y = emulated_products(prepared, self.weight, self.bias, self, activation, weights)
            return self._bounded(y).to(x.dtype)
        return self.emulated(prepared, activation, weights, bounds=self.bounds).to(x.dtype)

    def _trains(self) -> bool:
        return self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)

    def _bounded(self, y: Tensor) -> Tensor:
        return y if self.bounds is None else y.clamp(*self.bounds)

    def _observe(self, x: Tensor) -> None:
        try:
            self.histogram.update(x)
        except CalibrationError as error:
            raise CalibrationError(f"layer {self.name!r}: {error}") from None
        self._activation.clear()

    def emulated(
        self,
        x: Tensor,
        activation: QuantParams,
        weights: QuantParams,
        *,
        bounds: tuple[float, float] | None = None,
    ) -> Tensor:
        """Dequantised sums of table products, and the bias, clamped to ``bounds``."""
        if x.device.type == "cpu":
            return self._convolved(self._kernel(activation, weights), x, bounds)
        y = self.emulated_stepwise(x, activation, weights)
        return y if bounds is None else y.clamp_(*bounds)

    def emulated_stepwise(
        self, x: Tensor, activation: QuantParams, weights: QuantParams
    ) -> Tensor:
        """What `emulated` computes, one element-wise operation after the other."""
        indices = self._quantised_weight(self.multiplier.signed)[1]
        sums = self.integer_sums(activation.indices(x), indices, activation, weights)
        scale = activation.scale * weights.scale
        y = sums.float().mul_(self._per_output(scale))
        return y if self.bias is None else y.add_(self._per_output(self.bias.detach().float()))

    def _kernel(self, activation: QuantParams, weights: QuantParams) -> Convolution:
        """The native operation for the present weights and multiplier, made at first use."""
        key = (self.multiplier.digest, self.swap, active())
        params = (activation, weights)
        version = tuple(
            None if value is None else (value._version, value.data_ptr())
            for value in (self.weight, self.bias)
        )
        cached = self._kernels.get(key)
        if cached is None or not cached.fits(version, params):
            convolution = Convolution(
                self._plan,
                self._as_kernel(self._quantised_weight(self.multiplier.signed)[1]),
                self._window(),
                Scales(activation.scale, activation.zero_point, weights.scale, weights.zero_point),
                self.bias,
                signed=self.multiplier.signed,
            )
            cached = self._kernels[key] = _Kernel(convolution, version, params)
            self._forget_kernels()
        self._kernels.move_to_end(key)
        return cached.convolution

    def _forget_kernels(self) -> None:
        """Drop the kernels used longest ago where they take too much memory together."""
        total = sum(kernel.convolution.nbytes for kernel in self._kernels.values())
        while total > _MAX_KERNEL_BYTES and len(self._kernels) > 1:
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
            int32 sums for signed circuits, int64 for unsigned ones.
        """
        sums = self._product_sums(x, weight, self._plan)
        if self.multiplier.signed:
            return sums
        weight_zero = self._per_output(weights.zero_point)
        activation_sums = self._activation_sums(x, weight)
        weight_sums = self._per_output(weight.flatten(1).sum(1, dtype=torch.int64))
        terms = weight[0].numel()
        return (
            sums.long()
            - weight_zero * activation_sums
            - activation.zero_point * weight_sums
            + terms * activation.zero_point * weight_zero
        )

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
        """Gradients of the float layer, see `surrogate.Products`."""

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

    def __getstate__(self) -> dict[str, object]:
        """What copies are made from: native operations are made again at their first use."""
        return {**self.__dict__, "_kernels": OrderedDict()}

    def extra_repr(self) -> str:
        return f"{self.geometry()}, {self.multiplier.key}, swap={self.swap}"
