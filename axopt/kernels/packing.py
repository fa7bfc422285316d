"""Weights in the layouts that the native kernels of separable terms read (csrc/axk.h)."""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from axopt.kernels.residual import CLASSES, Residual
from axopt.kernels.terms import Terms

BLOCK = 16
"""Output channels in a block of packed weights (AXK_LANES in csrc/axk.h)."""

LANES = 256
"""Output channels that a look-up kernel processes together (AXK_TILE_M in csrc/axk.h)."""

T = TypeVar("T", bound=np.integer)

_UNIT_BYTES = 4
_CODES = np.arange(256)


@dataclass(frozen=True, eq=False)
class PackedTerms:
    """Separable terms with the weights of one layer.

    Attributes:
        maps: Activation factor of each code, ``(terms, 256)`` uint8.
        masks: ``(terms,)`` int16: m where the map is ``code & m``, else -1.
        row_scale: ``row_scale * (code & row_mask)`` is added for every product.
        row_mask: See ``row_scale``.
        weights: The weight factors, as bytes.
    """

    maps: NDArray[np.uint8]
    masks: NDArray[np.int16]
    row_scale: int
    row_mask: int
    weights: NDArray[np.uint8]

    def arguments(self) -> dict[str, Any]:
        """Arguments of `_lut_gemm.Operation`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def pack_dense(
    terms: Terms, codes: NDArray[np.uint8], groups: int, code_bytes: int
) -> PackedTerms:
    """Pack weight factors for the kernels that sum over channels.

    Args:
        terms: The decomposition of the table.
        codes: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)``.
        groups: Independent groups of channels.
        code_bytes: 1 for int8 weights, 2 for int16.
    """
    kind: type[np.integer] = np.int8 if code_bytes == 1 else np.int16
    factors = terms.weight[:, codes].astype(kind)
    return PackedTerms(
        terms.activation,
        _mask_codes(terms.activation),
        terms.activation_scale,
        terms.activation_mask,
        _as_bytes(_in_units(factors, groups, _UNIT_BYTES // code_bytes)),
    )


def pack_classes(
    residual: Residual, codes: NDArray[np.uint8], groups: int, code_bytes: int
) -> NDArray[np.uint8]:
    """Pack the classes of weights as `pack_dense` packs their factors.

    Args:
        residual: The decomposition of the table.
        codes: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)``.
        groups: Independent groups of channels.
        code_bytes: As in `pack_dense`.

    Returns:
        ``(weights,)`` uint8: the class plus 16 times the weight's position in its unit.
    """
    unit = _UNIT_BYTES // code_bytes
    packed = _in_units(residual.weight_class[codes][None], groups, unit)
    return _as_bytes(packed + (CLASSES * np.arange(unit)).astype(np.uint8))


def _in_units(factors: NDArray[T], groups: int, unit: int) -> NDArray[T]:
    """Pad blocks and units, and make the 16 channels of a block adjacent.

    Args:
        factors: ``(terms, out_channels, channels, kernel_h, kernel_w)``.
        groups: Independent groups of channels.
        unit: Factors in a unit.

    Returns:
        ``(groups, blocks, kernel_h, kernel_w, units, 16, unit)``.
    """
    count, outputs, channels, *kernel = factors.shape
    per_group = outputs // groups
    blocks, units = -(-per_group // BLOCK), -(-count * channels // unit)
    packed = np.zeros((groups, blocks * BLOCK, *kernel, units * unit), factors.dtype)
    packed[:, :per_group, :, :, : count * channels] = factors.transpose(1, 3, 4, 0, 2).reshape(
        groups, per_group, *kernel, count * channels
    )
    split = packed.reshape(groups, blocks, BLOCK, *kernel, units, unit)
    return split.transpose(0, 1, 3, 4, 5, 2, 6)


def pack_depthwise(
    terms: Terms, codes: NDArray[np.uint8], zero_point: NDArray[np.int64] | None
) -> PackedTerms:
    """Pack weight factors for layers with one channel in and out of every group.

    The sums of activation codes differ from channel to channel in such a layer. Their factors, the
    weight's zero point and ``activation_scale``, therefore become weights of a term whose map is
    the (masked) code. Weights that then exceed 8 bits are cut into several terms.

    Args:
        terms: The decomposition of the table.
        codes: Weight codes, ``(channels, 1, kernel_h, kernel_w)``.
        zero_point: ``(channels,)`` zero points of the weights of an affine layer, or None.
    """
    factors = dict[bytes, NDArray[np.int64]]()
    taps = codes[:, 0]

    def add(activation: NDArray[np.uint8], weight: NDArray[np.int64]) -> None:
        key = activation.tobytes()
        factors[key] = factors.get(key, 0) + np.broadcast_to(weight, taps.shape)

    for activation, weight in zip(terms.activation, terms.weight, strict=True):
        add(activation, weight[taps].astype(np.int64))
    if zero_point is not None:
        add(_CODES.astype(np.uint8), -zero_point[:, None, None])
    if terms.activation_scale:
        masked = (_CODES & terms.activation_mask).astype(np.uint8)
        add(masked, np.array(terms.activation_scale))
    pieces = [(key, piece) for key, weight in factors.items() for piece in _bytes_of(weight)]
    maps = np.stack([np.frombuffer(key, np.uint8) for key, _ in pieces])
    packed = np.stack([piece for _, piece in pieces]).transpose(2, 3, 0, 1)
    return PackedTerms(maps, _mask_codes(maps), 0, 0, _as_bytes(packed.astype(np.int16)))


def pack_channel_lanes(codes: NDArray[np.uint8], groups: int) -> NDArray[np.uint8]:
    """Pack weight codes for look-ups along the output channels.

    Args:
        codes: ``(out_channels, channels // groups, kernel_h, kernel_w)``.
        groups: Independent groups of channels.

    Returns:
        One axis, in the order of group, block of 256 outputs, tap, channel, output.
    """
    channels, depth = len(codes) // groups, codes[0].size
    blocks = -(-channels // LANES)
    lanes = np.zeros((groups, blocks * LANES, depth), np.uint8)
    lanes[:, :channels] = codes.transpose(0, 2, 3, 1).reshape(groups, channels, depth)
    packed = lanes.reshape(groups, blocks, LANES, depth).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(packed).reshape(-1)


def _bytes_of(weight: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Write integers as sums of int8, of the smallest number that suffices for all; at least 1."""
    pieces = []
    while True:
        piece = weight.clip(-128, 127)
        pieces.append(piece)
        weight = weight - piece
        if not weight.any():
            return pieces


def _mask_codes(maps: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return m for each map that is ``code & m``, else -1; m is the map's value at 255."""
    masks = maps[:, 255].astype(np.int16)
    is_mask = (maps == (_CODES & masks[:, None])).all(1)
    return np.where(is_mask, masks, -1).astype(np.int16)


def _as_bytes(packed: NDArray[np.integer]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(packed).view(np.uint8).reshape(-1)
