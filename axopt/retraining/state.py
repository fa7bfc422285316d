"""The state that retraining changes in an emulated model, saved and restored as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from axopt.layers import EmulatedLayer, Gradient, Quantisation, Steps
from axopt.layers.base import Formats
from axopt.model import EmulatedModel

SMALLEST = 2.0**-10
"""Smallest learned scale, relative to its value at the start."""


@dataclass(frozen=True, eq=False)
class ModelState:
    """Parameters, buffers and formats of an emulated model.

    Attributes:
        tensors: Its state_dict, copied.
        formats: Layer name -> formats.
    """

    tensors: Mapping[str, Tensor]
    formats: Mapping[str, Formats]

    @classmethod
    def of(cls, emulated: EmulatedModel) -> ModelState:
        """Return a copy of the present state of ``emulated``."""
        return cls(
            {name: value.detach().clone() for name, value in emulated.state_dict().items()},
            {name: layer.formats for name, layer in emulated.emulated_layers.items()},
        )

    def restore(self, emulated: EmulatedModel) -> None:
        """Put ``emulated`` back into this state."""
        emulated.load_state_dict(dict(self.tensors))
        for name, layer in emulated.emulated_layers.items():
            layer.formats = self.formats[name]

    def as_values(self) -> dict[str, Any]:
        """Return the state_dict and the scales of the formats in plain containers."""
        return {
            "tensors": dict(self.tensors),
            "scales": {name: _scales(formats) for name, formats in self.formats.items()},
        }

    def with_values(self, values: Mapping[str, Any]) -> ModelState:
        """Return this state with tensors and scales that `as_values` returned."""
        formats = {
            name: _with_scales(formats, values["scales"][name])
            for name, formats in self.formats.items()
        }
        return ModelState(values["tensors"], formats)


def _in_use(formats: Formats) -> list[Quantisation]:
    fixed, correction = formats
    return [*fixed.values(), *([] if correction is None else [correction])]


def _scales(formats: Formats) -> list[tuple[Tensor, Tensor]]:
    return [(one.activation.scale, one.weights.scale) for one in _in_use(formats)]


def _with_scales(formats: Formats, scales: list[tuple[Tensor, Tensor]]) -> Formats:
    """The same formats with other scales, in the order of `_scales`."""
    fixed, correction = formats
    changed = [with_scales(one, *both) for one, both in zip(_in_use(formats), scales, strict=True)]
    return dict(zip(fixed, changed, strict=False)), None if correction is None else changed[-1]


def with_scales(formats: Quantisation, activation: Tensor, weights: Tensor) -> Quantisation:
    """``formats`` with other scales, everything else as it is."""
    return replace(
        formats,
        activation=replace(formats.activation, scale=activation),
        weights=replace(formats.weights, scale=weights),
    )


class LearnedSteps:
    """The scales (step sizes) of all layers as parameters; the layers' formats follow them.

    Each parameter is a scale divided by its value at the start, so that one learning rate fits
    all.

    Args:
        emulated: The model.
        learn: False for no parameters; the layers' formats then stay as they are.
    """

    def __init__(self, emulated: EmulatedModel, *, learn: bool) -> None:
        self._layers = list(emulated.emulated_layers.values()) if learn else []
        self._start = [_scales_in_use(layer) for layer in self._layers]
        self._relative = [
            (nn.Parameter(torch.ones_like(a)), nn.Parameter(torch.ones_like(w)))
            for a, w in self._start
        ]
        self.follow()

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of all layers, in order: activation, weights, activation, ..."""
        return [scale for both in self._relative for scale in both]

    def follow(self) -> None:
        """Clamp the scales to be positive and pass them to the layers; call it after each step."""
        for layer, start, relative in zip(self._layers, self._start, self._relative, strict=True):
            with torch.no_grad():
                for scale in relative:
                    scale.clamp_(min=SMALLEST)
            layer.steps = Steps(start[0] * relative[0], start[1] * relative[1])
            scales = (layer.steps.activation.detach(), layer.steps.weights.detach())
            layer.adjust(with_scales(layer.quantisation(), *scales))

    def values(self) -> list[Tensor]:
        """Return copies of the parameters, for `restore`."""
        return [scale.detach().clone() for scale in self.parameters()]

    @torch.no_grad()
    def restore(self, values: list[Tensor]) -> None:
        """Set the parameters to earlier `values`."""
        for scale, value in zip(self.parameters(), values, strict=True):
            scale.copy_(value)
        with torch.enable_grad():
            self.follow()


def _scales_in_use(layer: EmulatedLayer) -> tuple[Tensor, Tensor]:
    formats = layer.quantisation()
    return formats.activation.scale, formats.weights.scale


def set_gradient(emulated: EmulatedModel, gradient: Mapping[str, Gradient] | Gradient) -> None:
    """Set how layers are differentiated: one gradient for all, or one for each name."""
    for name, layer in emulated.emulated_layers.items():
        layer.gradient = gradient[name] if isinstance(gradient, Mapping) else gradient
