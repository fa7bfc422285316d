"""Level frequencies of a layer's operands, used to weight the slopes of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from axopt.layers.observation import ChannelHistograms
from axopt.layers.quantisation import Quantisation, QuantParams


class Observed(Protocol):
    """The part of a layer that this module uses."""

    channels: ChannelHistograms

    @property
    def filters(self) -> Tensor:
        """Float weight, output channels first."""

    def quantisation(self) -> Quantisation:
        """Return the formats in use."""


@dataclass(frozen=True)
class Shares:
    """Share of a layer's operands at each level, as bytes of float64, which are hashable.

    Attributes:
        activation: Shares of the activations, exact zeros excluded: most of these are outputs of
            a ReLU, which passes no gradient there.
        weights: Shares of the weights.

    Example:
        >>> import axopt
        >>> emulated = axopt.prepare(torch.nn.Linear(3, 2), torch.rand(16, 3))
        >>> shares = Shares.of(emulated.emulated_layers["0"])
        >>> len(shares.weights) // 8
        256
    """

    activation: bytes
    weights: bytes

    @classmethod
    def of(cls, layer: Observed) -> Shares:
        """Return the shares of the calibration inputs and of the present weights."""
        formats = layer.quantisation()
        levels = formats.weights.levels(layer.filters).flatten().cpu()
        weights = torch.bincount(levels.long(), minlength=formats.weights.top + 1)
        activation = level_shares(layer.channels, formats.activation).mean(0)
        return cls(*(_normalised(counts.double()) for counts in (activation, weights)))


def level_shares(channels: ChannelHistograms, activation: QuantParams) -> Tensor:
    """Return how often each input channel has each level, exact zeros excluded.

    Args:
        channels: Histograms of the input channels.
        activation: Format of the activations.

    Returns:
        ``(channels, levels)`` float64 shares of all values that the kernel sees.

    Example:
        >>> channels = ChannelHistograms()
        >>> channels.update(torch.tensor([[0.5, 1.0, 1.0, 0.0]]))
        >>> one = QuantParams(torch.tensor(0.5), torch.tensor(0))
        >>> [round(share, 2) for share in level_shares(channels, one)[0, :3].tolist()]
        [0.0, 0.25, 0.5]
    """
    levels = torch.arange(activation.top, dtype=torch.float64)
    borders = (levels + 0.5 - int(activation.zero_point)) * activation.scale.double().cpu()
    infinity = borders.new_tensor([float("inf")])
    return channels.shares_between(torch.cat([-infinity, borders, infinity]))


def _normalised(counts: Tensor) -> bytes:
    """Return counts divided by their sum, as bytes; equal shares if the sum is zero."""
    total = counts.sum()
    shares = counts / total if bool(total > 0) else torch.full_like(counts, 1 / len(counts))
    return shares.numpy().tobytes()
