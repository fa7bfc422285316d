"""A classifier of handwritten digits and a generator of them.

.. [Radford2016] A. Radford, L. Metz and S. Chintala, "Unsupervised Representation Learning with
   Deep Convolutional Generative Adversarial Networks", ICLR 2016.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from axopt.zoo.blocks import Normalize, conv_block, he_initialise_
from axopt.zoo.registry import register_model

MNIST_MEAN = (0.133,)
MNIST_STD = (0.310,)
"""Statistics of the training images, pixels in [0, 1]."""

LATENT = 42
"""Inputs of the generator: 32 normal numbers and the digit in one-hot form."""

FEATURES = 64
_SIDE = 7  # of the generator's first image, which two layers double


class MnistCnn(nn.Module):
    """Three convolutions and two linear layers.

    Its features measure the quality of generated digits. It therefore also holds the mean and the
    covariance of the features of real digits.

    Input ``(N, 1, 28, 28)`` float in [0, 1]; output ``(N, num_classes)`` logits.

    Args:
        num_classes: Outputs of the last layer.

    Attributes:
        feature_mean: Mean of `features` over the training images, ``(64,)``.
        feature_covariance: Their covariance, ``(64, 64)``.
    """

    feature_mean: Tensor
    feature_covariance: Tensor

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.normalize = Normalize(MNIST_MEAN, MNIST_STD)
        self.stem = conv_block(1, 16, 3, activation=nn.ReLU(inplace=True))
        self.widen = conv_block(16, 32, 3, activation=nn.ReLU(inplace=True))
        self.shrink = conv_block(32, 32, 3, stride=2, activation=nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(32 * 4 * 4, FEATURES)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(FEATURES, num_classes)
        self.register_buffer("feature_mean", torch.zeros(FEATURES))
        self.register_buffer("feature_covariance", torch.eye(FEATURES))
        he_initialise_(self)

    def features(self, x: Tensor) -> Tensor:
        """Return the inputs of the last layer, ``(N, 64)``."""
        x = self.pool(self.widen(self.pool(self.stem(self.normalize(x)))))
        found: Tensor = self.relu(self.hidden(torch.flatten(self.shrink(x), 1)))
        return found

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(x))
        return logits


class MnistGenerator(nn.Module):
    """A linear layer and two transposed convolutions that double the side [Radford2016].

    Input ``(N, 42)`` float, see `LATENT`; output ``(N, 1, 28, 28)`` in [0, 1].

    Args:
        width: Channels of the first image; each doubling of the side halves them.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.fc = nn.Linear(LATENT, width * _SIDE**2, bias=False)
        self.bn = nn.BatchNorm1d(width * _SIDE**2)
        self.relu = nn.ReLU(inplace=True)
        self.up1 = _doubling(width, width // 2)
        self.mix = conv_block(width // 2, width // 2, 3, activation=nn.ReLU(inplace=True))
        self.up2 = _doubling(width // 2, width // 4)
        self.paint = nn.Conv2d(width // 4, 1, 3, padding=1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, latents: Tensor) -> Tensor:
        x = self.relu(self.bn(self.fc(latents))).view(-1, self.width, _SIDE, _SIDE)
        x = self.up2(self.mix(self.up1(x)))
        images: Tensor = self.sigmoid(self.paint(x))
        return images


def _doubling(in_channels: int, channels: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(in_channels, channels, 4, stride=2, padding=1, bias=False)
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(channels), relu=relu))


@register_model("mnist_cnn")
def mnist_cnn() -> MnistCnn:
    """Classifier of MNIST digits (47,610 parameters), also used to rate those of `mnist_gan`."""
    return MnistCnn()


@register_model("mnist_gan", default_data="latents", metric="frechet")
def mnist_gan() -> MnistGenerator:
    """Generator of MNIST digits of a given class (131,941 parameters)."""
    return MnistGenerator()
