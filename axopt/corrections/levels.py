"""Levels of one tensor in several formats, kept for the next multiplier that uses them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axopt.layers import EmulatedLayer, QuantParams

MAX_BYTES = 8 << 20
"""Bytes of the levels of a tensor that are kept, besides the latest."""

Floats = NDArray[np.float64]


def levels_key(params: QuantParams) -> tuple[object, ...]:
    """Return what decides the levels of a format: all but the codes of the levels."""
    scale, zero = params.scale.numpy(), params.zero_point.numpy()
    return (scale.tobytes(), zero.tobytes(), params.stride)


def format_key(params: QuantParams) -> tuple[object, ...]:
    """Return what decides the codes of a format."""
    codes = params.code_of_level
    return levels_key(params) if codes is None else (*levels_key(params), codes.numpy().tobytes())


class Levels:
    """Levels of one tensor by format, the latest ones up to `MAX_BYTES`."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
        self._bytes = 0

    def of(self, params: QuantParams, quantise: Callable[[QuantParams], Tensor]) -> Tensor:
        """Return the levels of a format, which ``quantise`` computes if they are not kept.

        Args:
            params: The format, on the CPU.
            quantise: Returns the levels of the tensor in a format, uint8.
        """
        key = levels_key(params)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        found = self._known[key] = quantise(params)
        self._bytes += found.nbytes
        while self._bytes > MAX_BYTES and len(self._known) > 1:
            self._bytes -= self._known.popitem(last=False)[1].nbytes
        return found


class Moments(NamedTuple):
    """Statistics of a layer's weight codes.

    Attributes:
        share: Share of the weights that have each code, ``(256,)``.
        first: Sum over these of the code less the code of zero, by number of weights, ``(256,)``.
        square: Mean square of the code less the code of zero.
    """

    share: Floats
    first: Floats
    square: float


class WeightCodes:
    """Levels and codes of a layer's present weights.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: EmulatedLayer) -> None:
        self._filters = layer.filters.detach().cpu()
        self.rows = len(self._filters)
        self._levels = Levels()
        self._moments: dict[tuple[object, ...], Moments] = {}
        self._used: dict[tuple[object, ...], NDArray[np.bool_]] = {}

    @classmethod
    def of(cls, layer: EmulatedLayer) -> WeightCodes:
        """Return those of a layer. They are made once for each state of its weights."""
        version = layer.weight_version()
        kept = layer.derived.get(cls)
        if kept is None or kept[0] != version:
            kept = layer.derived[cls] = (version, cls(layer))
        found: WeightCodes = kept[1]
        return found

    def levels(self, params: QuantParams) -> Tensor:
        """Return the levels of the weights, ``(out_channels, weights of an output)`` uint8."""
        return self._levels.of(params, lambda p: p.levels(self._filters).flatten(1))

    def codes(self, params: QuantParams) -> Tensor:
        """Return the codes of the weights, shaped as the levels."""
        levels = self.levels(params)
        codes = params.code_table
        return levels if codes is None else torch.from_numpy(codes.numpy().take(levels.numpy()))

    def key(self, params: QuantParams) -> tuple[object, ...]:
        """Return what decides the codes of these weights, equal for formats with equal codes."""
        levels = levels_key(params)
        if params.code_of_level is None:
            return levels
        if levels not in self._used:
            self._used[levels] = (
                np.bincount(self.levels(params).numpy().ravel(), minlength=256) > 0
            )
        own = np.arange(256) * params.stride
        codes = params.code_of_level.numpy()
        changed = self._used[levels] & (codes != own)
        return (*levels, codes[self._used[levels]].tobytes()) if changed.any() else levels

    def moments(self, params: QuantParams) -> Moments:
        """Return statistics of the weights' codes in a format whose codes follow from levels."""
        key = levels_key(params)
        if key not in self._moments:
            codes = self.codes(params).numpy()
            zero = params.zero_code.expand(len(codes)).numpy()[:, None]
            centred = (codes - zero.astype(np.float64)).ravel()
            codes = codes.ravel()
            self._moments[key] = Moments(
                np.bincount(codes, minlength=256) / codes.size,
                np.bincount(codes, centred, minlength=256) / codes.size,
                float(np.square(centred).mean()),
            )
        return self._moments[key]
