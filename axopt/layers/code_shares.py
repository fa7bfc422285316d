"""How often each code is multiplied in a layer, from calibration and weights."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from axopt.errors import CalibrationError
from axopt.layers.histogram import Histogram
from axopt.layers.observation import ChannelHistograms
from axopt.layers.quantisation import Quantisation, QuantParams
from axopt.layers.shares import level_shares


class Calibrated(Protocol):
    """The part of a layer that this module uses."""

    name: str
    histogram: Histogram
    channels: ChannelHistograms

    def weight_code_shares(self, weights: QuantParams) -> Tensor:
        """Return how often each code of the second operand occurs, ``(256,)`` float64."""


def code_shares(layer: Calibrated, formats: Quantisation) -> tuple[Tensor, Tensor]:
    """Return how often a layer multiplies each code.

    Activations are those of calibration, with padded zeros. Weights count equally often.

    Args:
        layer: A calibrated layer.
        formats: Formats of its operands.

    Returns:
        Shares of the codes of activations and of weights, ``(256,)`` float64 each with sum 1.
        For a product of two activations, the weights are its second operands.

    Raises:
        CalibrationError: If calibration saw nothing.

    Example:
        >>> import axopt
        >>> emulated = axopt.prepare(torch.nn.Linear(3, 2), torch.tensor([[0.0, 0.0, 1.0]]))
        >>> layer = emulated.emulated_layers["0"]
        >>> activations, _ = code_shares(layer, layer.quantisation())
        >>> [(int(code), round(float(activations[code]), 2)) for code in activations.nonzero()]
        [(128, 0.67), (255, 0.33)]
    """
    return _activations(layer, formats.activation), layer.weight_code_shares(formats.weights)


def _activations(layer: Calibrated, params: QuantParams) -> Tensor:
    channels = layer.channels
    if len(channels.counts) == 0:
        return histogram_code_shares(layer.histogram, params, layer.name)
    levels = level_shares(channels, params).mean(0)
    levels[int(params.zero_point)] += channels.zero_shares().mean()
    codes = params.code_table
    all_levels = torch.arange(len(levels))
    of_level = all_levels if codes is None else codes.cpu().long()[all_levels]
    return normalised(torch.zeros(256, dtype=torch.float64).index_add_(0, of_level, levels))


def tensor_code_shares(values: Tensor, params: QuantParams) -> Tensor:
    """Return how often each code occurs among values, ``(256,)`` float64.

    Args:
        values: Any shape; channels first if the parameters are per channel.
        params: The format.
    """
    return normalised(torch.bincount(params.codes(values).flatten().cpu(), minlength=256).double())


def histogram_code_shares(histogram: Histogram, params: QuantParams, name: str) -> Tensor:
    """Return how often each code occurs among the values of a histogram, ``(256,)`` float64.

    Raises:
        CalibrationError: If the histogram is empty; ``name`` is the layer's.
    """
    if histogram.empty:
        raise CalibrationError(f"layer {name!r} was never calibrated.")
    codes = params.to(torch.device("cpu")).codes(histogram.centres().float())
    counts = torch.bincount(codes.long(), histogram.counts.double(), minlength=256)
    return normalised(counts)


def normalised(counts: Tensor) -> Tensor:
    """Return counts divided by their sum; equal shares if all are zero."""
    total = counts.sum()
    return counts / total if bool(total > 0) else torch.full_like(counts, 1 / len(counts))
