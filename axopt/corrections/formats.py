"""Formats with the least squared error whose codes are multiples of a stride."""

import torch
from torch import Tensor

from axopt.layers import EmulatedLayer, EmulatedMatMul, QuantParams, activation_params

_SHRINKAGES = torch.linspace(1.0, 0.3, 36)  # the first one is the whole range

_AT_ONCE = 2**17
"""Most weights that are quantised in one call, copies of small layers included."""

_SMALL = 2**15
"""Weights that torch sums in one thread; more are not copied, to sum them as ever."""


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
    copies = max(1, _AT_ONCE // max(1, weight.numel())) if weight.numel() < _SMALL else 1
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for shrinkages in torch.split(_SHRINKAGES, copies):
        factors = shrinkages[:, None].to(weight.device)
        params = QuantParams.from_range(
            (low * factors).flatten(), (high * factors).flatten(), signed=signed, stride=stride
        )
        n = len(factors)
        error = _weighted_error(weight.repeat(n, 1), params, importance.repeat(n, 1))
        found.append((error, params.scale, params.zero_point))
    errors, scales, zero_points = (
        torch.cat(parts).view(len(_SHRINKAGES), -1) for parts in zip(*found, strict=True)
    )
    best = errors.argmin(0, keepdim=True)  # of equal ones the first
    return scales.gather(0, best)[0], zero_points.gather(0, best)[0]


def _weighted_error(weight: Tensor, params: QuantParams, importance: Tensor) -> Tensor:
    """Return the weighted sum of squared errors of each row of ``weight``, ``(rows,)``."""
    return (params.fake_quantise(weight) - weight).double().square().mul_(importance).sum(1)


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
