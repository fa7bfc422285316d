import pytest
import torch

from axopt.data import Augmentation
from axopt.errors import ArgumentError


def test_augment_crops_and_mirrors():
    image = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)
    padded = torch.zeros(5, 5, dtype=torch.uint8)
    padded[1:4, 1:4] = image[0, 0]
    crops = [padded[r : r + 3, c : c + 3] for r in range(3) for c in range(3)]
    mirrored = [crop.flip(1) for crop in crops]

    def seen(mirror):
        batch = image.expand(400, -1, -1, -1)
        out = Augmentation(1, mirror)(batch, torch.Generator().manual_seed(0))
        return {tuple(crop.flatten().tolist()) for crop in out[:, 0]}

    assert seen(False) == {tuple(crop.flatten().tolist()) for crop in crops}
    assert seen(True) == {tuple(crop.flatten().tolist()) for crop in crops + mirrored}


def test_what_is_no_image_is_refused():
    with pytest.raises(ArgumentError, match="`images`"):
        Augmentation()(torch.zeros(2, 3), torch.Generator())
    with pytest.raises(ArgumentError, match="`padding`"):
        Augmentation(padding=-1)
