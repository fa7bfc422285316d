"""The networks that are measured, their inputs, and the FP32 models they are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from axopt.errors import ArgumentError
from axopt.model import EmulatedModel, prepare
from axopt.model.folding import folded_copy
from axopt.zoo import create_model
from axopt.zoo.mnist import LATENT
from axopt.zoo.mobilenet import MobileNetV2
from axopt.zoo.sentiment import WORDS
from axopt.zoo.vgg import HALF_VGG11, Vgg

UNSIGNED_SAMPLE = ("mul8u_1JFF", "mul8u_13QR", "mul8u_2P7", "mul8u_2HH", "mul8u_L40")
"""Unsigned multipliers of matrix rank 1, 4, 7, 50 and 193, from exact to a mean error of 3,168."""

_SEED = 0
_CALIBRATION_SAMPLES = 4  # few: their activations must stay small beside those of a batch
_LARGE_IMAGE = 224
_LARGE_DIVISOR = 16


@dataclass(frozen=True)
class Network:
    """A network to measure.

    Attributes:
        build: Returns the model, in evaluation mode.
        shape: Shape of one sample: channels, height and width of an image, or features.
        words: Size of the vocabulary of a network that reads words; inputs are word numbers.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    words: int | None = None

    def batch(self, batch: int) -> int:
        """Return the samples per call: a sixteenth of ``batch`` for large images, at least 1."""
        return max(1, batch // _LARGE_DIVISOR) if _LARGE_IMAGE in self.shape else batch

    def inputs(self, count: int) -> Tensor:
        """Return the same samples each time: ``(count, *shape)`` float32 in [0, 1] or int64 words.

        Images are channels last.
        """
        generator = torch.Generator().manual_seed(_SEED)
        size = (count, *self.shape)
        if self.words is not None:
            return torch.randint(1, self.words, size, generator=generator)
        values = torch.rand(size, generator=generator)
        return values.contiguous(memory_format=torch.channels_last) if len(size) == 4 else values


def untrained(build: Callable[[], nn.Module], inputs: Tensor) -> nn.Module:
    """Return a network with weights from a fixed seed, in evaluation mode.

    Its batch norms have the statistics of ``inputs``, so that activations have realistic ranges.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = build()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0  # statistics of the last batch alone
        model.train()
        with torch.no_grad():
            model(inputs)
    return model.eval()


def _trained(name: str, shape: tuple[int, ...], words: int | None = None) -> Network:
    """Return a model of the zoo with its weights."""
    return Network(lambda: create_model(name), shape, words)


def _large(build: Callable[[], nn.Module]) -> Network:
    """Return an untrained network for images of 224x224."""
    network = Network(lambda: untrained(build, network.inputs(_CALIBRATION_SAMPLES)), _LARGE)
    return network


_CIFAR, _LARGE = (3, 32, 32), (3, _LARGE_IMAGE, _LARGE_IMAGE)
_CIFAR_MODELS = (
    *("resnet8", "resnet20", "vgg_small", "mobilenetv2_small", "squeezenet_small"),
    *("densenet_small", "vit_small"),
)

NETWORKS = {
    "digits_cnn": _trained("digits_cnn", (1, 8, 8)),
    "digits_small": _trained("digits_small", (1, 8, 8)),
    **{name: _trained(name, _CIFAR) for name in _CIFAR_MODELS},
    "mnist_cnn": _trained("mnist_cnn", (1, 28, 28)),
    "mnist_gan": _trained("mnist_gan", (LATENT,)),
    "lstm_sentiment": _trained("lstm_sentiment", (48,), WORDS),
    "resnet20_224": Network(lambda: create_model("resnet20"), _LARGE),
    "vgg11_half_224": _large(lambda: Vgg(HALF_VGG11, input_size=_LARGE_IMAGE)),
    "mobilenetv2_224": _large(MobileNetV2),
}
"""Name -> network. The values of the weights hardly affect the time."""

QUICK_NETWORKS = ("resnet20", "vgg_small", "mobilenetv2_small")
DEFAULT_NETWORKS = (*QUICK_NETWORKS, "resnet20_224", "vgg11_half_224", "mobilenetv2_224")


def find_network(name: str) -> Network:
    """Return the network of that name.

    Raises:
        ArgumentError: If there is none.
    """
    if name not in NETWORKS:
        raise ArgumentError(f"`networks` must be of {', '.join(NETWORKS)}; got {name!r}.")
    return NETWORKS[name]


def folded_float(network: Network, model: nn.Module) -> nn.Module:
    """Return the FP32 model that emulation is compared with: batch norms folded, channels last.

    Args:
        network: The network of ``model``.
        model: The float model, in evaluation mode; it is copied.
    """
    module = folded_copy(model, network.inputs(1))
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def emulated_network(network: Network, model: nn.Module) -> EmulatedModel:
    """Return the emulated model, calibrated on a few random samples."""
    return prepare(model, [network.inputs(_CALIBRATION_SAMPLES)])
