"""Fire modules: a 1x1 convolution to few channels, then 1x1 and 3x3 ones in parallel.

.. [Iandola2016] F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf, W. J. Dally and K. Keutzer,
   "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
   arXiv:1602.07360; there without batch norms.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from axopt.zoo.blocks import Normalize, conv_block, he_initialise_
from axopt.zoo.registry import register_model
from axopt.zoo.resnet import CIFAR10_MEAN, CIFAR10_STD

SMALL = ((16, 16), (32, 32, 32), (48, 48, 48))
_STEM = 32
_EXPANSION = 4  # channels of a fire module over those that it squeezes to


class Fire(nn.Module):
    """A 1x1 convolution to few channels; a 1x1 and a 3x3 one make half of the output each.

    Args:
        in_channels: Channels of the input.
        squeezed: Channels of the first convolution; the output has four times as many.
    """

    def __init__(self, in_channels: int, squeezed: int) -> None:
        super().__init__()
        half = squeezed * _EXPANSION // 2
        self.squeeze = conv_block(in_channels, squeezed, 1, activation=nn.ReLU(inplace=True))
        self.expand1 = conv_block(squeezed, half, 1, activation=nn.ReLU(inplace=True))
        self.expand3 = conv_block(squeezed, half, 3, activation=nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.expand1(x), self.expand3(x)], 1)


class SqueezeNet(nn.Module):
    """A convolution, stages of fire modules with max pools between, a 1x1 convolution, the mean.

    Input ``(N, 3, H, W)`` float in [0, 1]; output ``(N, num_classes)`` logits.

    Args:
        stages: To how many channels the fire modules of each stage squeeze.
        num_classes: Outputs.
    """

    def __init__(self, stages: Sequence[Sequence[int]], *, num_classes: int = 10) -> None:
        super().__init__()
        self.normalize = Normalize(CIFAR10_MEAN, CIFAR10_STD)
        self.stem = conv_block(3, _STEM, 3, activation=nn.ReLU(inplace=True))
        self.stages = nn.Sequential()
        channels = _STEM
        for index, widths in enumerate(stages):
            stage = nn.Sequential() if index == 0 else nn.Sequential(nn.MaxPool2d(2))
            for squeezed in widths:
                stage.append(Fire(channels, squeezed))
                channels = squeezed * _EXPANSION
            self.stages.append(stage)
        self.classify = nn.Conv2d(channels, num_classes, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        he_initialise_(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(self.normalize(x)))
        return torch.flatten(self.pool(self.classify(x)), 1)


@register_model("squeezenet_small")
def squeezenet_small() -> SqueezeNet:
    """Eight fire modules for CIFAR-10 (251,850 parameters)."""
    return SqueezeNet(SMALL)
