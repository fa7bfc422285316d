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

_OPERANDS = {
    False: torch.arange(256, dtype=torch.float64),
    True: torch.arange(-128, 128, dtype=torch.float64),
}


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
    operands = _OPERANDS[signed]
    shares = code_shares(layer, activation)
    products = shares @ torch.from_numpy(table.astype(np.float64))  # (channels, weight codes)
    means = shares @ operands
    codes = weights.codes(layer.filters.cpu()).flatten(1).long()
    channel = input_values(layer, torch.arange(len(shares)))
    origin = 128 if signed else 0
    zero_a = int(activation.zero_code) - origin
    zero_w = weights.zero_code.double() - origin
    common = bool((zero_w == zero_w.view(-1)[0]).all())
    if common:  # a term depends on the channel and the code only
        zero_w = zero_w.view(-1)[:1]
        terms = products - zero_w * means[:, None] - zero_a * operands + zero_a * zero_w
        terms = terms.take(codes.add_(channel, alpha=256))
    else:
        zero_w = zero_w[:, None]
        terms = products.take(codes.add(channel, alpha=256))
        terms = terms - zero_w * means[channel] - zero_a * operands[codes] + zero_a * zero_w
    return terms.sum(1) * layer.channels.tap_share * quantisation.output_scale.double()
