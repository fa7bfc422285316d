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
from axopt.corrections.levels import WeightCodes
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
    shares = code_shares(layer, activation)
    origin = 128 if signed else 0
    operands = _OPERANDS[signed]
    zero_a = int(activation.zero_code) - origin
    terms = shares @ torch.from_numpy(table.astype(np.float64))  # (channels, weight codes)
    means = shares @ operands
    if zero_a:
        terms -= zero_a * operands
    weight_codes = WeightCodes.of(layer).codes(weights).numpy()
    group_channels = layer.filters.shape[1]
    groups, taps = len(shares) // group_channels, layer.filters[0, 0].numel()
    row = np.arange(len(shares)).reshape(groups, group_channels) * 256
    index = weight_codes.reshape(groups, -1, weight_codes.shape[1]).astype(np.intp)
    index += row.repeat(taps, axis=1)[:, None]
    sums = torch.from_numpy(terms.numpy().ravel().take(index).sum(2)).flatten()
    zero_w = weights.zero_code.double() - origin
    if bool(zero_w.any()):
        of_group = means.view(groups, -1).sum(1) * taps
        per_output = of_group.repeat_interleave(len(sums) // groups)
        sums -= zero_w * (per_output - zero_a * weight_codes.shape[1])
    return sums * layer.channels.tap_share * quantisation.output_scale.double()
