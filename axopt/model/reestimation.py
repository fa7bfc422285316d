"""Batch-norm re-estimation for a model whose batch norms are folded into its layers.

The statistics that a batch norm had learnt are those of exact products. Here each output channel
of a layer gets the mean and the standard deviation again that it has in the float model, while the
layers before it are emulated and corrected already. Layers that are called more than once, as some
of a recurrent network are, keep what they have: no two calls need have the same mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from axopt.errors import CalibrationError
from axopt.layers import EmulatedLayer, Quantisation, rounded
from axopt.model.adapter import Adapter, count, head, inputs_of, joined
from axopt.model.emulated_model import EmulatedModel, check_emulated

_MAX_SAMPLES = 512
_GAINS = (0.5, 2.0)
_NAME = "batch_norm"

Moments = tuple[Tensor, Tensor]
Hook = Callable[..., Tensor]


class Reestimator:
    """Float statistics of a model on some data, to be matched by any assignment.

    Args:
        emulated: A model made by `prepare`; its float layers define what is matched.
        data: Batches of inputs, or of (input, target); the first 512 samples are used.

    Raises:
        CalibrationError: If ``data`` holds no batch.
    """

    def __init__(self, emulated: EmulatedModel, data: Iterable[Any]) -> None:
        check_emulated(emulated)
        self._emulated = emulated
        self._inputs = _first_samples(data, emulated.adapter)
        self._moments: dict[EmulatedLayer, Moments | None] = {}  # None where there is no matching
        with torch.inference_mode(False), torch.no_grad():
            self._target = self._run(self._record)

    def apply_(self) -> bool:
        """Match means and spreads of all output channels to the float model's, if that helps.

        Returns:
            Whether the outputs came closer to the float model's, in mean squared difference. If
            not, the model is as it was.
        """
        layers = self._emulated.emulated_layers.values()
        before = {layer: layer.correction for layer in layers}
        with torch.inference_mode(False), torch.no_grad():
            error = _difference(self._call(), self._target)
            helps = _difference(self._run(self._match), self._target) < error
        if not helps:
            for layer, correction in before.items():
                layer.correction = correction
        return helps

    def _run(self, hook: Hook) -> Any:
        """The model's output with ``hook(layer, ...)`` in place of every layer's result."""

        def replaced(
            module: nn.Module, operands: tuple[Any, ...], options: dict[str, Any], output: Any
        ) -> Tensor:
            if not isinstance(module, EmulatedLayer):
                raise TypeError(f"{type(module).__name__} is not an emulated layer")
            return hook(module, *operands, **options)

        with ExitStack() as stack:
            for layer in self._emulated.emulated_layers.values():
                stack.enter_context(layer.register_forward_hook(replaced, with_kwargs=True))
            return self._call()

    def _call(self) -> Any:
        return self._emulated.adapter.call(self._emulated, self._inputs)

    def _record(self, layer: EmulatedLayer, *operands: Any, **options: Any) -> Tensor:
        """The float layer's results; what they are like is kept."""
        y = layer.exact_float(*operands, **options)
        called_before = layer in self._moments
        self._moments[layer] = None
        if layer.has_channels and not called_before:
            self._moments[layer] = _moments(layer, y)
        return layer.bounded(y)

    def _match(self, layer: EmulatedLayer, *operands: Any, **options: Any) -> Tensor:
        """The emulated layer's results, its gain and shift adjusted first."""
        y = layer.unbounded(*operands, **options)
        moments = self._moments[layer]
        if moments is None:
            return layer.bounded(y)
        mean, spread = moments
        found_mean, found_spread = _moments(layer, y)
        gain = torch.where(found_spread > 0, spread / found_spread, 1.0).clamp(*_GAINS)
        before = layer.quantisation().gain
        total = rounded(gain if before is None else gain * before)
        gain = total if before is None else total / before
        offset = mean - gain * found_mean
        layer.correction = _adjusted(layer.quantisation(), layer.bias, gain, offset)
        return layer.bounded(layer.unbounded(*operands, **options))


def reestimate_(emulated: EmulatedModel, data: Iterable[Any]) -> bool:
    """`Reestimator.apply_` for one assignment."""
    return Reestimator(emulated, data).apply_()


def _first_samples(data: Iterable[Any], adapter: Adapter) -> Any:
    batches: list[Any] = []
    for batch in data:
        batches.append(inputs_of(batch, adapter, "data"))
        if sum(map(count, batches)) >= _MAX_SAMPLES:
            break
    if not batches:
        raise CalibrationError("`data` must hold at least one batch, got none.")
    return head(joined(batches), _MAX_SAMPLES)


def _adjusted(
    quantisation: Quantisation, bias: Tensor | None, gain: Tensor, offset: Tensor
) -> Quantisation:
    """The formats with results y replaced by ``gain * y + offset``; the bias is in y."""
    before = quantisation.output_bias(bias)
    after = offset if before is None else gain * before + offset
    shift = after if bias is None else after - bias.detach()
    if quantisation.gain is not None:
        gain = gain * quantisation.gain
    return quantisation.corrected(_NAME, gain, shift)


def _moments(layer: EmulatedLayer, y: Tensor) -> Moments:
    """``(out_channels,)`` mean and standard deviation of results."""
    values = layer.by_channel(y.double())
    return values.mean(1), values.std(1, correction=0)


def _difference(output: Any, target: Any) -> float:
    """Mean squared difference of two outputs, tensors or collections of them."""
    pairs = list(zip(_tensors(output), _tensors(target), strict=True))
    total = sum(float((a.double() - b.double()).square().sum()) for a, b in pairs)
    return total / max(sum(a.numel() for a, _ in pairs), 1)


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return list(chain.from_iterable(map(_tensors, output)))
    return []
