"""Small images with a brighter stripe, and a small network that has learnt where it is."""

import torch
from torch import nn

from axopt.data import Dataset, Split


def make_split(n, seed, contrast):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % 3
    images = torch.rand(n, 1, 6, 6, generator=generator)
    for i, target in enumerate(targets.tolist()):
        images[i, 0, 2 * target : 2 * target + 2] += contrast
    return Split(images.clamp(0, 1), targets)


def make_data(sizes, contrast):
    """A data set with ``sizes`` samples in train, validation and test."""
    splits = [make_split(n, seed, contrast) for seed, n in enumerate(sizes)]
    return Dataset("stripes", "stripes", *splits, classes=("a", "b", "c"))


def trained_net(data, steps, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(net(data.train.inputs), data.train.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()
