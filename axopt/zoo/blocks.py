"""Pieces that several models share."""

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Standardise the channels of images in [0, 1]; part of the model, so that data stay raw.

    Args:
        mean: One value per channel.
        std: One positive value per channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std
