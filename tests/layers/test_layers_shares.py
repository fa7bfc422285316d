"""What a layer's operands are, by level."""

import numpy as np
import pytest
import torch
from torch import nn

from axopt.layers import EmulatedConv2d, QuantParams, Shares, level_shares


def observed(x, library, **options):
    torch.manual_seed(0)
    conv = nn.Conv2d(x.shape[1], 5, 3, **options)
    layer = EmulatedConv2d(conv, library.exact(False))
    layer.observing = True
    layer(x)
    layer.observing = False
    return layer


def test_shares_are_the_counts_of_levels_without_zeros(library):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 16, 16).relu()
    layer = observed(x, library, padding=1)
    shares = Shares.of(layer)
    formats = layer.quantisation()
    counts = torch.bincount(formats.activation.levels(x[x > 0]).long(), minlength=256)
    found = np.frombuffer(shares.activation, np.float64)
    # calibration keeps bins, not values
    np.testing.assert_allclose(found.sum(), 1)
    np.testing.assert_allclose(found.cumsum(), (counts.cumsum(0) / counts.sum()), atol=0.01)
    counts = torch.bincount(formats.weights.levels(layer.weight).flatten().long(), minlength=256)
    found = np.frombuffer(shares.weights, np.float64)
    np.testing.assert_allclose(found, counts / counts.sum(), rtol=1e-6)


def test_there_are_as_many_shares_as_levels(library):
    layer = observed(torch.rand(1, 2, 8, 8), library)
    params = layer.quantisation().activation
    coarse = QuantParams(4 * params.scale, torch.tensor(0), 4)
    shares = level_shares(layer.channels, coarse)
    assert shares.shape == (2, 64)
    torch.testing.assert_close(shares.sum(1), 1 - layer.channels.zero_shares())


def test_without_values_all_levels_have_the_same_share(library):
    shares = Shares.of(observed(torch.zeros(1, 2, 8, 8), library))
    assert np.frombuffer(shares.activation, np.float64) == pytest.approx(np.full(256, 1 / 256))
