"""Pieces that several models share."""

import math
from collections import OrderedDict

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


def conv_block(
    in_channels: int,
    channels: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, its batch norm and an activation, if any.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        kernel: Side of the kernel, odd.
        stride: Rows and columns between windows.
        groups: Independent groups of channels.
        activation: Appended as ``act``.
    """
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = OrderedDict[str, nn.Module](conv=conv, bn=nn.BatchNorm2d(channels))
    if activation is not None:
        layers["act"] = activation
    return nn.Sequential(layers)


def he_initialise_(model: nn.Module) -> None:
    """Draw convolutions as [He2015] does: variance 2 over the outputs that one input reaches.

    .. [He2015] K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers", ICCV 2015,
       section 2.2, backward case. A group sees only its own outputs, which
       `nn.init.kaiming_normal_` does not know.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            reached = module.out_channels // module.groups * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2 / reached))
