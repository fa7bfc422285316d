"""CIFAR residual networks with option-A (parameter-free) shortcuts.

.. [He2016] K. He, X. Zhang, S. Ren and J. Sun, "Deep Residual Learning for Image Recognition",
   CVPR 2016, section 4.2: three stages of n blocks with 16, 32 and 64 channels, 6n + 2 layers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from axopt.zoo.blocks import Normalize, he_initialise_
from axopt.zoo.registry import register_model

CIFAR10_MEAN = (0.491, 0.482, 0.447)
CIFAR10_STD = (0.245, 0.243, 0.261)
"""Per-channel statistics of the CIFAR-10 training images, pixels in [0, 1]."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut that subsamples and zero-pads channels (option A)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.stride = stride
        self.extra_channels = channels - in_channels

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.extra_channels == 0:
            return x
        half = self.extra_channels // 2
        subsampled = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(subsampled, (0, 0, 0, 0, half, self.extra_channels - half))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y)) + self.shortcut(x)
        activated: Tensor = self.relu2(y)
        return activated


class CifarResNet(nn.Module):
    """Residual network for 32x32 images.

    Args:
        blocks_per_stage: n of [He2016]; the network has 6n + 2 weight layers.
        num_classes: Outputs of the last layer.

    Input ``(N, 3, 32, 32)`` float in [0, 1]; output ``(N, num_classes)`` logits.
    """

    def __init__(self, blocks_per_stage: int, num_classes: int = 10) -> None:
        super().__init__()
        self.normalize = Normalize(CIFAR10_MEAN, CIFAR10_STD)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(16, 16, blocks_per_stage, stride=1)
        self.layer2 = self._stage(16, 32, blocks_per_stage, stride=2)
        self.layer3 = self._stage(32, 64, blocks_per_stage, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        he_initialise_(self)

    @staticmethod
    def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = BasicBlock(in_channels, channels, stride)
        return nn.Sequential(
            first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(self.normalize(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return logits


@register_model("resnet8")
def resnet8() -> CifarResNet:
    """ResNet-8 for CIFAR-10 (75,290 parameters)."""
    return CifarResNet(1)


@register_model("resnet20")
def resnet20() -> CifarResNet:
    """ResNet-20 for CIFAR-10 (269,722 parameters)."""
    return CifarResNet(3)
