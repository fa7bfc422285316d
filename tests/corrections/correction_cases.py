"""Small calibrated layers and multipliers that the tests of corrections share."""

import numpy as np
import torch
from torch import nn

from axopt.layers import EmulatedConv2d, EmulatedLinear
from axopt.multipliers import Multiplier


def exact_products(signed):
    operands = np.arange(256) - (128 if signed else 0)
    return np.multiply.outer(operands, operands)


def make_multiplier(table, signed):
    return Multiplier.from_table(
        "made", table, signed=signed, power_mw=1.0, area_um2=1.0, delay_ns=1.0
    )


def noisy_multiplier(signed, rng, size=2000):
    """A multiplier that errs by up to ``size`` anywhere, zero included; it is not commutative."""
    noise = rng.integers(-size, size, (256, 256))
    low, high = (-32768, 32767) if signed else (0, 65535)
    return make_multiplier(np.clip(exact_products(signed) + noise, low, high), signed)


def calibrated(layer, *batches):
    layer.observing = True
    for x in batches:
        layer(x)
    layer.observing = False
    return layer


def make_linear(multiplier, *, inputs=12, outputs=5, n=400, low=0.0, seed=0, **options):
    """A linear layer, calibrated on rows of squared normal numbers above ``low``, and the rows."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    linear = nn.Linear(inputs, outputs)
    x = torch.randn(n, inputs, generator=generator).square() + low
    return calibrated(EmulatedLinear(linear, multiplier, **options), x), x


def make_conv(multiplier, conv_options=None, *, size=8, n=24, seed=0, **options):
    """A convolution, calibrated on rectified noise with another mean in every channel."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    conv = nn.Conv2d(
        **{"in_channels": 4, "out_channels": 8, "kernel_size": 3, **(conv_options or {})}
    )
    x = torch.randn(n, conv.in_channels, size, size, generator=generator)
    x = (x + torch.linspace(-0.5, 1, conv.in_channels).view(-1, 1, 1)).clamp(min=0)
    return calibrated(EmulatedConv2d(conv, multiplier, **options), x), x
