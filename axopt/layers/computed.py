"""Emulated layers whose weights follow from parameters that other modules have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from axopt.layers.conv import EmulatedConv1d, EmulatedConv2d, EmulatedConv3d
from axopt.layers.linear import EmulatedLinear
from axopt.layers.native import Version
from axopt.layers.transposed import (
    EmulatedConvTranspose1d,
    EmulatedConvTranspose2d,
    EmulatedConvTranspose3d,
)
from axopt.layers.weighted import WeightedLayer
from axopt.modules.called import Called, Given
from axopt.multipliers import Multiplier


class ComputedWeights(WeightedLayer):
    """What layers have in common whose weight and bias are expressions.

    The values are computed when a parameter changed, not in each call. With gradients they are
    computed in each call, or handed in by the caller, who has them.

    Args:
        called: The product to stand for.
        multiplier: What the layer starts with.
        options: See `EmulatedLayer`.
    """

    def __init__(self, called: Called, multiplier: Multiplier, **options: Any) -> None:
        self._expressions, self._norms = called.expressions, called.norms
        self._given: Given | None = None
        super().__init__(called, multiplier, **options)

    def _hold(self, weight: Tensor, bias: Tensor | None) -> None:
        """Hold nothing: both are computed."""

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The present weight; without gradients but inside `forward`."""
        return self._expressions[0].value() if self._given is None else self._given[0]

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        """The present bias; without gradients but inside `forward`."""
        if self._given is not None:
            return self._given[1]
        bias = self._expressions[1]
        return None if bias is None else bias.value()

    def weight_version(self) -> Version:
        return self._expressions[0].version()

    def version(self) -> Version:
        weight, bias = self._expressions
        return weight.version() if bias is None else (weight.version(), bias.version())

    def _trains(self) -> bool:
        return self.steps is not None or any(
            e is not None and e.trains() for e in self._expressions
        )

    def forward(self, input: Tensor, given: Given | None = None) -> Tensor:
        """Emulate the product.

        Args:
            input: As the function takes it.
            given: Weight and bias of the call, if they are at hand.
        """
        if self.observing or not torch.is_grad_enabled() or not self._trains():
            return super().forward(input)
        if given is None:
            weight, bias = self._expressions
            given = weight.differentiable(), None if bias is None else bias.differentiable()
        elif self._norms:
            given = self._norms[0].folded_given(given)
        layer = object.__new__(type(self))
        layer.__dict__ = {**self.__dict__, "_given": given}  # shares all there is, for one call
        return super(ComputedWeights, layer).forward(input)


class ComputedLinear(ComputedWeights, EmulatedLinear):
    """An `EmulatedLinear` with a computed weight."""


class ComputedConv1d(ComputedWeights, EmulatedConv1d):
    """An `EmulatedConv1d` with a computed weight."""


class ComputedConv2d(ComputedWeights, EmulatedConv2d):
    """An `EmulatedConv2d` with a computed weight."""


class ComputedConv3d(ComputedWeights, EmulatedConv3d):
    """An `EmulatedConv3d` with a computed weight."""


class ComputedConvTranspose1d(ComputedWeights, EmulatedConvTranspose1d):  # type: ignore[misc]
    """An `EmulatedConvTranspose1d` with a computed weight."""


class ComputedConvTranspose2d(ComputedWeights, EmulatedConvTranspose2d):  # type: ignore[misc]
    """An `EmulatedConvTranspose2d` with a computed weight."""


class ComputedConvTranspose3d(ComputedWeights, EmulatedConvTranspose3d):  # type: ignore[misc]
    """An `EmulatedConvTranspose3d` with a computed weight."""
