"""Formats with the least squared error whose codes are multiples of a stride."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axopt.layers import EmulatedLayer, EmulatedMatMul, QuantParams, activation_params

_SHRINKAGES = torch.linspace(1.0, 0.3, 36)  # the first one is the whole range

_AT_ONCE = 1 << 16
"""Weights that are quantised at a time, which stay in the cache."""

Floats = NDArray[np.float32]


def activation_format(layer: EmulatedLayer, *, symmetric: bool, stride: int) -> QuantParams:
    """Return the format of the activations with the least mean squared error.

    Args:
        layer: A calibrated layer.
        symmetric: Whether code 128 represents zero; else the code that the range asks for.
        stride: Distance between the codes of neighbouring levels.
    """
    return activation_params(
        layer.histogram, signed=symmetric, calibrator=layer.calibrator, stride=stride
    )


def weight_format(layer: EmulatedLayer, *, signed: bool, stride: int) -> QuantParams:
    """Return the format of the weights that changes the layer's results least.

    The squared error of a weight is weighted by the mean square of the activations that it is
    multiplied with, as if errors and activations were independent. For a product of two
    activations, it is the format of the second operand with the least mean squared error.

    Args:
        layer: A calibrated layer.
        signed: Whether the multiplier is signed (symmetric formats) or unsigned (affine ones).
        stride: Distance between the codes of neighbouring levels.
    """
    if isinstance(layer, EmulatedMatMul):
        return activation_params(
            layer.second, signed=signed, calibrator=layer.calibrator, stride=stride
        )
    weight = layer.filters.detach().cpu().float().flatten(1)
    importance = input_values(layer, layer.channels.mean_squares())
    if not layer.per_channel:
        weight, importance = weight.reshape(1, -1), importance.reshape(1, -1)
    scale, zero_point = _best_shrinkage(weight, importance, signed=signed, stride=stride)
    if not layer.per_channel:
        scale, zero_point = scale[0], zero_point[0]
    return QuantParams(scale, zero_point, stride)


def _best_shrinkage(
    weight: Tensor, importance: Tensor, *, signed: bool, stride: int
) -> tuple[Tensor, Tensor]:
    """Return scale and zero point of each row of ``weight``, of the best of `_SHRINKAGES`."""
    low, high = torch.aminmax(weight, dim=1)
    rows, factors = len(weight), _SHRINKAGES[:, None]
    params = QuantParams.from_range(
        (low * factors).flatten(), (high * factors).flatten(), signed=signed, stride=stride
    )
    scales = params.scale.view(-1, rows)
    zero_points = params.zero_point.view(-1, rows)
    most = float(importance.max()) if importance.numel() else 0.0
    relative = (importance / most if most > 0 else importance).float().numpy()
    errors = np.empty(scales.shape, np.float32)
    chunk = max(1, _AT_ONCE // max(1, weight.shape[1]))
    for first in range(0, rows, chunk):
        at = slice(first, first + chunk)
        _add_errors(
            errors[:, at], weight[at].contiguous().numpy(), relative[at],
            scales[:, at].numpy(), zero_points[:, at].numpy(), params.top,
        )  # fmt: skip
    total = torch.from_numpy(errors).double() * scales.double().square()
    best = total.argmin(0, keepdim=True)  # of equal ones the first
    return scales.gather(0, best)[0], zero_points.gather(0, best)[0]


def _add_errors(
    errors: Floats,
    weight: Floats,
    importance: Floats,
    scales: Floats,
    zero_points: NDArray[np.int64],
    top: int,
) -> None:
    """Write the weighted sums of squared errors, in squared levels, into ``errors``.

    Args:
        errors: ``(formats, rows)``.
        weight: ``(rows, n)``.
        importance: ``(rows, n)`` factors of the squared errors.
        scales: ``(formats, rows)``.
        zero_points: ``(formats, rows)``.
        top: Highest level.
    """
    levels, rounded = np.empty_like(weight), np.empty_like(weight)
    inverse = (1 / scales)[:, :, None]
    lowest = -zero_points[:, :, None].astype(np.float32)
    for i in range(len(scales)):
        np.multiply(weight, inverse[i], out=levels)
        np.rint(levels, out=rounded)
        np.clip(rounded, lowest[i], lowest[i] + top, out=rounded)
        rounded -= levels
        rounded *= rounded
        np.einsum("rn,rn->r", rounded, importance, out=errors[i])


def input_values(layer: EmulatedLayer, of_channels: Tensor) -> Tensor:
    """Return for every weight the value of the input channel that it is multiplied with.

    Args:
        layer: The layer that has the weights.
        of_channels: One value for each input channel, ``(channels,)``.

    Returns:
        ``(out_channels, weights of an output)``, in the order of the flattened filters.
    """
    outputs, group_channels = layer.filters.shape[:2]
    groups = len(of_channels) // group_channels
    taps = layer.filters[0, 0].numel()
    by_group = of_channels.view(groups, group_channels).repeat_interleave(taps, dim=1)
    return by_group.repeat_interleave(outputs // groups, dim=0)
