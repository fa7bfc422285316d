"""A layer's results on a sample of its input windows, in float and emulated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from axopt.corrections.mean_error import expected_emulated_outputs, expected_outputs
from axopt.kernels import Window
from axopt.layers import (
    EmulatedLayer,
    Products,
    Quantisation,
    convolution_of,
    plan_of,
    rounded,
)
from axopt.multipliers import Multiplier

_CLEARLY = 0.98
"""The smallest improvement that counts as real on a few hundred windows, as a factor."""

_GAINS = (0.5, 2.0)
"""Bounds of gains. A gain outside means that results and exact results are unrelated."""


class Probe:
    """Measures one layer with its present weights on its sample of input windows.

    Args:
        layer: A calibrated layer.

    Attributes:
        exact: ``(windows, out_channels)`` float64 results of the float layer, without the bias.
        means: ``(out_channels,)`` float64, their means by the histograms of the input channels.
    """

    def __init__(self, layer: EmulatedLayer) -> None:
        self.layer = layer
        windows = layer.sample.windows
        n, self.groups, depth = windows.shape
        absent = windows.isnan()
        self._absent = absent if bool(absent.any()) else None
        weight = layer.filters.detach().cpu().double().reshape(self.groups, -1, depth)
        self.exact = torch.einsum("ngk,gok->ngo", windows.double().nan_to_num(), weight).reshape(
            n, -1
        )
        self.means = expected_outputs(layer)
        # an image of one row: a window is a pixel, its values are the channels
        self._line = windows.reshape(n, -1).T[None, :, None]
        bias = None if layer.bias is None else layer.bias.detach().cpu()
        self._bias = torch.zeros(self.exact.shape[1]) if bias is None else bias.float()
        self._target = self._finished(self.exact)
        self._spread = float(self._target.double().var(0, correction=0).sum().sqrt())

    def results(self, formats: Quantisation, multiplier: Multiplier, swap: bool) -> Results:
        """Emulate the layer on the sample, without the bias and without the formats' shift.

        Args:
            formats: Formats of the operands and the results.
            multiplier: The multiplier in use.
            swap: Whether the weight is its first operand.
        """
        plan = plan_of(multiplier, swap)
        codes = formats.weights.codes(self.layer.filters.detach().cpu()).flatten(1)
        scale = math.prod(multiplier.strides)
        products = Products(plan, multiplier.signed, formats, codes, product_scale=scale)
        accumulator = self.layer.accumulator
        if products.need_steps(self._absent is not None, accumulator):
            # NaN gets the code of zero, as in the native operation
            windows = formats.activation.codes(self.layer.sample.windows)
            sums = products.window_sums(windows, self._absent, accumulator)
            y = sums.float() * formats.output_scale
        else:
            convolution = convolution_of(
                plan,
                codes[:, :, None, None],
                Window(groups=self.groups),
                replace(formats, shift=None),
                None,
                signed=multiplier.signed,
            )
            y = convolution(self._line)[0, :, 0].T
        mean = expected_emulated_outputs(self.layer, formats, plan.table, signed=multiplier.signed)
        return Results(self, formats, y, mean)

    def error_pct(self, y: Tensor) -> float:
        """Return the root mean square error in percent of the exact results' standard deviation.

        The layer's bias and fused ReLU are applied first. If there are several windows, only every
        other one counts: gains and shifts are fitted to the rest.

        Args:
            y: ``(windows, out_channels)`` results without the bias.
        """
        if len(y) > 1:
            error = (self._finished(y[1::2]) - self._target[1::2]).double()
        else:
            error = (self._finished(y) - self._target).double()
        total = float(error.square().mean(0).sum().sqrt())
        return 100 * total / self._spread if self._spread > 0 else total

    def _finished(self, y: Tensor) -> Tensor:
        y = y + self._bias
        return y if self.layer.bounds is None else y.clamp(*self.layer.bounds)


@dataclass(frozen=True, eq=False)
class Results:
    """Emulated results of the windows, and the corrections of these results.

    Attributes:
        probe: The layer that they are of.
        formats: Formats of the operands.
        y: ``(windows, out_channels)`` results without shift and bias.
        mean: ``(out_channels,)`` float64 mean of the results by the input channels' histograms.
    """

    probe: Probe
    formats: Quantisation
    y: Tensor
    mean: Tensor

    def error_pct(self) -> float:
        """Return the error in percent with the gain and the shift of the formats."""
        shift = self.formats.shift
        return self.probe.error_pct(self.y if shift is None else self.y + shift)

    def corrected(self, *, mean_error: bool, gain: bool) -> Iterator[tuple[Quantisation, float]]:
        """Yield the formats as they are, then with each correction of the results, and the errors.

        A correction is fitted to the means of the histograms, which see all data but treat all
        taps of a kernel alike. It is fitted to the means of the windows, which include borders,
        where this is clearly better.
        """
        yield self.formats, self.probe.error_pct(self.y)
        if not self.probe.layer.has_channels:
            if gain:
                found = self.formats.corrected("gain", self._common_gain(), None)
                yield found, self.probe.error_pct(self._with(found))
            return
        one = torch.ones(self.y.shape[1], dtype=torch.float64)
        slopes = {"mean_error": one} if mean_error else {}
        if gain:
            slopes["gain"] = self._best_gain()
        fitted = slice(None, None, 2)
        of_windows = (self.y[fitted].double().mean(0), self.probe.exact[fitted].double().mean(0))
        for name, slope in slopes.items():
            least = math.inf
            for emulated, exact in ((self.mean, self.probe.means), of_windows):
                scale = slope if name == "gain" else None
                found = self.formats.corrected(name, scale, exact - slope * emulated)
                error = self.probe.error_pct(self._with(found))
                if error < least * _CLEARLY:
                    least = error
                    yield found, error

    def _with(self, formats: Quantisation) -> Tensor:
        """Return the results with the gain and the shift of ``formats``."""
        y = self.y if formats.gain is None else self.y * formats.gain
        return y if formats.shift is None else y + formats.shift

    def _common_gain(self) -> Tensor:
        """Return the least-squares factor of all results on every other window, ``(1,)``."""
        y, exact = self.y[::2].double(), self.probe.exact[::2].double()
        square = y.square().sum()
        factor = torch.where(square > 0, (y * exact).sum() / square, 1.0)
        return rounded(factor.clamp(*_GAINS)).view(1)

    def _best_gain(self) -> Tensor:
        """Return the least-squares slopes of the exact results over ``y``, ``(out_channels,)``.

        They are fitted on every other window.
        """
        y, exact = self.y[::2].double(), self.probe.exact[::2].double()
        y, exact = y - y.mean(0), exact - exact.mean(0)
        variance = y.square().sum(0)
        slope = (y * exact).sum(0) / variance.clamp(min=torch.finfo(torch.float64).tiny)
        return rounded(torch.where(variance > 0, slope, 1.0).clamp(*_GAINS))
