"""Modules that several models share."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Standardise the channels of images in [0, 1], so that the model takes raw images.

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
    """Return a convolution, its batch norm and an optional activation; stride 1 keeps the size.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        kernel: Side of the kernel, odd.
        stride: Rows and columns between windows.
        groups: Independent groups of channels.
        activation: Becomes the child ``act``.
    """
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = OrderedDict[str, nn.Module](conv=conv, bn=nn.BatchNorm2d(channels))
    if activation is not None:
        layers["act"] = activation
    return nn.Sequential(layers)


def he_initialise_(model: nn.Module) -> None:
    """Initialise convolutions as in [He2015]: variance 2 / (outputs that use one input).

    .. [He2015] K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers", ICCV 2015,
       section 2.2, backward case. `nn.init.kaiming_normal_` ignores groups, in which an input is
       used by fewer outputs.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            reached = module.out_channels // module.groups * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2 / reached))
