"""What a layer with a narrow multiplier must compute, from its definition alone.

Operands are levels, 0 .. 2**bits - 1, which address the narrow table; no codes of 8 bits occur.
The sum over the table is one float64 convolution of torch for each value of the weight, which is
exact.
"""

import numpy as np
import torch
from torch.nn import functional

from axopt.multipliers import Multiplier

FIGURES = {"power_mw": 0.1, "area_um2": 200.0, "delay_ns": 1.0}
WIDTHS = [(4, 4), (8, 3), (3, 6), (2, 2)]


def narrow(bits_a, bits_w, *, signed, seed=0, error=None):
    """A multiplier with random products, or exact ones that err by up to ``error``."""
    bits = bits_a + bits_w
    low = -(2 ** (bits - 1)) if signed else 0
    rng = np.random.default_rng(seed)
    table = rng.integers(low, low + 2**bits, (2**bits_a, 2**bits_w))
    if error is not None:
        values = [np.arange(2**b) - signed * 2 ** (b - 1) for b in (bits_a, bits_w)]
        table = np.multiply.outer(*values) + rng.integers(-error, error + 1, table.shape)
        table = table.clip(low, low + 2**bits - 1)
    return Multiplier.from_table("narrow", table, signed=signed, **FIGURES)


class Operand:
    """The values of one operand, by the format of the layer, and how wide it is.

    Attributes:
        numbers: Number of the operand's value in numeric order, 0 .. 2**bits - 1, int64.
        values: The integers that are multiplied, float64.
        zero: The integer that represents zero, shaped to broadcast against the others.
        unit: Difference of the real values of two neighbours, float32.
    """

    def __init__(self, x, params, bits, signed):
        scale, zero_point = params._shaped(x.ndim)
        spacing = 2 ** (8 - bits)
        levels = (torch.round(x.float() * scale.reciprocal()) + zero_point).clamp(0, params.top)
        if params.code_of_level is None:
            assert params.stride % spacing == 0
            self.numbers = levels.long() * (params.stride // spacing)
        else:
            codes = params.code_of_level[levels.long()].long()
            assert not (codes % spacing).any()
            self.numbers = codes // spacing
        assert params.top < 2**bits
        assert 0 <= int(self.numbers.min()) <= int(self.numbers.max()) < 2**bits
        origin = 2 ** (bits - 1) if signed else 0
        self.values = self.numbers.double() - origin
        zeros = zero_point.double() * params.stride / spacing
        self.zero_number = zeros.long()
        self.zero = zeros - origin
        self.unit = params.scale * (spacing / params.stride)


def operands(layer, x, weight):
    """Return both operands and the table by their numbers, rows for the activation."""
    multiplier, formats = layer.multiplier, layer.quantisation()
    bits = [multiplier.bits_a, multiplier.bits_w]
    table = multiplier.table
    if layer.swap:
        bits, table = bits[::-1], table.T
    a = Operand(x, formats.activation, bits[0], multiplier.signed)
    w = Operand(weight, formats.weights, bits[1], multiplier.signed)
    return a, w, torch.tensor(np.ascontiguousarray(table), dtype=torch.float64)


def expected(layer, convolve, x, weight, pad=()):
    """Return the results of a layer.

    Args:
        layer: The layer.
        convolve: The float layer for float64 inputs and weights, without padding and bias.
        x: Input.
        weight: Weight, output channels first unless the format has one scale.
        pad: Padding as `torch.nn.functional.pad` takes it.
    """
    a, w, table = operands(layer, x, weight)

    def padded(values, zero):
        return functional.pad(values, pad, value=float(zero)) if pad else values

    numbers = padded(a.numbers.double(), a.zero_number).long()
    values, ones = padded(a.values, a.zero), torch.ones_like(numbers, dtype=torch.float64)
    zeros = w.zero.expand_as(w.values)
    sums = -convolve(values, zeros) - float(a.zero) * convolve(ones, w.values - zeros)
    for number in range(table.shape[1]):
        chosen = (w.numbers == number).double()
        sums += convolve(table[:, number][numbers], chosen)
    return finished(layer, sums, a, w)


def finished(layer, sums, a, w):
    formats = layer.quantisation()
    sums = sums.round().long().float()

    def by_channel(values):
        if values.ndim == 0 or not layer.has_channels:
            return values
        shape = [1] * sums.ndim
        shape[-1 if layer.kind == "linear" else 1] = -1
        return values.view(shape)

    scale = a.unit * w.unit
    scale = scale if formats.gain is None else scale * formats.gain
    y = sums * by_channel(scale)
    bias = layer.bias
    if bias is not None or formats.shift is not None:
        bias = torch.zeros(1) if bias is None else bias.detach()
        y = y + by_channel(bias if formats.shift is None else bias + formats.shift)
    return y if layer.bounds is None else y.clamp(*layer.bounds)


def expected_product(layer, a, b):
    """Return the results of a product of two activations, ``(..., m, k)`` and ``(..., k, n)``."""
    first, second, table = operands(layer, a, b)
    products = table[first.numbers[..., :, :, None], second.numbers[..., None, :, :]]
    left, right = (x.values - x.zero for x in (first, second))
    exact = left[..., :, :, None] * right[..., None, :, :]
    wanted = first.values[..., :, :, None] * second.values[..., None, :, :]
    return finished(layer, (products - wanted + exact).sum(-2), first, second)
