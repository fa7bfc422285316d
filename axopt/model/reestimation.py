"""Batch-norm re-estimation for a model whose batch norms are folded into its layers.

The statistics that a batch norm has learnt belong to exact products. Re-estimation adjusts gain
and shift of each output channel so that its mean and standard deviation are those of the float
model, while the layers before it are emulated. Layers that are called more than once, such as
those of recurrent networks, are left unchanged: their calls may have different means.
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
    """Measures a model's float statistics once and matches them for any assignment.

    Args:
        emulated: A model made by `prepare`; its float layers define the statistics.
        data: Batches of inputs, or of (inputs, targets); the first 512 samples are used.

    Raises:
        ArgumentError: If ``emulated`` was not made by `prepare`.
        CalibrationError: If ``data`` holds no batch.

    Example:
        >>> import axopt
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(64, 8)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), x)
        >>> reestimator = Reestimator(emulated, [x])
        >>> axopt.assign_(emulated, "mul8s_1L1G")
        >>> reestimator.apply_()
        True
    """

    def __init__(self, emulated: EmulatedModel, data: Iterable[Any]) -> None:
        check_emulated(emulated)
        self._emulated = emulated
        self._inputs = _first_samples(data, emulated.adapter)
        self._moments: dict[
            EmulatedLayer, Moments | None
        ] = {}  # None: the layer is left unchanged
        with torch.inference_mode(False), torch.no_grad():
            self._target = self._run(self._record)

    def apply_(self) -> bool:
        """Match mean and standard deviation of all output channels to those of the float model.

        Returns:
            Whether this reduced the mean squared difference of the outputs from the float
            model's. If not, the model is left unchanged.
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
        """Run the model with ``hook(layer, ...)`` in place of every layer's result."""

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
        """Return the float layer's results and keep their statistics."""
        y = layer.exact_float(*operands, **options)
        called_before = layer in self._moments
        self._moments[layer] = None
        if layer.has_channels and not called_before:
            self._moments[layer] = _moments(layer, y)
        return layer.bounded(y)

    def _match(self, layer: EmulatedLayer, *operands: Any, **options: Any) -> Tensor:
        """Adjust gain and shift of the emulated layer and return its results."""
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
    """Re-estimate for the present assignment, see `Reestimator.apply_`."""
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
    """Return formats whose results are ``gain * y + offset``; y includes the bias."""
    before = quantisation.output_bias(bias)
    after = offset if before is None else gain * before + offset
    shift = after if bias is None else after - bias.detach()
    if quantisation.gain is not None:
        gain = gain * quantisation.gain
    return quantisation.corrected(_NAME, gain, shift)


def _moments(layer: EmulatedLayer, y: Tensor) -> Moments:
    """Return mean and standard deviation of results, ``(out_channels,)`` each."""
    values = layer.by_channel(y.double())
    return values.mean(1), values.std(1, correction=0)


def _difference(output: Any, target: Any) -> float:
    """Return the mean squared difference of two outputs, tensors or collections of them."""
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
