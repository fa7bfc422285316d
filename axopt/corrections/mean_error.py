"""The mean error of a layer's results, from the histograms of its input channels.

The mean of a sum is the sum of the means, even if its terms are correlated. The mean error of an
output channel therefore follows from how often each input channel has each code, without a forward
pass. It is exact where all taps of a kernel see the same values, as in linear and 1x1 layers. In
other convolutions the taps differ at the border of an image, and it is an approximation.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axopt.corrections.formats import input_values
from axopt.corrections.remapping import code_shares
from axopt.layers import EmulatedLayer, Quantisation


def expected_outputs(layer: EmulatedLayer) -> Tensor:
    """Return the mean of the float layer's results without bias, ``(out_channels,)`` float64."""
    weight = layer.filters.detach().cpu().double().flatten(1)
    means = (weight * input_values(layer, layer.channels.means())).sum(1)
    return means * layer.channels.tap_share


def expected_emulated_outputs(
    layer: EmulatedLayer,
    quantisation: Quantisation,
    table: NDArray[np.int32],
    *,
    signed: bool,
) -> Tensor:
    """Return the mean of the emulated layer's results, without bias and shift.

    Args:
        layer: A calibrated layer.
        quantisation: Formats of the operands and the results.
        table: Products, ``(256, 256)`` int32; rows are activation codes.
        signed: Whether the multiplier is signed.

    Returns:
        ``(out_channels,)`` float64.
    """
    activation, weights = quantisation.activation, quantisation.weights
    origin = 128 if signed else 0
    operands = torch.arange(256, dtype=torch.float64) - origin
    shares = code_shares(layer, activation)
    products = shares @ torch.tensor(table, dtype=torch.float64)  # (channels, weight codes)
    means = shares @ operands
    codes = weights.codes(layer.filters.cpu()).flatten(1).long()
    channel = input_values(layer, torch.arange(len(shares))).long()
    zero_a = int(activation.zero_code) - origin
    zero_w = (weights.zero_code.double() - origin).expand(len(codes))[:, None]
    w = operands[codes]
    terms = products[channel, codes] - zero_w * means[channel] - zero_a * w + zero_a * zero_w
    return terms.sum(1) * layer.channels.tap_share * quantisation.output_scale.double()
