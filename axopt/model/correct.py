"""Free corrections of an emulated model, layer by layer, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from axopt.corrections import ALL, NONE, Corrections, LayerCorrector
from axopt.errors import ArgumentError
from axopt.layers import EmulatedLayer
from axopt.model.emulated_model import EmulatedModel, check_emulated
from axopt.model.reestimation import reestimate_


@torch.inference_mode(False)
def correct_(
    emulated: EmulatedModel,
    *,
    allowed: Corrections = ALL,
    data: Iterable[Any] | None = None,
) -> None:
    """Choose and apply the corrections that help each layer with its present circuit, in place.

    Every layer gets the operand order, formats and corrections that bring its results closest to
    the float layer's on windows of its input that calibration kept. No pass of the model is
    needed; what was found for a circuit is kept, so choosing it again takes microseconds. The next
    `assign_` of a layer takes its corrections away again.

    Args:
        emulated: A model made by `prepare`.
        allowed: What may be used; a hardware without one of them leaves it out.
        data: Batches of inputs, or of (input, target), to re-estimate batch norms on: after the
            choice, mean and spread of every output channel are made those of the float model,
            one layer after the other, and kept if the outputs come closer to the float model's.

    Raises:
        CalibrationError: If ``data`` holds no batch.
    """
    check_emulated(emulated)
    for layer in emulated.emulated_layers.values():
        correct_layer(layer, layer.swap, allowed)
    if data is not None:
        reestimate_(emulated, data)


def correct_layer(layer: EmulatedLayer, swap: bool, allowed: Corrections) -> None:
    """Choose for one layer with its present circuit; ``swap`` where the order is not free."""
    choice = LayerCorrector.of(layer).best(layer.multiplier, swap=swap, allowed=allowed)
    layer.assign(layer.multiplier, swap=choice.swap)
    if choice.quantisation.corrections:
        layer.correction = choice.quantisation


def correct_together(layers: Sequence[EmulatedLayer], allowed: Corrections) -> None:
    """As `correct_layer` for layers that share one circuit, and so one operand order.

    The order is that with the least sum of squared relative errors.
    """
    in_order = replace(allowed, order=False)

    def error(swap: bool) -> float:
        correctors = [(LayerCorrector.of(layer), layer.multiplier) for layer in layers]
        choices = [c.best(circuit, swap=swap, allowed=in_order) for c, circuit in correctors]
        return sum(choice.error_pct**2 for choice in choices)

    swap = allowed.order and error(True) < error(False)
    for layer in layers:
        correct_layer(layer, swap, in_order)


def allowed_corrections(correct: bool | Corrections) -> Corrections | None:
    """What an argument ``correct`` means; None for no corrections.

    Raises:
        ArgumentError: If it is neither a truth value nor `Corrections`.
    """
    if isinstance(correct, Corrections):
        return None if correct == NONE else correct
    if not isinstance(correct, bool):
        raise ArgumentError(
            f"`correct` must be True, False or Corrections, got {type(correct).__name__}."
        )
    return ALL if correct else None


@dataclass(frozen=True)
class Explanation:
    """What a layer's corrections are, and why.

    Attributes:
        name: The layer.
        multiplier: Key of its circuit.
        swap: Whether the weight is the first operand.
        corrections: Names of those in use.
        error_pct: Root mean square error of the layer's results, in percent of their standard
            deviation, on the windows that calibration kept.
        raw_error_pct: The same without corrections, in the operand order of the circuit.
        alternatives: Other sets of corrections with their least error, the best first.
    """

    name: str
    multiplier: str
    swap: bool
    corrections: tuple[str, ...]
    error_pct: float
    raw_error_pct: float
    alternatives: tuple[tuple[tuple[str, ...], float], ...]


@torch.inference_mode(False)
def explain_corrections(emulated: EmulatedModel) -> list[Explanation]:
    """Measure each layer as it is, without corrections, and with others."""
    check_emulated(emulated)
    return [_explain(name, layer) for name, layer in emulated.emulated_layers.items()]


def _explain(name: str, layer: EmulatedLayer) -> Explanation:
    corrector = LayerCorrector.of(layer)
    used = layer.quantisation()
    best = corrector.best(layer.multiplier, swap=False)
    names = ("order",) * layer.swap + used.corrections
    others = {("order",) * best.swap + best.quantisation.corrections: best.error_pct}
    others |= best.rejected
    others.pop(names, None)
    return Explanation(
        name=name,
        multiplier=layer.multiplier.key,
        swap=layer.swap,
        corrections=used.corrections,
        error_pct=corrector.error_pct(used, layer.multiplier, swap=layer.swap),
        raw_error_pct=best.raw_error_pct,
        alternatives=tuple(sorted(others.items(), key=lambda item: item[1])),
    )
