"""How often the operands of a layer have each level, by which slopes of a table are weighted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from axopt.layers.observation import ChannelHistograms
from axopt.layers.quantisation import Quantisation, QuantParams


class Observed(Protocol):
    """What this module needs of a layer."""

    channels: ChannelHistograms

    @property
    def filters(self) -> Tensor:
        """Float weight, output channels first."""

    def quantisation(self) -> Quantisation:
        """Formats in use."""


@dataclass(frozen=True)
class Shares:
    """Part of a layer's operands at each level, as bytes of float64, which can be keys.

    Attributes:
        activation: Of the activations that are not exactly zero. Most zeros are what a rectifier
            left, which lets no gradient through.
        weights: Of the weights.
    """

    activation: bytes
    weights: bytes

    @classmethod
    def of(cls, layer: Observed) -> Shares:
        """The shares in calibration's inputs and the present weights, in the present formats."""
        formats = layer.quantisation()
        levels = formats.weights.levels(layer.filters).flatten().cpu()
        weights = torch.bincount(levels.long(), minlength=formats.weights.top + 1)
        activation = level_shares(layer.channels, formats.activation).mean(0)
        return cls(*(_normalised(counts.double()) for counts in (activation, weights)))


def level_shares(channels: ChannelHistograms, activation: QuantParams) -> Tensor:
    """How often each input channel has each level, exact zeros left out.

    Returns:
        ``(channels, levels)`` float64, parts of all values that the kernel meets.
    """
    levels = torch.arange(activation.top, dtype=torch.float64)
    borders = (levels + 0.5 - int(activation.zero_point)) * activation.scale.double().cpu()
    infinity = borders.new_tensor([float("inf")])
    return channels.shares_between(torch.cat([-infinity, borders, infinity]))


def _normalised(counts: Tensor) -> bytes:
    """Parts of the sum; equal ones if that is zero."""
    total = counts.sum()
    shares = counts / total if bool(total > 0) else torch.full_like(counts, 1 / len(counts))
    return shares.numpy().tobytes()
