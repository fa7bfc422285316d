"""What a multiplier will cost in a layer after corrections, from the layer's own data.

An output of a layer is a sum of products ``x v`` of activations and weights. With the codes ``a``
and ``c`` that the quantisers choose, a multiplier contributes ``M(a, c)``. Corrections subtract
the mean of every output's error, so a constant error is free, and they choose ``c`` for every
weight. What remains of one weight is a variance over the activations::

    min over c of Var_a(w a - M(a, c)) = w^2 Var(a) + min over c of (r(c) - 2 w q(c))
    with  q(c) = Cov_a(a, M(a, c)),  r(c) = Var_a(M(a, c))

where ``w`` is the weight in units of its code. The variances are those within an input channel,
because the mean-error correction knows each channel's histogram. Errors of different products
count as uncorrelated.

A multiplier that adds kept partial products has ``M(a, c) = sum over i of a_i m_i(c)`` with the
weighted bits ``a_i`` of the activation and the masked weights ``m_i(c)``, so its ``q`` and ``r``
follow from the 8 x 8 covariance matrix of the bits. That makes thousands of sets cheap to price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from axopt.corrections.formats import activation_format, weight_format
from axopt.corrections.remapping import code_shares
from axopt.layers import EmulatedLayer, QuantParams
from axopt.layers.observation import BINS

Floats = npt.NDArray[np.float64]
Kept = npt.NDArray[np.bool_]

_CODES = np.arange(256)


def weighted_bits(signed: bool) -> Floats:
    """Return the bits of all operands, each times its weight.

    Args:
        signed: Whether operands are -128..127 in two's complement.

    Returns:
        ``(256, 8)`` float64, in numeric order of the operands; rows sum to the operand.

    Example:
        >>> weighted_bits(signed=True)[127].tolist()
        [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, -128.0]
    """
    patterns = (_CODES - 128) % 256 if signed else _CODES
    weights: Floats = np.exp2(np.arange(8))
    if signed:
        weights[-1] *= -1
    bits = (patterns[:, None] >> np.arange(8) & 1).astype(np.float64)
    return bits * weights


@dataclass(frozen=True, eq=False)
class Activations:
    """A layer's activations in the format of one stride of codes.

    Attributes:
        shares: ``(channels, 256)`` float64: how often each input channel has each code.
        unit: Difference of the values of neighbouring codes.
        noise: Mean square of the quantisation error, in the square of the activations' unit.
        signed: Whether codes stand for -128..127.
    """

    shares: Floats
    unit: float
    noise: float
    signed: bool

    @cached_property
    def operands(self) -> Floats:
        """The operands that codes stand for, ``(256,)``."""
        return (_CODES - 128 * self.signed).astype(np.float64)

    @cached_property
    def covariance(self) -> Floats:
        """Covariance of the operands' weighted bits within a channel, ``(8, 8)``."""
        bits = weighted_bits(self.signed)
        means = self.shares @ bits
        squares = bits.T @ (self.shares.mean(0)[:, None] * bits)
        found: Floats = squares - means.T @ means / len(means)
        return found

    @cached_property
    def variance(self) -> float:
        """Variance of the operands within a channel."""
        return float(self.covariance.sum())

    def lines(self, table: npt.NDArray[np.integer]) -> tuple[Floats, Floats]:
        """Return ``q`` and ``r`` of any table, see the module.

        Args:
            table: ``(256, 256)`` products; rows are codes of activations.

        Returns:
            Two arrays ``(256,)``, one value for each code of a weight.
        """
        products = table.astype(np.float64)
        share = self.shares.mean(0)
        of_products, of_operands = self.shares @ products, self.shares @ self.operands
        q = (share * self.operands) @ products - of_operands @ of_products / len(self.shares)
        r = share @ np.square(products) - np.square(of_products).mean(0)
        return q, r

    def lines_of_kept(self, kept: Kept) -> tuple[Floats, Floats]:
        """Return ``q`` and ``r`` of sums of kept partial products.

        Args:
            kept: ``(sets, 8, 8)`` bool; ``[s, i, j]``: whether bit i of the activation is
                multiplied with bit j of the weight.

        Returns:
            Two arrays ``(sets, codes)``, for the codes of weights that differ in a kept bit.
        """
        columns = kept.any((0, 1))
        distinct = 2 ** int(columns.argmax()) if columns.any() else 256
        masked = np.einsum("sij,cj->sci", kept, weighted_bits(self.signed)[::distinct])
        half = masked @ self.covariance
        return half.sum(-1), (half * masked).sum(-1)


@dataclass(frozen=True, eq=False)
class Weights:
    """A layer's weights in the format of one stride of codes.

    Attributes:
        values: Distinct weights in units of their code, rounded to whole codes, ``(n,)``; zero is
            the operand that represents it.
        importance: How much each counts: the sum of its channels' squared units, ``(n,)``.
    """

    values: Floats
    importance: Floats

    def loss(self, variance: float, q: Floats, r: Floats) -> Floats:
        """Return the expected squared error of all weights, see the module.

        Args:
            variance: Variance of the activations.
            q: ``(sets, codes)``.
            r: ``(sets, codes)``.

        Returns:
            ``(sets,)``.
        """
        exact = self.importance @ np.square(self.values) * variance
        found = np.empty(len(q))
        for number, (slopes, offsets) in enumerate(zip(q, r, strict=True)):
            best = (offsets - 2 * np.multiply.outer(self.values, slopes)).min(1)
            found[number] = exact + self.importance @ best
        return np.maximum(found, 0.0)


class LayerStatistics:
    """The data of one layer, by the strides of its formats.

    Args:
        layer: A calibrated layer.
        signed: Whether multipliers are signed.
    """

    def __init__(self, layer: EmulatedLayer, *, signed: bool) -> None:
        self._layer = layer
        self._signed = signed
        self._activations: dict[int, Activations] = {}
        self._weights: dict[int, Weights] = {}
        weight = layer.filters.detach().cpu().double()
        self._weight_square = float(weight.square().sum())
        self._spread = _output_variance(layer)

    def activations(self, stride: int) -> Activations:
        """Return the activations in the format of a stride."""
        if stride not in self._activations:
            params = activation_format(self._layer, symmetric=False, stride=stride)
            shares = code_shares(self._layer, params).numpy()
            self._activations[stride] = Activations(
                shares / shares.sum(1, keepdims=True),
                float(params.unit),
                _noise(self._layer, params),
                self._signed,
            )
        return self._activations[stride]

    def weights(self, stride: int) -> Weights:
        """Return the weights in the format of a stride."""
        if stride not in self._weights:
            params = weight_format(self._layer, signed=self._signed, stride=stride)
            weight = self._layer.filters.detach().cpu().double().flatten(1)
            unit = params.unit.double().expand(len(weight))[:, None]
            zero = params.zero_code.double().expand(len(weight))[:, None]
            values = (weight / unit + zero - (128 if self._signed else 0)).round()
            codes, inverse = np.unique(values.numpy(), return_inverse=True)
            squares = unit.square().expand_as(weight).numpy()
            importance = np.bincount(inverse.ravel(), squares.ravel(), minlength=len(codes))
            self._weights[stride] = Weights(
                codes.astype(np.float64), importance.astype(np.float64)
            )
        return self._weights[stride]

    def error_of_kept(self, kept: Kept, strides: tuple[int, int] = (1, 1)) -> Floats:
        """Return the expected relative squared error of the layer's results.

        Args:
            kept: ``(sets, 8, 8)`` bool; ``[s, i, j]``: whether bit i of the activation is
                multiplied with bit j of the weight.
            strides: Strides of the codes of activations and weights.

        Returns:
            ``(sets,)`` mean squared error over the variance of the exact results.
        """
        activations = self.activations(strides[0])
        return self._relative(activations, strides[1], *activations.lines_of_kept(kept))

    def error_of_table(
        self, table: npt.NDArray[np.integer], strides: Sequence[tuple[int, int]] = ((1, 1),)
    ) -> float:
        """Return the least expected relative squared error with any multiplier.

        Args:
            table: ``(256, 256)`` products; rows are codes of activations.
            strides: Pairs of strides of the codes of activations and weights to try.
        """
        least = np.inf
        for stride in dict.fromkeys(a for a, _ in strides):
            activations = self.activations(stride)
            q, r = activations.lines(table)
            for _, other in (pair for pair in strides if pair[0] == stride):
                error = self._relative(activations, other, q[None], r[None])
                least = min(least, float(error[0]))
        return least

    def _relative(self, activations: Activations, stride: int, q: Floats, r: Floats) -> Floats:
        loss = self.weights(stride).loss(activations.variance, q, r)
        error = activations.unit**2 * loss + activations.noise * self._weight_square
        return error / self._spread if self._spread > 0 else error


def _output_variance(layer: EmulatedLayer) -> float:
    """Return the sum of the variances of the exact layer's outputs, from its windows."""
    windows = layer.sample.windows.double().nan_to_num()
    n, groups, depth = windows.shape
    weight = layer.filters.detach().cpu().double().reshape(groups, -1, depth)
    results = torch.einsum("ngk,gok->ngo", windows, weight).reshape(n, -1)
    return float(results.var(0, correction=0).sum())


def _noise(layer: EmulatedLayer, params: QuantParams) -> float:
    """Return the mean squared error of quantised activations, from the layer's histograms."""
    channels = layer.channels
    edges = torch.linspace(-channels.limit, channels.limit, 4 * BINS + 1, dtype=torch.float64)
    points = (edges[1:] + edges[:-1]) / 2  # four in each bin
    squares = (params.fake_quantise(points).double() - points).square().view(BINS, 4).mean(1)
    counts = channels.counts.double().sum(0)
    share = float(channels.totals.sum()) or 1.0
    return float(counts @ squares) / share * (1 - channels.padded_share)
