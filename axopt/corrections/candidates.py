"""Pairs of operand formats to measure for a layer and a multiplier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from axopt.corrections.allowed import Corrections
from axopt.corrections.formats import activation_format, weight_format
from axopt.corrections.remapping import activation_codes, product_errors, weight_codes
from axopt.corrections.strides import exact_strides
from axopt.layers import (
    SIGNED_ZERO_POINT,
    EmulatedLayer,
    Quantisation,
    QuantParams,
    plan_of,
    strides_of,
)
from axopt.multipliers import Multiplier


class Operand(NamedTuple):
    """The format of one operand and the names of the corrections that it uses."""

    params: QuantParams
    names: tuple[str, ...] = ()

    def mapped(self, codes: NDArray[np.uint8], name: str) -> Operand:
        """Return the format with the same levels and other codes."""
        params = replace(self.params, code_of_level=torch.from_numpy(codes))
        return Operand(params, (*self.names, name))


class Candidates:
    """Candidate formats of one layer. Formats that no multiplier changes are computed once.

    Args:
        layer: A calibrated layer.
    """

    def __init__(self, layer: EmulatedLayer) -> None:
        self._layer = layer
        self._activations: dict[tuple[bool, int], QuantParams] = {}
        self._weights: dict[tuple[bool, int], QuantParams] = {}

    def formats(
        self, multiplier: Multiplier, swap: bool, raw: Quantisation, allowed: Corrections
    ) -> Iterator[Quantisation]:
        """Yield the formats to measure, the uncorrected ones first.

        Args:
            multiplier: The multiplier of the layer.
            swap: Whether the weight is its first operand.
            raw: The uncorrected formats, of the least strides in this order.
            allowed: Corrections that may be used.
        """
        raw_a, raw_w = Operand(raw.activation), Operand(raw.weights)
        plain_a, plain_w = [raw_a], [raw_w]
        least_a, least_w = strides_of(multiplier, swap)
        if multiplier.signed and allowed.affine:
            affine = self._activation(multiplier.signed, least_a, allowed)
            plain_a += [affine] if affine.names else []
        if allowed.weight_codes:
            plain_w.append(self._weight(multiplier.signed, least_w))
        pairs = [(a, w) for a in plain_a for w in plain_w]
        for strides in exact_strides(multiplier):
            stride_a, stride_w = reversed(strides) if swap else strides
            strided_a, strided_w = [], []
            if allowed.activation_codes and stride_a > least_a:
                strided = self._activation(multiplier.signed, stride_a, allowed)
                strided_a.append(strided._replace(names=(*strided.names, "activation_codes")))
            if allowed.weight_codes and stride_w > least_w:
                strided_w.append(self._weight(multiplier.signed, stride_w))
            pairs += [(a, w) for a in strided_a for w in plain_w]
            pairs += [(a, w) for a in plain_a + strided_a for w in strided_w]
        if not multiplier.is_exact:
            table = plan_of(multiplier, swap).table
            errors = product_errors(table, signed=multiplier.signed)
            pairs += self._mapped(errors, plain_a[-1], plain_w[-1], allowed)
        for a, w in pairs:
            names = tuple(dict.fromkeys(a.names + w.names))
            yield Quantisation(a.params, w.params, corrections=names)

    def _mapped(
        self, errors: NDArray[np.float64], a: Operand, w: Operand, allowed: Corrections
    ) -> Iterator[tuple[Operand, Operand]]:
        """Yield formats with any code for any level: of the weights, the activations, both."""
        stride_a, stride_w = a.params.stride, w.params.stride
        if allowed.weight_codes:
            codes = weight_codes(errors, a.params, self._layer, stride=stride_w)
            yield a, w.mapped(codes, "weight_codes")
        if allowed.activation_codes:
            codes = activation_codes(errors, w.params, self._layer, stride=stride_a)
            mapped = a.mapped(codes, "activation_codes")
            yield mapped, w
            if allowed.weight_codes:
                codes = weight_codes(errors, mapped.params, self._layer, stride=stride_w)
                yield mapped, w.mapped(codes, "weight_codes")

    def _activation(self, signed: bool, stride: int, allowed: Corrections) -> Operand:
        symmetric = signed and not allowed.affine
        key = (symmetric, stride)
        if key not in self._activations:
            self._activations[key] = activation_format(
                self._layer, symmetric=symmetric, stride=stride
            )
        params = self._activations[key]
        affine = signed and int(params.zero_code) != SIGNED_ZERO_POINT
        return Operand(params, ("affine",) * affine)

    def _weight(self, signed: bool, stride: int) -> Operand:
        key = (signed, stride)
        if key not in self._weights:
            self._weights[key] = weight_format(self._layer, signed=signed, stride=stride)
        return Operand(self._weights[key], ("weight_codes",))
