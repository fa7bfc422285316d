"""Convolutions by loops over windows, one product of the table after the other."""

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from axopt.multipliers import Multiplier

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def random_multiplier(signed, rng):
    low, high = (-32768, 32768) if signed else (0, 65536)
    table = rng.integers(low, high, (256, 256), dtype=np.int32)
    return Multiplier.from_table(
        "random", table, signed=signed, power_mw=1.0, area_um2=1.0, delay_ns=1.0
    )


def calibrated(layer, x):
    layer.observing = True
    layer(x)
    layer.observing = False
    return layer


def conv_border(conv):
    """``(before, behind)`` of each dimension, as torch's documentation says."""
    if conv.padding == "valid":
        return [(0, 0)] * len(conv.kernel_size)
    if conv.padding == "same":
        total = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    return [(p, p) for p in conv.padding]


def padded_input(conv, x):
    """``x`` with the border that the padding mode of ``conv`` gives it."""
    sizes = [n for sides in reversed(conv_border(conv)) for n in sides]
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    return functional.pad(x, sizes, mode=mode) if any(sizes) else x


def tap_place(conv, position, tap):
    """Where a tap of the output at ``position`` lies in the (padded) input; None if nowhere."""
    place = []
    for axis, (t, k) in enumerate(zip(position, tap, strict=True)):
        stride, dilation = conv.stride[axis], conv.dilation[axis]
        if isinstance(conv, nn.modules.conv._ConvTransposeNd):
            quotient, rest = divmod(t + conv.padding[axis] - k * dilation, stride)
            if rest:
                return None
            place.append(quotient)
        else:
            before = conv_border(conv)[axis][0] if conv.padding_mode == "zeros" else 0
            place.append(t * stride + k * dilation - before)
    return tuple(place)


def outputs_of(conv, weight):
    """``[(output channel, its input channels, its filter (channels, *kernel))]``."""
    groups = conv.groups
    transposed = isinstance(conv, nn.modules.conv._ConvTransposeNd)
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    inputs = weight.shape[0] // groups if transposed else weight.shape[1]
    found = []
    for o in range(outputs):
        group = o // (outputs // groups)
        channels = slice(group * inputs, (group + 1) * inputs)
        own = weight[channels, o % (outputs // groups)] if transposed else weight[o]
        found.append((o, channels, own))
    return found


def filters_of(conv):
    """Float filters ``(out_channels, channels of a group, *kernel)``."""
    weight = conv.weight.detach()
    return torch.stack([own for _, _, own in outputs_of(conv, weight)])


def reference(layer, conv, x, size, *, skip=False, add=None):
    """Results of the layer: real taps in the order of the filter, zero points taken off.

    Args:
        layer: Gives formats and multiplier.
        conv: The float layer.
        x: ``(N, C, ...)``.
        size: Of the results.
        skip: Whether padded taps add nothing.
        add: ``add(sum, product)``; the sum itself by default.
    """
    formats = layer.quantisation()
    activation, weights = formats.activation, formats.weights
    origin = 128 if layer.multiplier.signed else 0
    table = layer.multiplier.table.astype(np.int64)
    table = table.T if layer.swap else table
    if conv.padding_mode != "zeros":
        border = [n for sides in reversed(conv_border(conv)) for n in sides]
        x = functional.pad(x, border, mode=conv.padding_mode)
    a = activation.codes(x).numpy().astype(np.int64)
    padding = int(activation.codes(torch.zeros(1)))
    w = weights.codes(filters_of(conv)).numpy().astype(np.int64)
    za = int(activation.zero_code) - origin
    zw = np.broadcast_to(weights.zero_code.numpy(), len(w)) - origin
    sums = np.zeros((len(x), len(w), *size), np.int64)
    channels = {o: own for o, own, _ in outputs_of(conv, conv.weight)}
    for position in np.ndindex(*size):
        taps = [(tap, tap_place(conv, position, tap)) for tap in np.ndindex(*w.shape[2:])]
        for o, n in itertools.product(range(len(w)), range(len(x))):
            total = zero_terms = 0
            for c, (tap, place) in itertools.product(range(w.shape[1]), taps):
                if place is None:
                    continue
                inside = all(0 <= i < s for i, s in zip(place, x.shape[2:], strict=True))
                if skip and not inside:
                    continue
                value = a[(n, channels[o].start + c, *place)] if inside else padding
                weight = w[(o, c, *tap)]
                product = table[value, weight]
                total = total + product if add is None else add(total, product)
                zero_terms += za * zw[o] - zw[o] * (value - origin) - za * (weight - origin)
            sums[(n, o, *position)] = total + zero_terms
    shape = (-1, *(1,) * len(size))
    y = torch.from_numpy(sums).float() * formats.output_scale.expand(len(w)).view(shape)
    bias = formats.output_bias(conv.bias)
    return y if bias is None else y + bias.view(shape)
