"""A layer's results on windows of its input, in float and emulated."""

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
"""Factor by which an error must be less to be so not by chance, on a few hundred windows."""

_GAINS = (0.5, 2.0)
"""Gains outside say that the results have nothing to do with the exact ones."""


class Probe:
    """One layer with its present weights, ready to be measured.

    Args:
        layer: A calibrated layer.
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
        # the windows are the pixels of a line, their values its channels
        self._line = windows.reshape(n, -1).T[None, :, None]
        bias = None if layer.bias is None else layer.bias.detach().cpu()
        self._bias = torch.zeros(self.exact.shape[1]) if bias is None else bias.float()
        self._target = self._finished(self.exact)
        self._spread = float(self._target.double().var(0, correction=0).sum().sqrt())

    def results(self, formats: Quantisation, multiplier: Multiplier, swap: bool) -> Results:
        """Emulate the layer on the sample, without the shift of the formats and without bias."""
        plan = plan_of(multiplier, swap)
        codes = formats.weights.codes(self.layer.filters.detach().cpu()).flatten(1)
        products = Products(plan, multiplier.signed, formats, codes)
        accumulator = self.layer.accumulator
        if products.need_steps(self._absent is not None, accumulator):
            # NaN is taken for zero, as by the native operation
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
        """Root mean square error over the standard deviation of the exact results, in percent.

        Bias and rectifier of the layer are applied first. Only every other window counts, where
        there are two: nothing is fitted to those.
        """
        error = (self._finished(y) - self._target).double()
        error = error[1::2] if len(error) > 1 else error
        total = float(error.square().mean(0).sum().sqrt())
        return 100 * total / self._spread if self._spread > 0 else total

    def _finished(self, y: Tensor) -> Tensor:
        y = y + self._bias
        return y if self.layer.bounds is None else y.clamp(*self.layer.bounds)


@dataclass(frozen=True, eq=False)
class Results:
    """Emulated results of the windows, and what corrects them.

    Attributes:
        probe: The layer.
        formats: Of the operands.
        y: ``(windows, out_channels)`` results without shift and bias.
        mean: ``(out_channels,)`` float64, what the histograms expect of ``y``.
    """

    probe: Probe
    formats: Quantisation
    y: Tensor
    mean: Tensor

    def error_pct(self) -> float:
        """Error with the gain and shift that the formats bring."""
        shift = self.formats.shift
        return self.probe.error_pct(self.y if shift is None else self.y + shift)

    def corrected(self, *, mean_error: bool, gain: bool) -> Iterator[tuple[Quantisation, float]]:
        """The formats as they are and with each correction of the results, and their errors.

        Means are those of the histograms, which see all data but take every tap of a kernel for
        alike, or those of the windows, which know borders, where that is clearly better.
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
        """The results with the gain and shift of other formats of the same operands."""
        y = self.y if formats.gain is None else self.y * formats.gain
        return y if formats.shift is None else y + formats.shift

    def _common_gain(self) -> Tensor:
        """``(1,)`` factor for all results with the least squared error on every other window."""
        y, exact = self.y[::2].double(), self.probe.exact[::2].double()
        square = y.square().sum()
        factor = torch.where(square > 0, (y * exact).sum() / square, 1.0)
        return rounded(factor.clamp(*_GAINS)).view(1)

    def _best_gain(self) -> Tensor:
        """Least-squares slope of the exact results over ``y``, on every other window."""
        y, exact = self.y[::2].double(), self.probe.exact[::2].double()
        y, exact = y - y.mean(0), exact - exact.mean(0)
        variance = y.square().sum(0)
        slope = (y * exact).sum(0) / variance.clamp(min=torch.finfo(torch.float64).tiny)
        return rounded(torch.where(variance > 0, slope, 1.0).clamp(*_GAINS))
