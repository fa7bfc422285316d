"""Layer shapes of the networks, and random operands for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_SEED = 0
_MAX_CALL_MACS = 320_000_000  # a scalar loop takes about a third of a second


@dataclass(frozen=True)
class LayerShape:
    """A convolution, or a linear layer as a convolution of 1x1 images.

    Attributes:
        name: Name in tables.
        channels: Channels of the input.
        out_channels: Channels of the output.
        side: Height and width of the input.
        kernel: Side of the kernel; it is padded to keep the size at stride 1.
        stride: Rows and columns between windows.
        depthwise: Whether every channel is filtered by itself.
        images: Images per call; None uses the batch that the caller asks for.
    """

    name: str
    channels: int
    out_channels: int
    side: int
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False
    images: int | None = None

    @property
    def groups(self) -> int:
        """Groups of the convolution: one per channel if it is depthwise, else 1."""
        return self.channels if self.depthwise else 1

    @property
    def padding(self) -> int:
        """Rows and columns added on each side."""
        return self.kernel // 2

    @property
    def out_side(self) -> int:
        """Height and width of the output."""
        return (self.side + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def depth(self) -> int:
        """Products of one output."""
        return self.channels // self.groups * self.kernel**2

    @property
    def image_macs(self) -> int:
        """Multiplications for one image."""
        return self.out_channels * self.out_side**2 * self.depth

    def batch(self, batch: int) -> int:
        """Return the images per call: fewer than ``batch`` where slow kernels take too long."""
        return self.images or max(1, min(batch, _MAX_CALL_MACS // self.image_macs))


SHAPES = (
    LayerShape("resnet20 first, K=27", 3, 16, 32),
    LayerShape("resnet20 stage 1", 16, 16, 32),
    LayerShape("resnet20 stage 2", 32, 32, 16),
    LayerShape("resnet20 stage 2, stride 2", 16, 32, 32, stride=2),
    LayerShape("resnet20 stage 3", 64, 64, 8),
    LayerShape("vgg 128", 128, 128, 16),
    LayerShape("vgg 256", 256, 256, 8),
    LayerShape("mobilenetv2 expand 1x1", 32, 192, 16, kernel=1),
    LayerShape("mobilenetv2 project 1x1", 192, 32, 16, kernel=1),
    LayerShape("mobilenetv2 depthwise", 192, 192, 16, depthwise=True),
    LayerShape("mobilenetv2 depthwise, stride 2", 96, 96, 32, stride=2, depthwise=True),
    LayerShape("linear 64", 64, 10, 1, kernel=1),
    LayerShape("linear 4096", 4096, 512, 1, kernel=1),
    LayerShape("resnet20 stage 1, batch 1", 16, 16, 32, images=1),
    LayerShape("resnet20 stage 3, batch 1", 64, 64, 8, images=1),
    LayerShape("resnet20 stage 1, 224x224, batch 1", 16, 16, 224, images=1),
    LayerShape("linear 4096, batch 1", 4096, 512, 1, kernel=1, images=1),
)
"""Layers of the networks of `bench.networks`, and a linear layer as wide as VGG's."""


@dataclass(frozen=True)
class Operands:
    """Random operands of one layer.

    Attributes:
        shape: The layer.
        codes: Activation codes 128..255, as after a ReLU with a signed multiplier, not padded:
            ``(N, C, H, W)`` uint8, channels last.
        weight_codes: Weight codes, ``(O, C // groups, K, K)`` uint8.
    """

    shape: LayerShape
    codes: Tensor
    weight_codes: Tensor

    @classmethod
    def of(cls, shape: LayerShape, batch: int) -> Operands:
        """Return the same operands each time, for ``batch`` images or fewer of a large layer."""
        generator = torch.Generator().manual_seed(_SEED)
        x_size = (shape.batch(batch), shape.channels, shape.side, shape.side)
        w_size = (shape.out_channels, shape.channels // shape.groups, shape.kernel, shape.kernel)
        x = torch.randint(128, 256, x_size, dtype=torch.uint8, generator=generator)
        w = torch.randint(0, 256, w_size, dtype=torch.uint8, generator=generator)
        return cls(shape, x.contiguous(memory_format=torch.channels_last), w)

    @property
    def macs(self) -> int:
        """Multiplications of one call."""
        return len(self.codes) * self.shape.image_macs

    def padded_codes(self) -> Tensor:
        """The activation codes with a border of code 128, which represents zero."""
        p = self.shape.padding
        return functional.pad(self.codes, (p, p, p, p), value=128)
