"""Emulated layers with weights.

A call has three parts: `WeightedLayer.forward` looks up the formats, `native` looks up the native
operations for them (or makes them, once), and `_convolved` runs these.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from axopt.kernels import Window, active
from axopt.layers.base import Bounds, EmulatedLayer
from axopt.layers.gradients import Gradients, differentiable
from axopt.layers.native import Convolutions, KernelCache, Version, convolution_of
from axopt.layers.quantisation import Quantisation, QuantParams
from axopt.layers.sums import Products

_WINDOW_VALUES = 1 << 22
"""Number of window values that are summed at a time, in layers that are summed by windows."""


class WeightedLayer(EmulatedLayer):
    """A layer whose second operand is its weight, the same in every call.

    Subclasses define how windows are cut from the input and how native operations are run.

    Example:
        >>> import axopt
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), torch.rand(16, 8))
        >>> layer = emulated.emulated_layers["0"]
        >>> isinstance(layer, WeightedLayer), layer(torch.rand(2, 8)).shape
        (True, torch.Size([2, 4]))
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._codes: tuple[Version, QuantParams, Tensor] | None = None
        self.kernels = KernelCache()
        self._by_windows: tuple[Quantisation, tuple[object, ...], bool] | None = None

    def _weight_codes(self, weights: QuantParams) -> Tensor:
        """Return the codes of the filters, kept for the next call with the same weight."""
        version = self.weight_version()
        cached = self._codes
        if cached is None or cached[0] != version or cached[1] is not weights:
            cached = self._codes = (version, weights, weights.codes(self.filters))
        return cached[2]

    def forward(self, input: Tensor) -> Tensor:
        """Emulate the layer; same shapes and dtype as the original layer.

        Raises:
            CalibrationError: If the layer was never calibrated.
        """
        if self.observing:
            self._count(self.histogram, input)
            self._sample_windows(input)
            return self.bounded(self.exact_float(input))
        quantisation = self.quantisation()
        prepared = self.prepared(input.float())
        if torch.is_grad_enabled() and (input.requires_grad or self._trains()):
            bias = None if self.bias is None else self.bias.float()
            weight = self.filters.float()
            y = differentiable(self, prepared, weight, bias, quantisation, self.steps)
            return y.to(input.dtype)
        return self.emulated(prepared, quantisation, bounds=self.bounds).to(input.dtype)

    def _trains(self) -> bool:
        return (
            self.steps is not None
            or self.weight.requires_grad
            or (self.bias is not None and self.bias.requires_grad)
        )

    def unbounded(self, input: Tensor) -> Tensor:
        y = self.emulated(self.prepared(input.float()), self.quantisation())
        return y.to(input.dtype)

    def emulated(
        self,
        x: Tensor,
        quantisation: Quantisation,
        *,
        bounds: Bounds | None = None,
    ) -> Tensor:
        """Return dequantised sums of table products plus the bias, clamped to ``bounds``.

        Args:
            x: Prepared input, float32.
            quantisation: Formats to use.
            bounds: Lowest and highest result; None for no bounds.
        """
        if x.device.type == "cpu" and not self.summed_by_windows(quantisation):
            return self._convolved(self.native(quantisation), x, bounds)
        y = self.emulated_stepwise(x, quantisation)
        return y if bounds is None else y.clamp_(*bounds)

    def emulated_stepwise(self, x: Tensor, quantisation: Quantisation) -> Tensor:
        """Compute what `emulated` does, one element-wise operation after the other."""
        products = self.products(quantisation)
        if self.summed_by_windows(quantisation):
            sums = self._window_sums(x, products)
        else:
            sums = self.integer_sums(x, products)
        y = sums.float().mul_(self._per_output(quantisation.output_scale))
        bias = quantisation.output_bias(self.bias)
        return y if bias is None else y.add_(self._per_output(bias))

    def products(self, quantisation: Quantisation) -> Products:
        codes = self._weight_codes(quantisation.weights)
        scale = math.prod(self.multiplier.strides)
        return Products(
            self._plan, self.multiplier.signed, quantisation, codes, product_scale=scale
        )

    def summed_by_windows(self, quantisation: Quantisation) -> bool:
        """Return whether an option that native kernels lack can change a sum of this layer."""
        skips = self.padded_taps == "skip" and self.pads
        if not skips and self.accumulator is None:
            return False
        key = (self.multiplier.digest, self.swap, self.accumulator, skips, self.weight_version())
        known = self._by_windows
        if known is None or known[0] is not quantisation or known[1] != key:
            needed = self.products(quantisation).need_steps(skips, self.accumulator)
            known = self._by_windows = (quantisation, key, needed)
        return known[2]

    def _window_sums(self, x: Tensor, products: Products) -> Tensor:
        """Sum all windows, some at a time: slow, but with all options."""
        codes = products.quantisation.activation.codes(x)
        outputs = torch.arange(self._outputs(x), device=x.device)
        size = max(1, _WINDOW_VALUES // max(1, products.codes[0].numel()))
        sums = [
            products.window_sums(
                *self._windows_at(codes, some, products.padding_code), self.accumulator
            )
            for some in torch.split(outputs, size)
        ]
        return self._from_rows(torch.cat(sums), x)

    def native(self, quantisation: Quantisation) -> Convolutions:
        """Return the native operations for the present weights and multiplier, made once."""
        key = (self.multiplier.digest, self.swap, active())
        version = self.version()
        kept = self.kernels.get(key, quantisation, version)
        if kept is None:
            kept = tuple(
                self._without_taps(quantisation)
                if part is None
                else convolution_of(
                    self._plan, *part, quantisation, self.bias, signed=self.multiplier.signed
                )
                for part in self._as_kernels(self._weight_codes(quantisation.weights))
            )
            self.kernels.put(key, quantisation, version, kept)
        return kept

    def _without_taps(self, quantisation: Quantisation) -> Tensor:
        """Return the results of positions that sum no product, ``(out_channels,)``."""
        bias = quantisation.output_bias(self.bias)
        return torch.zeros(len(self.filters)) if bias is None else bias

    @abstractmethod
    def integer_sums(self, x: Tensor, products: Products) -> Tensor:
        """Return the sums of products less the zero-point sums for the prepared input.

        Returns:
            int32 sums shaped as the results, or int64 if there are zero-point sums.
        """

    def sums_by_tap(self, grad: Tensor, sums: Tensor) -> Tensor:
        """Sum a gradient over the results that each tap contributes to.

        Args:
            grad: Gradient of the results.
            sums: Sums of ``grad`` over all results of a channel, ``(out_channels,)``.

        Returns:
            A tensor that broadcasts against the filters.
        """
        return sums.view(-1, *(1,) * (self.weight.ndim - 1))

    @abstractmethod
    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        """Return the gradients of the float layer, see `gradients.Differentiable`."""

    def _sample_windows(self, x: Tensor) -> None:
        x = self.prepared(x.detach())
        self._count_channels(x)
        offered = self._outputs(x)
        windows, absent = self._windows_at(x, self.sample.wanted(offered), 0)
        if absent is not None:
            windows = windows.masked_fill(absent, math.nan)
        self.sample.add(windows, offered)

    @property
    def pads(self) -> bool:
        """Whether a window may hold padded zeros."""
        return False

    @abstractmethod
    def _count_channels(self, x: Tensor) -> None:
        """Count the values of the prepared input in the histograms of its channels."""

    @abstractmethod
    def _outputs(self, x: Tensor) -> int:
        """Return the number of results per output channel for the prepared input."""

    @abstractmethod
    def _windows_at(self, x: Tensor, at: Tensor, padding: float) -> tuple[Tensor, Tensor | None]:
        """Gather the input windows that contribute to the selected outputs.

        Args:
            x: Prepared input, or its codes.
            at: ``(n,)`` int64 numbers of outputs, counted over samples and positions.
            padding: Value of a padded zero.

        Returns:
            ``(n, groups, depth)`` values, the depth ordered like a flattened filter; and a mask,
            broadcastable to it, of the values that are not multiplied, or None if there are none.
        """

    @abstractmethod
    def _from_rows(self, rows: Tensor, x: Tensor) -> Tensor:
        """Reshape results ``(outputs, out_channels)`` to those of the input ``x``."""

    @abstractmethod
    def _as_kernels(self, codes: Tensor) -> list[tuple[Tensor, Window] | None]:
        """Return the weight codes and the window of each native operation.

        Codes have the shape ``(out_channels, channels // groups, kernel_h, kernel_w)``. None
        stands for a part without taps.
        """

    @abstractmethod
    def _convolved(self, convolutions: Convolutions, x: Tensor, bounds: Bounds | None) -> Tensor:
        """Run the native operations on the prepared input and join their results."""

    @abstractmethod
    def prepared(self, x: Tensor) -> Tensor:
        """Return the input to quantise: checked, and padded unless the padding is zeros."""

    @abstractmethod
    def _per_output(self, values: Tensor) -> Tensor:
        """Shape per-tensor or per-channel values to broadcast against the results."""

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "kernels": KernelCache(), "_by_windows": None}
