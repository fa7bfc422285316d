"""Two small convolutional networks for 8x8 digits."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from axopt.zoo.blocks import Normalize
from axopt.zoo.registry import register_model

DIGITS_MEAN = (0.305,)
DIGITS_STD = (0.376,)
"""Statistics of the digits' training images, pixels in [0, 1]."""


def _block(
    in_channels: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(
        OrderedDict(conv=conv, bn=nn.BatchNorm2d(channels), relu=nn.ReLU(inplace=True))
    )


class DigitsCnn(nn.Module):
    """Six convolutions (one strided, one depthwise, one grouped, one 1x1) and a linear layer.

    Input ``(N, 1, 8, 8)`` float in [0, 1]; output ``(N, num_classes)`` logits.

    Args:
        num_classes: Outputs of the last layer.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.normalize = Normalize(DIGITS_MEAN, DIGITS_STD)
        self.stem = _block(1, 16, 3)
        self.widen = _block(16, 32, 3)
        self.depthwise = _block(32, 32, 3, groups=32)
        self.pointwise = _block(32, 32, 1)
        self.shrink = _block(32, 48, 3, stride=2)
        self.grouped = _block(48, 48, 3, groups=2)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(192, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(self.stem(self.normalize(x)))
        x = self.pointwise(self.depthwise(x))
        x = self.pool(self.grouped(self.shrink(x)))
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits


@register_model("digits_cnn", default_data="digits")
def digits_cnn() -> DigitsCnn:
    """A network with all kinds of 2-d convolutions (32,602 parameters)."""
    return DigitsCnn()


class DigitsSmall(nn.Module):
    """Seven thin convolutions, three of them depthwise, and a linear layer.

    It has little slack: cheap multipliers cost accuracy, so its front shows a trade-off.

    Input ``(N, 1, 8, 8)`` float in [0, 1]; output ``(N, 10)`` logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.normalize = Normalize(DIGITS_MEAN, DIGITS_STD)
        self.body = nn.Sequential(
            OrderedDict(
                stem=_block(1, 6, 3),
                dw1=_block(6, 6, 3, groups=6),
                pw1=_block(6, 10, 1),
                dw2=_block(10, 10, 3, stride=2, groups=10),
                pw2=_block(10, 14, 1),
                dw3=_block(14, 14, 3, groups=14),
                pw3=_block(14, 14, 1),
            )
        )
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(56, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.body(self.normalize(x)))
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits


@register_model("digits_small", default_data="digits_thirds")
def digits_small() -> DigitsSmall:
    """The network of ``make demo``."""
    return DigitsSmall()
