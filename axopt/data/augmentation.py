"""Random changes of training images that keep their class."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from axopt.errors import ArgumentError


@dataclass(frozen=True)
class Augmentation:
    """Crop images at random after padding them with zeros, and mirror half of them.

    Args:
        padding: Pixels that are added on every side before an image is cropped to its size.
        mirror: Whether half of the images, chosen at random, are mirrored left to right.

    Raises:
        ArgumentError: If ``padding`` is negative.

    Example:
        >>> images = torch.ones(2, 3, 8, 8)
        >>> Augmentation(padding=1)(images, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 8, 8])
    """

    padding: int = 4
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ArgumentError(f"`padding` must be >= 0, got {self.padding}.")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a changed copy of a batch.

        Args:
            images: ``(N, C, H, W)``.
            generator: Source of randomness, on the CPU.

        Returns:
            ``(N, C, H, W)`` of the same dtype.

        Raises:
            ArgumentError: If ``images`` does not have four dimensions.
        """
        if images.ndim != 4:
            raise ArgumentError(f"`images` must be (N, C, H, W), got {tuple(images.shape)}.")
        n, _, height, width = images.shape
        padded = functional.pad(images, (self.padding,) * 4)
        offset = torch.randint(0, 2 * self.padding + 1, (2, n, 1), generator=generator)
        rows = offset[0] + torch.arange(height)
        columns = offset[1] + torch.arange(width)
        if self.mirror:
            mirrored = torch.rand((n, 1), generator=generator) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        batch = torch.arange(n).view(-1, 1, 1)
        cropped = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
        return cropped.permute(0, 3, 1, 2)


AUGMENTATIONS = {
    "none": None,
    "crop": Augmentation(),
    "crop-flip": Augmentation(mirror=True),
}
"""The augmentations by the names that ``--augment`` takes."""
