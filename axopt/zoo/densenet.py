"""Dense blocks: each convolution takes the outputs of all earlier ones of its block.

.. [Huang2017] G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, "Densely Connected
   Convolutional Networks", CVPR 2017. There each batch norm precedes its convolution and cannot be
   folded into it; here it follows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from axopt.zoo.blocks import Normalize, conv_block, he_initialise_
from axopt.zoo.registry import register_model
from axopt.zoo.resnet import CIFAR10_MEAN, CIFAR10_STD

SMALL = (3, 6, 8)
_STEM, _GROWTH = 24, 16


class DenseLayer(nn.Module):
    """A 3x3 convolution whose output is concatenated to its input.

    Args:
        in_channels: Channels of the input.
        growth: Channels of the output of the convolution.
    """

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.grow = conv_block(in_channels, growth, 3, activation=nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.grow(x)], 1)


class DenseNet(nn.Module):
    """A convolution and dense blocks; between blocks, channels and side are halved.

    Input ``(N, 3, H, W)`` float in [0, 1]; output ``(N, num_classes)`` logits.

    Args:
        blocks: Convolutions of each dense block.
        growth: Channels that each of these convolutions adds.
        num_classes: Outputs of the last layer.
    """

    def __init__(
        self, blocks: Sequence[int], growth: int = _GROWTH, *, num_classes: int = 10
    ) -> None:
        super().__init__()
        self.normalize = Normalize(CIFAR10_MEAN, CIFAR10_STD)
        self.stem = conv_block(3, _STEM, 3, activation=nn.ReLU(inplace=True))
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList([nn.Identity()])
        channels = _STEM
        for index, count in enumerate(blocks):
            if index > 0:
                self.transitions.append(_transition(channels))
                channels //= 2
            layers = (DenseLayer(channels + i * growth, growth) for i in range(count))
            self.blocks.append(nn.Sequential(*layers))
            channels += count * growth
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        he_initialise_(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.normalize(x))
        for transition, block in zip(self.transitions, self.blocks, strict=True):
            x = block(transition(x))
        logits: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return logits


def _transition(channels: int) -> nn.Sequential:
    mix = conv_block(channels, channels // 2, 1, activation=nn.ReLU(inplace=True))
    return nn.Sequential(mix, nn.AvgPool2d(2))


@register_model("densenet_small")
def densenet_small() -> DenseNet:
    """Seventeen dense layers for CIFAR-10 (238,186 parameters)."""
    return DenseNet(SMALL)
