"""A transformer over the patches of an image.

.. [Dosovitskiy2021] A. Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image
   Recognition at Scale", ICLR 2021; here the mean over the patches replaces the class token.
"""

import torch
from torch import Tensor, nn

from axopt.zoo.blocks import Normalize
from axopt.zoo.registry import register_model
from axopt.zoo.resnet import CIFAR10_MEAN, CIFAR10_STD

_POSITION_STD = 0.02


class TransformerBlock(nn.Module):
    """Self-attention, then two linear layers; a layer norm precedes each of the two parts.

    Args:
        width: Size of the vector of a patch.
        heads: Heads of the attention.
        hidden: Features between the two linear layers.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.gelu = nn.GELU()
        self.project = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        y: Tensor = self.project(self.gelu(self.expand(self.norm2(x))))
        return x + y


class VisionTransformer(nn.Module):
    """Patches with learned positions, transformer blocks, their mean, and a linear layer.

    Input ``(N, 3, input_size, input_size)`` float in [0, 1]; output ``(N, num_classes)`` logits.

    Args:
        width: Size of the vector of a patch.
        depth: Transformer blocks.
        heads: Heads of each attention.
        hidden: Features between the two linear layers of a block.
        patch: Side of a patch.
        input_size: Side of the images, a multiple of ``patch``.
        num_classes: Outputs of the last layer.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        patch: int = 4,
        input_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(CIFAR10_MEAN, CIFAR10_STD)
        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        patches = (input_size // patch) ** 2
        self.position = nn.Parameter(_POSITION_STD * torch.randn(1, patches, width))
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, heads, hidden) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(self.normalize(x)).flatten(2).transpose(1, 2)
        x = self.blocks(patches + self.position)
        logits: Tensor = self.fc(self.norm(x).mean(1))
        return logits


@register_model("vit_small")
def vit_small() -> VisionTransformer:
    """Six transformer blocks on 64 patches of 4x4 for CIFAR-10 (810,890 parameters)."""
    return VisionTransformer(width=128, depth=6, heads=4, hidden=256)
