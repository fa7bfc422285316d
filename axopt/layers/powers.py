"""Power of a layer's multiplier under the layer's own data.

The operand frequencies come from calibration and weights, as the layer uses the codes: with its
quantisation, code maps and operand order. Successive operands count as independent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from axopt.circuits import activity_power_mw, netlist_of
from axopt.layers.base import EmulatedLayer, strides_of
from axopt.layers.code_shares import code_shares
from axopt.layers.quantisation import Quantisation, QuantParams
from axopt.multipliers import Multiplier

_CODE_BITS = 8

_Formats = tuple[QuantParams, QuantParams, object]
"""Formats of both operands and the version of the weight, which decide the codes."""


class LayerPowers:
    """Power of multipliers in one layer, simulated once for each multiplier, order and formats.

    A simulation takes about 10 ms.

    Args:
        layer: A calibrated layer.

    Example:
        >>> import axopt, torch
        >>> _ = torch.manual_seed(0)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), torch.randn(64, 8).relu())
        >>> powers = LayerPowers.of(emulated.emulated_layers["0"])
        >>> round(powers.power_mw(), 1)  # published for uniform operands: 0.425 mW
        0.3
    """

    def __init__(self, layer: EmulatedLayer) -> None:
        self._layer = layer
        self._known: dict[tuple[str, str, bool, bool], tuple[_Formats, float]] = {}

    @classmethod
    def of(cls, layer: EmulatedLayer) -> LayerPowers:
        """Return the powers of a layer; they are kept until it is calibrated again."""
        if cls not in layer.derived:
            layer.derived[cls] = cls(layer)
        powers: LayerPowers = layer.derived[cls]
        return powers

    def power_mw(self) -> float:
        """Return the power of the layer's multiplier under the codes in use, in mW.

        It is the multiplier's power times the ratio of its estimated powers under these codes and
        under uniformly distributed ones.

        Raises:
            CircuitError: If the multiplier has no gate list.
            CalibrationError: If the layer was never calibrated.
        """
        layer = self._layer
        return self.of_formats(layer.multiplier, layer.swap, layer.quantisation())

    def reference_mw(self, reference: Multiplier) -> float:
        """Return the power of a multiplier in this layer with its calibrated formats, in mW.

        Raises:
            CircuitError: If the multiplier has no gate list.
            CalibrationError: If the layer was never calibrated.
        """
        strides = strides_of(reference, False)
        formats = self._layer.quantisation(reference.signed, strides)
        return self.of_formats(reference, False, formats)

    def of_formats(self, multiplier: Multiplier, swap: bool, formats: Quantisation) -> float:
        """Return the power of a multiplier in this layer with given formats, in mW.

        Args:
            multiplier: The multiplier.
            swap: Whether the weight is its first operand.
            formats: Formats of the operands.

        Raises:
            CircuitError: If the multiplier has no gate list.
        """
        version = self._layer.weight_version()
        decides = (formats.activation, formats.weights, version)
        corrected = bool(formats.corrections)  # the reference may be a layer's multiplier, too
        key = (multiplier.key, multiplier.digest, swap, corrected)
        known = self._known.get(key)
        if known is None or not _same(known[0], decides):
            shares = code_shares(self._layer, formats)
            known = self._known[key] = (decides, power_under(multiplier, *shares, swap=swap))
        return known[1]


def power_under(
    multiplier: Multiplier, activations: Tensor, weights: Tensor, *, swap: bool
) -> float:
    """Return the power of a multiplier under given codes, in mW.

    Args:
        multiplier: The multiplier.
        activations: Shares of the activation codes, ``(256,)`` float64.
        weights: Shares of the weight codes.
        swap: Whether the weight is the first operand.

    Raises:
        CircuitError: If the multiplier has no gate list.
    """
    netlist = netlist_of(multiplier)
    first, second = (weights, activations) if swap else (activations, weights)
    uniform = activity_power_mw(netlist)
    if uniform == 0:  # no gates
        return multiplier.power_mw
    found = activity_power_mw(
        netlist, _of_operands(first, netlist.bits_a), _of_operands(second, netlist.bits_w)
    )
    return multiplier.power_mw * found / uniform


def _of_operands(codes: Tensor, bits: int) -> npt.NDArray[np.float64]:
    """Return the shares of operands of ``bits`` bits: the codes between two of them are one."""
    shares: npt.NDArray[np.float64] = codes.numpy().reshape(2**bits, -1).sum(axis=1)
    return shares


def _same(one: _Formats, other: _Formats) -> bool:
    return one[0] is other[0] and one[1] is other[1] and one[2] == other[2]
