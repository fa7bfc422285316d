"""A layer's results on a sample of its input windows, in float and emulated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from axopt.corrections.levels import WeightCodes
from axopt.corrections.mean_error import expected_emulated_outputs, expected_outputs
from axopt.kernels import Plan, Window
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

GAINS = (0.5, 2.0)
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
        self.bias = torch.zeros(self.exact.shape[1]) if bias is None else bias.float()
        target = self.finished(self.exact)
        self._spread = float(target.double().var(0, correction=0).sum().sqrt())
        self._target = held_out(target).clone()
        self.fitted_exact = fitted(self.exact).clone()
        self.fitted_mean = self.fitted_exact.mean(0)
        self.fitted_centred = self.fitted_exact - self.fitted_mean

    def results(self, formats: Quantisation, multiplier: Multiplier, swap: bool) -> Results:
        """Emulate the layer on the sample, without the bias and without the formats' shift.

        Args:
            formats: Formats of the operands and the results.
            multiplier: The multiplier in use.
            swap: Whether the weight is its first operand.
        """
        plan = plan_of(multiplier, swap)
        filters = self.layer.filters
        codes = WeightCodes.of(self.layer).codes(formats.weights)
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
                codes.view(len(filters), -1, 1, 1),
                Window(groups=self.groups),
                replace(formats, shift=None),
                None,
                signed=multiplier.signed,
            )
            y = convolution(self._line)[0, :, 0].T
        return Results(self, formats, y, plan, multiplier.signed)

    def error_pct(
        self, y: Tensor, gain: Tensor | None = None, shift: Tensor | None = None
    ) -> float:
        """Return the root mean square error in percent of the exact results' standard deviation.

        The layer's bias and fused ReLU are applied first.

        Args:
            y: ``(held-out windows, out_channels)`` results without the bias.
            gain: Factor of the results; None for 1.
            shift: Added to the results; None for 0.
        """
        added = self.bias if shift is None else self.bias + shift
        y = y + added if gain is None else torch.addcmul(added, y, gain)
        if self.layer.bounds is not None:
            y.clamp_(*self.layer.bounds)
        error = y.sub_(self._target).double().view(-1)
        total = math.sqrt(float(error.dot(error)) / max(1, len(y)))
        return 100 * total / self._spread if self._spread > 0 else total

    def finished(self, y: Tensor) -> Tensor:
        """Return results with the layer's bias and fused ReLU."""
        y = y + self.bias
        return y if self.layer.bounds is None else y.clamp_(*self.layer.bounds)


def fitted(windows: Tensor) -> Tensor:
    """Return the windows, along the first axis, that gains and shifts are fitted to."""
    return windows[::2]


def held_out(windows: Tensor) -> Tensor:
    """Return the windows that errors are measured on: the others, or the only one."""
    return windows[1::2] if len(windows) > 1 else windows


@dataclass(frozen=True, eq=False)
class Results:
    """Emulated results of the windows, and the corrections of these results.

    Attributes:
        probe: The layer that they are of.
        formats: Formats of the operands.
        y: ``(windows, out_channels)`` results without shift and bias.
        plan: The products.
        signed: Whether the multiplier is signed.
    """

    probe: Probe
    formats: Quantisation
    y: Tensor
    plan: Plan
    signed: bool

    def error_pct(self) -> float:
        """Return the error in percent with the gain and the shift of the formats."""
        # the results have the gain already
        return self.probe.error_pct(held_out(self.y), None, self.formats.shift)

    def corrected(self, *, mean_error: bool, gain: bool) -> Iterator[tuple[Quantisation, float]]:
        """Yield the formats as they are, then with each correction of the results, and the errors.

        A correction is fitted to the means of the histograms, which see all data but treat all
        taps of a kernel alike. It is fitted to the means of the windows, which include borders,
        where this is clearly better.
        """
        probe = self.probe
        tested = held_out(self.y).contiguous()
        yield self.formats, probe.error_pct(tested)
        if not (mean_error or gain):
            return
        y = fitted(self.y).double()
        if not probe.layer.has_channels:
            if gain:
                found = self.formats.corrected("gain", self._common_gain(y), None)
                yield found, probe.error_pct(tested, found.gain)
            return
        mean = y.mean(0)
        slopes = {"mean_error": torch.ones_like(mean)} if mean_error else {}
        if gain:
            slopes["gain"] = self._best_gain(y.sub_(mean))
        of_histograms = expected_emulated_outputs(
            probe.layer, self.formats, self.plan.table, signed=self.signed
        )
        for name, slope in slopes.items():
            least = math.inf
            gain_used = slope if name == "gain" else None
            for emulated, exact in ((of_histograms, probe.means), (mean, probe.fitted_mean)):
                shift = rounded(exact - slope * emulated).float()
                scale = None if gain_used is None else gain_used.float()
                error = probe.error_pct(tested, scale, shift)
                if error < least * _CLEARLY:
                    least = error
                    yield self.formats.corrected(name, gain_used, shift), error

    def _common_gain(self, y: Tensor) -> Tensor:
        """Return the least-squares factor of all results ``y``, ``(1,)``."""
        square = y.square().sum()
        product = (y * self.probe.fitted_exact).sum()
        return rounded(torch.where(square > 0, product / square, 1.0).clamp(*GAINS)).view(1)

    def _best_gain(self, centred: Tensor) -> Tensor:
        """Return the least-squares slopes of the exact results, ``(out_channels,)``.

        Args:
            centred: Results less their means.
        """
        variance = centred.square().sum(0)
        slope = (centred * self.probe.fitted_centred).sum(0)
        slope /= variance.clamp(min=torch.finfo(torch.float64).tiny)
        return rounded(torch.where(variance > 0, slope, 1.0).clamp(*GAINS))
