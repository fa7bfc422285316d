"""The networks that are measured, their inputs, and the FP32 model that they are compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from axopt.errors import ArgumentError
from axopt.model import EmulatedModel, prepare
from axopt.model.preparation import fold_batch_norms
from axopt.model.trace import trace
from axopt.zoo import create_model
from axopt.zoo.mobilenet import MobileNetV2
from axopt.zoo.vgg import HALF_VGG11, Vgg

UNSIGNED_SAMPLE = ("mul8u_1JFF", "mul8u_13QR", "mul8u_2P7", "mul8u_2HH", "mul8u_L40")
"""Unsigned circuits of matrix rank 1, 4, 7, 50 and 193, from exact to a mean error of 3,168."""

_SEED = 0
_CALIBRATION_IMAGES = 4  # few: their activations must stay small beside those of a batch
_LARGE_IMAGE = 224
_LARGE_DIVISOR = 16


@dataclass(frozen=True)
class Network:
    """A network to measure.

    Attributes:
        build: Makes it, in evaluation mode.
        image: Channels, height and width of the input.
    """

    build: Callable[[], nn.Module]
    image: tuple[int, int, int]

    def batch(self, batch: int) -> int:
        """Images at a time: large images come in batches 16 times smaller, at least one."""
        return max(1, batch // _LARGE_DIVISOR) if self.image[1] >= _LARGE_IMAGE else batch


def _untrained(build: Callable[[], nn.Module], side: int) -> Callable[[], nn.Module]:
    """A builder whose batch norms have seen images, so that activations have realistic ranges."""

    def settled() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            model = build()
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # the last batch alone
        model.train()
        with torch.no_grad():
            model(random_images(_CALIBRATION_IMAGES, (3, side, side)))
        return model.eval()

    return settled


NETWORKS = {
    "digits_cnn": Network(lambda: create_model("digits_cnn"), (1, 8, 8)),
    "resnet20": Network(lambda: create_model("resnet20"), (3, 32, 32)),
    "vgg_small": Network(
        _untrained(lambda: create_model("vgg_small", pretrained=False), 32), (3, 32, 32)
    ),
    "mobilenetv2_small": Network(
        _untrained(lambda: create_model("mobilenetv2_small", pretrained=False), 32), (3, 32, 32)
    ),
    "resnet20_224": Network(lambda: create_model("resnet20"), (3, 224, 224)),
    "vgg11_half_224": Network(
        _untrained(lambda: Vgg(HALF_VGG11, input_size=224), 224), (3, 224, 224)
    ),
    "mobilenetv2_224": Network(_untrained(MobileNetV2, 224), (3, 224, 224)),
}
"""Name -> network. ResNet-20 has its trained weights; the others' are drawn from a fixed seed,
for the values hardly matter to the time."""

QUICK_NETWORKS = ("resnet20", "vgg_small", "mobilenetv2_small")
DEFAULT_NETWORKS = (*QUICK_NETWORKS, "resnet20_224", "vgg11_half_224", "mobilenetv2_224")


def find_network(name: str) -> Network:
    """The network of that name.

    Raises:
        ArgumentError: If there is none.
    """
    if name not in NETWORKS:
        raise ArgumentError(f"`networks` must be of {', '.join(NETWORKS)}; got {name!r}.")
    return NETWORKS[name]


def random_images(count: int, image: tuple[int, int, int]) -> Tensor:
    """The same images each time: ``(count, *image)`` float32 in [0, 1], channels last."""
    generator = torch.Generator().manual_seed(_SEED)
    images = torch.rand((count, *image), generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def folded_float(model: nn.Module, image: Tensor) -> nn.Module:
    """The FP32 model that emulation is compared with: batch norms folded, channels last.

    Args:
        model: In evaluation mode; it is copied.
        image: An input of one sample.
    """
    module = copy.deepcopy(model)
    layers = {n: m for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    fold_batch_norms(module, trace(module, layers, image))
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def emulated_network(network: Network, model: nn.Module) -> EmulatedModel:
    """The emulated model, calibrated on a few random images."""
    return prepare(model, [random_images(_CALIBRATION_IMAGES, network.image)])
