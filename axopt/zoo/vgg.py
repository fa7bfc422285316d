"""Networks of 3x3 convolutions, batch norms and max pools.

.. [Simonyan2015] K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale
   Image Recognition", ICLR 2015, table 1, which has no batch norms and three linear layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from axopt.errors import ArgumentError
from axopt.zoo.blocks import Normalize, conv_block, he_initialise_
from axopt.zoo.registry import register_model
from axopt.zoo.resnet import CIFAR10_MEAN, CIFAR10_STD

SMALL = ((32, 64), (128, 128), (256, 256))
HALF_VGG11 = ((32,), (64,), (128, 128), (256, 256), (256, 256))
"""The convolutions of VGG-11 (configuration A) with half the channels, made for 224x224."""


class Vgg(nn.Module):
    """Stages of 3x3 convolutions that end in a 2x2 max pool, and one linear layer.

    Input ``(N, 3, input_size, input_size)`` float in [0, 1]; output ``(N, num_classes)`` logits.

    Args:
        stages: Output channels of the convolutions of each stage.
        input_size: Side of the images; each stage halves it.
        num_classes: Outputs of the last layer.

    Raises:
        ArgumentError: If the stages cannot halve the side that often.
    """

    def __init__(
        self, stages: Sequence[Sequence[int]], *, input_size: int = 32, num_classes: int = 10
    ) -> None:
        super().__init__()
        side = input_size >> len(stages)
        if side < 1 or side << len(stages) != input_size:
            raise ArgumentError(
                f"`input_size` must be a positive multiple of {2 ** len(stages)} for "
                f"{len(stages)} stages, got {input_size}."
            )
        self.normalize = Normalize(CIFAR10_MEAN, CIFAR10_STD)
        self.stages = nn.Sequential()
        channels = 3
        for widths in stages:
            stage = nn.Sequential()
            for width in widths:
                stage.append(conv_block(channels, width, 3, activation=nn.ReLU(inplace=True)))
                channels = width
            self.stages.append(stage.append(nn.MaxPool2d(2)))
        self.fc = nn.Linear(channels * side**2, num_classes)
        he_initialise_(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.normalize(x))
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits


@register_model("vgg_small")
def vgg_small() -> Vgg:
    """Six convolutions and a linear layer for CIFAR-10 (1,167,914 parameters)."""
    return Vgg(SMALL)
