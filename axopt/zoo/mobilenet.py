"""Inverted residuals: 1x1 convolutions around depthwise 3x3 ones.

.. [Sandler2018] M. Sandler, A. Howard, M. Zhu, A. Zhmoginov and L.-C. Chen, "MobileNetV2: Inverted
   Residuals and Linear Bottlenecks", CVPR 2018, tables 1 and 2.
"""

import torch
from torch import Tensor, nn

from axopt.zoo.blocks import Normalize, conv_block, he_initialise_
from axopt.zoo.registry import register_model
from axopt.zoo.resnet import CIFAR10_MEAN, CIFAR10_STD

# Table 2 of [Sandler2018]: expansion, output channels, blocks, stride of the first block.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM, _HEAD = 32, 1280
_SMALL_IMAGE = 64  # up to this side, five halvings would leave 2x2 pixels or fewer


class InvertedResidual(nn.Module):
    """A 1x1 convolution that expands, a depthwise 3x3 one, and a 1x1 one without activation.

    The input is added if it has the shape of the output.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        expansion: Channels of the depthwise convolution divided by those of the input; 1 leaves
            out the expanding convolution.
        stride: Stride of the depthwise convolution.
    """

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = (
            conv_block(in_channels, hidden, 1, activation=nn.ReLU6(inplace=True))
            if expansion > 1
            else nn.Identity()
        )
        self.depthwise = conv_block(
            hidden, hidden, 3, stride=stride, groups=hidden, activation=nn.ReLU6(inplace=True)
        )
        self.project = conv_block(hidden, channels, 1)
        self.residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2; small images skip the first two halvings.

    Input ``(N, 3, input_size, input_size)`` float in [0, 1]; output ``(N, num_classes)`` logits.

    Args:
        width: Factor on all channels, rounded to a multiple of 8.
        input_size: Side of the images; it determines the strides only.
        num_classes: Outputs of the last layer.
    """

    def __init__(
        self, width: float = 1.0, *, input_size: int = 224, num_classes: int = 10
    ) -> None:
        super().__init__()
        small = input_size <= _SMALL_IMAGE
        self.normalize = Normalize(CIFAR10_MEAN, CIFAR10_STD)
        channels = _scaled(_STEM, width)
        self.stem = conv_block(
            3, channels, 3, stride=1 if small else 2, activation=nn.ReLU6(inplace=True)
        )
        self.blocks = nn.Sequential()
        for index, (expansion, base, count, stride) in enumerate(_STAGES):
            first = 1 if small and index == 1 else stride
            for step in (first, *(1,) * (count - 1)):
                block = InvertedResidual(channels, _scaled(base, width), expansion, step)
                self.blocks.append(block)
                channels = _scaled(base, width)
        head = _scaled(_HEAD, width)
        self.head = conv_block(channels, head, 1, activation=nn.ReLU6(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(head, num_classes)
        he_initialise_(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(self.normalize(x))))
        logits: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return logits


def _scaled(channels: int, width: float) -> int:
    """``channels * width`` as the nearest positive multiple of 8."""
    return max(8, 8 * round(channels * width / 8))


@register_model("mobilenetv2_small")
def mobilenetv2_small() -> MobileNetV2:
    """MobileNetV2 of half width for CIFAR-10 (590,410 parameters)."""
    return MobileNetV2(0.5, input_size=32)
