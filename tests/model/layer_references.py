"""Slow, obvious ways to the bits of ``EmulatedLayer.emulated``, and a small network."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from axopt.kernels.reference import conv2d_reference, gemm_reference
from axopt.layers import EmulatedConv2d


def numpy_layer(layer, x, quantisation, *, bounds=None):
    """The layer in numpy: table entries summed in int64, one output pixel after the other."""
    if x.ndim != 2 and not isinstance(layer, EmulatedConv2d):
        rows = numpy_layer(layer, x.reshape(-1, x.shape[-1]), quantisation, bounds=bounds)
        return rows.reshape(*x.shape[:-1], -1)
    activation, weights = quantisation.activation, quantisation.weights
    convolves = isinstance(layer, EmulatedConv2d)
    w = weights.codes(layer.weight).numpy()
    a = activation.codes(x)
    if convolves:
        zero = int(activation.codes(torch.zeros(1)))
        a = functional.pad(a, layer.padding, value=zero).numpy()
        steps = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    else:
        a, w, steps = a.numpy()[:, :, None, None], w[:, :, None, None], {}
    table = layer.multiplier.table
    sums = conv2d_reference(a, w, table.T if layer.swap else table, **steps)
    origin = 128 if layer.multiplier.signed else 0
    za = int(activation.zero_code) - origin
    zw = (weights.zero_code.numpy() - origin)[:, None, None]
    first = (np.arange(256) - origin)[:, None] * np.ones(256, np.int64)
    w_sums = (w.reshape(len(w), -1).astype(np.int64) - origin).sum(1)[:, None, None]
    sums = sums - zw * conv2d_reference(a, w, first, **steps) - za * w_sums
    sums = sums + w[0].size * za * zw
    y = torch.from_numpy(sums).float() * quantisation.output_scale.view(-1, 1, 1)
    bias = quantisation.output_bias(layer.bias)
    y = y if bias is None else y + bias.view(-1, 1, 1)
    y = y if bounds is None else y.clamp(*bounds)
    return y if convolves else y[:, :, 0, 0]


def numpy_matmul(layer, first, second, quantisation, *, bounds=None):
    """The product of two activations in numpy, one pair of matrices after the other."""
    first, second = first.flatten(0, -3), second.flatten(0, -3)
    a = quantisation.activation.codes(first).numpy()
    w = quantisation.weights.codes(second).numpy()
    table = layer.multiplier.table.T if layer.swap else layer.multiplier.table
    origin = 128 if layer.multiplier.signed else 0
    za = int(quantisation.activation.zero_code) - origin
    zw = int(quantisation.weights.zero_code) - origin
    sums = np.stack([gemm_reference(*pair, table) for pair in zip(a, w, strict=True)])
    sums -= zw * (a.astype(np.int64) - origin).sum(2)[:, :, None]
    sums -= za * (w.astype(np.int64) - origin).sum(2)[:, None, :]
    sums += a.shape[2] * za * zw
    y = torch.from_numpy(sums).float() * quantisation.output_scale
    return y if bounds is None else y.clamp(*bounds)


def stepwise(layer, x, quantisation, *, bounds=None):
    y = layer.emulated_stepwise(x, quantisation)
    return y if bounds is None else y.clamp(*bounds)


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.Flatten(),
        nn.Linear(96, 3),
    )
