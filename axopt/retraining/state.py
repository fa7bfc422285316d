"""All that retraining changes in an emulated model, taken and put back as one value."""

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
"""A learned scale stays above this part of what it was at the start."""


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
        """What ``emulated`` is now."""
        return cls(
            {name: value.detach().clone() for name, value in emulated.state_dict().items()},
            {name: layer.formats for name, layer in emulated.emulated_layers.items()},
        )

    def restore(self, emulated: EmulatedModel) -> None:
        """Make ``emulated`` what it was."""
        emulated.load_state_dict(dict(self.tensors))
        for name, layer in emulated.emulated_layers.items():
            layer.formats = self.formats[name]

    def as_values(self) -> dict[str, Any]:
        """Tensors in plain containers: the state_dict, and the scales of fixed formats."""
        return {
            "tensors": dict(self.tensors),
            "scales": {name: _scales(formats) for name, formats in self.formats.items()},
        }

    def with_values(self, values: Mapping[str, Any]) -> ModelState:
        """This state with what `as_values` gave: all that retraining changes of formats."""
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
    """The scales of all layers as parameters; the layers' formats follow them.

    Args:
        emulated: The model.
        learn: False for none, which leaves the formats to the layers.
    """

    def __init__(self, emulated: EmulatedModel, *, learn: bool) -> None:
        self._layers = emulated.emulated_layers if learn else {}
        self._least: dict[str, tuple[Tensor, Tensor]] = {}
        for name, layer in self._layers.items():
            formats = layer.quantisation()
            scales = (formats.activation.scale, formats.weights.scale)
            layer.steps = Steps(*(nn.Parameter(scale.clone()) for scale in scales))
            self._least[name] = (scales[0] * SMALLEST, scales[1] * SMALLEST)
            layer.adjust(formats)

    def parameters(self) -> list[nn.Parameter]:
        """Of all layers, in order: activation, weights, activation, ..."""
        steps = (_steps_of(layer) for layer in self._layers.values())
        return [scale for one in steps for scale in (one.activation, one.weights)]

    @torch.no_grad()
    def follow(self) -> None:
        """Keep the scales positive and give them to the layers, after they changed."""
        for name, layer in self._layers.items():
            steps = _steps_of(layer)
            scales = []
            for scale, least in zip(
                (steps.activation, steps.weights), self._least[name], strict=True
            ):
                scale.copy_(torch.maximum(scale, least))
                scales.append(scale.detach().clone())
            layer.adjust(with_scales(layer.quantisation(), *scales))

    @torch.no_grad()
    def reread(self) -> None:
        """Take the scales from the layers, after their formats were put back."""
        for layer in self._layers.values():
            formats, steps = layer.quantisation(), _steps_of(layer)
            steps.activation.copy_(formats.activation.scale)
            steps.weights.copy_(formats.weights.scale)

    def detach(self) -> None:
        """Leave the layers with the formats that they have."""
        for layer in self._layers.values():
            layer.steps = None


def _steps_of(layer: EmulatedLayer) -> Steps:
    if layer.steps is None:
        raise RuntimeError(f"the scales of layer {layer.name!r} are not being learned")
    return layer.steps


def set_gradient(emulated: EmulatedModel, gradient: Mapping[str, Gradient] | Gradient) -> None:
    """Choose how layers are differentiated."""
    for name, layer in emulated.emulated_layers.items():
        layer.gradient = gradient[name] if isinstance(gradient, Mapping) else gradient
