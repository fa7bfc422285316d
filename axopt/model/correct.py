"""Corrections of an emulated model, layer by layer, and how much each layer gains."""

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
from axopt.renamed import warn_removed


@torch.inference_mode(False)
def correct_(
    emulated: EmulatedModel,
    *,
    allowed: Corrections = ALL,
    data: Iterable[Any] | None = None,
) -> None:
    """Correct each layer for its present multiplier, in place and without retraining.

    Every layer gets the operand order, formats, gain and shift that bring its results closest to
    those of the float layer, measured on windows of its input that calibration kept. The model
    does not run. Corrections are kept for each multiplier, so finding them again takes
    microseconds. The next `assign_` of a layer removes its corrections.

    Args:
        emulated: A model made by `prepare`.
        allowed: Corrections that the hardware can do.
        data: Batches of inputs, or of (inputs, targets), to re-estimate batch norms on, see
            `Reestimator`; None for no re-estimation.

    Raises:
        ArgumentError: If ``emulated`` was not made by `prepare`.
        CalibrationError: If ``data`` holds no batch.

    Example:
        >>> import axopt
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(64, 8)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), x)
        >>> axopt.assign_(emulated, "mul8s_1L1G")
        >>> correct_(emulated)
        >>> found = explain_corrections(emulated)[0]
        >>> found.error_pct < found.raw_error_pct
        True
    """
    check_emulated(emulated)
    for layer in emulated.emulated_layers.values():
        correct_layer(layer, layer.swap, allowed)
    if data is not None:
        reestimate_(emulated, data)


def correct_layer(layer: EmulatedLayer, swap: bool, allowed: Corrections) -> None:
    """Correct one layer for its present multiplier; ``swap`` is its order unless this is free."""
    found = LayerCorrector.of(layer).best(layer.multiplier, swap=swap, allowed=allowed)
    layer.assign(layer.multiplier, swap=found.swap)
    if found.quantisation.corrections:
        layer.correction = found.quantisation


def correct_together(layers: Sequence[EmulatedLayer], allowed: Corrections) -> None:
    """Correct layers that share one multiplier and one operand order, in place. Deprecated.

    The order with the least sum of squared relative errors is used. A search does this for its
    groups; nothing else calls this function, and it is removed in 0.3.

    Args:
        layers: Layers with the same multiplier.
        allowed: Corrections that may be used.
    """
    warn_removed(
        "axopt.model.correct_together",
        "use `axopt.correct_`, or `axopt.search` with `groups` for layers that share an order",
    )
    in_order = replace(allowed, order=False)

    def error(swap: bool) -> float:
        found = [
            LayerCorrector.of(layer).best(layer.multiplier, swap=swap, allowed=in_order)
            for layer in layers
        ]
        return sum(correction.error_pct**2 for correction in found)

    swap = bool(allowed.order) and error(True) < error(False)
    for layer in layers:
        correct_layer(layer, swap, in_order)


def allowed_corrections(correct: bool | Corrections) -> Corrections | None:
    """Return the corrections that an argument ``correct`` allows; None for no corrections.

    Args:
        correct: True for all corrections, False for none, or the `Corrections` themselves.

    Raises:
        ArgumentError: If it is neither a truth value nor `Corrections`.

    Example:
        >>> allowed_corrections(True) == ALL, allowed_corrections(False)
        (True, None)
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
    """The corrections of a layer and their errors.

    Attributes:
        name: Name of the layer.
        multiplier: Key of its multiplier, "release/name".
        swap: Whether the weight is the first operand.
        corrections: Names of the corrections in use.
        error_pct: Root mean square error of the layer's results in percent of their standard
            deviation, on windows that calibration kept.
        raw_error_pct: The same error without corrections and without swapped operands.
        alternatives: Other sets of corrections with their least error, best first.

    Example:
        >>> import axopt
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), torch.rand(64, 8))
        >>> [found] = axopt.model.explain_corrections(emulated)
        >>> found.name, found.multiplier, found.corrections
        ('0', 'v1/mul8s_1KV8', ())
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
    """Measure each layer as it is, without corrections and with other corrections.

    Args:
        emulated: A model made by `prepare`.

    Returns:
        One explanation for each layer, in the order of execution.

    Raises:
        ArgumentError: If ``emulated`` was not made by `prepare`.

    Example:
        >>> import axopt
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(64, 8)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), x)
        >>> axopt.assign_(emulated, "mul8s_1L1G", correct=True)
        >>> found = explain_corrections(emulated)[0]
        >>> found.name, found.error_pct < found.raw_error_pct
        ('0', True)
    """
    check_emulated(emulated)
    return [_explain(name, layer) for name, layer in emulated.emulated_layers.items()]


def _explain(name: str, layer: EmulatedLayer) -> Explanation:
    corrector = LayerCorrector.of(layer)
    used = layer.quantisation()
    best = corrector.compared(layer.multiplier, swap=False)
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
