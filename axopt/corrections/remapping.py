"""Codes for the levels of a quantiser that minimise the error of a multiplier's products.

Let D(a, w) be the error of the multiplier for two codes. If the activation level a gets the code
c, its products have the error ``(c - a) (w - zw) + D(c, w)``. If the weight level w gets the code
c, they have the error ``(a - za) (c - w) + D(a, c)``. Zero-point sums are subtracted exactly. Each
level gets the code with the least mean square error over the distribution of the other operand in
this layer. This is the weight mapping of [Mrazek2019], applied to both operands, and with the
variance of the error in place of its magnitude: the mean is corrected elsewhere.

.. [Mrazek2019] V. Mrazek et al., "ALWANN: Automatic Layer-Wise Approximation of Deep Neural
   Network Accelerators without Retraining", ICCAD 2019.
"""

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from axopt.corrections.levels import WeightCodes
from axopt.layers import EmulatedLayer, QuantParams, level_shares

Floats = NDArray[np.float64]

_LEVELS = np.arange(256, dtype=np.float64)
_EXACT = {
    signed: np.multiply.outer(operands, operands)
    for signed, operands in ((False, _LEVELS), (True, _LEVELS - 128))
}


def product_errors(table: NDArray[np.int32], *, signed: bool) -> Floats:
    """Return the error of every product, ``(256, 256)``; rows are activation codes."""
    return table.astype(np.float64) - _EXACT[signed]


def activation_codes(
    errors: Floats, weights: QuantParams, layer: EmulatedLayer, *, stride: int = 1
) -> NDArray[np.uint8]:
    """Return the best code of every activation level for the layer's quantised weights.

    Args:
        errors: Error of every product, see `product_errors`.
        weights: Format of the weights.
        layer: The layer that has the weights.
        stride: Distance between the codes of neighbouring activations, 1 for 8 bits.

    Returns:
        ``(256,)`` uint8.
    """
    moments = WeightCodes.of(layer).moments(weights)
    return _best_codes(
        square=moments.square,
        mixed=errors @ moments.first,
        error_square=np.square(errors) @ moments.share,
        stride=stride,
    )


def weight_codes(
    errors: Floats, activation: QuantParams, layer: EmulatedLayer, *, stride: int = 1
) -> NDArray[np.uint8]:
    """Return the best code of every weight level for the layer's quantised activations.

    The mean of the error over the activations is ignored: it is a constant of the output channel,
    which the mean-error correction subtracts.

    Args:
        errors: Error of every product, see `product_errors`.
        activation: Format of the activations.
        layer: The layer that gets the activations.
        stride: Distance between the codes of neighbouring weights, 1 for 8 bits.

    Returns:
        ``(256,)`` uint8.
    """
    share = _mean_code_share(layer, activation)
    centred = _LEVELS - int(activation.zero_code)
    mean, mean_error = share @ centred, share @ errors
    return _best_codes(
        square=float(share @ np.square(centred) - mean**2),
        mixed=(share * centred) @ errors - mean * mean_error,
        error_square=share @ np.square(errors) - np.square(mean_error),
        stride=stride,
    )


def _best_codes(
    square: float, mixed: Floats, error_square: Floats, stride: int
) -> NDArray[np.uint8]:
    """Return the code of least loss for each level, ``(256,)`` uint8.

    Level n stands for the code ``n stride``, and only multiples of the stride are codes. The loss
    of a code c is ``(c - n stride)^2 square + 2 (c - n stride) mixed[c] + error_square[c]``. Of
    equally good codes, the one nearest to the level's own is taken. Levels that a narrow operand
    does not have get the code of the last one.
    """
    twice, magnitude, squares = _distances(stride)
    loss = squares * square
    loss += twice * mixed[::stride]
    loss += error_square[::stride]
    loss += 1e-9 * loss.mean() * magnitude
    best = loss.argmin(1) * stride
    codes: NDArray[np.uint8] = np.pad(best, (0, 256 - len(best)), mode="edge").astype(np.uint8)
    return codes


@functools.lru_cache(maxsize=8)
def _distances(stride: int) -> tuple[Floats, Floats, Floats]:
    """Return twice the distances of codes (columns) from levels' codes, magnitudes, squares."""
    own = _LEVELS[::stride]
    distance = own[None, :] - own[:, None]
    return 2 * distance, np.abs(distance), np.square(distance)


def _mean_code_share(layer: EmulatedLayer, activation: QuantParams) -> Floats:
    """Return how often each code is multiplied over all channels, ``(256,)`` with sum 1."""
    of_levels = level_shares_of(layer, activation).mean(0).numpy()
    codes = activation.code_table
    of_level = np.arange(256) if codes is None else codes.numpy().astype(np.intp)
    share = np.zeros(256)
    np.add.at(share, of_level[: activation.top + 1], of_levels)
    relative: Floats = share / share.sum()
    return relative


def code_shares(layer: EmulatedLayer, activation: QuantParams) -> torch.Tensor:
    """Return how often each input channel has each code, padded zeros included.

    Returns:
        ``(channels, 256)`` float64; rows sum to 1.
    """
    of_levels = level_shares_of(layer, activation)
    codes = activation.code_table
    if codes is None:
        return of_levels
    shares = of_levels.new_zeros(len(of_levels), 256)
    return shares.index_add_(1, codes[: activation.top + 1].long(), of_levels)


def level_shares_of(layer: EmulatedLayer, activation: QuantParams) -> torch.Tensor:
    """Return how often each input channel has each level; formats with other codes share it.

    Returns:
        ``(channels, levels)`` float64; rows sum to 1, padded zeros included.
    """
    kept = layer.derived.setdefault(level_shares_of, {})
    key = (float(activation.scale), int(activation.zero_point), activation.stride)
    if key not in kept:
        of_levels = level_shares(layer.channels, activation)
        of_levels[:, int(activation.zero_point)] += layer.channels.zero_shares()
        kept[key] = of_levels
    found: torch.Tensor = kept[key]
    return found
