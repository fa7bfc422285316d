"""How much the error of each layer changes the outputs of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from axopt.corrections import LayerCorrector
from axopt.data import Split
from axopt.design.statistics import Floats
from axopt.evaluation import against, measure
from axopt.layers import EmulatedLayer
from axopt.model import EmulatedModel
from axopt.multipliers import Multiplier


@contextmanager
def kept_assignment(emulated: EmulatedModel) -> Iterator[None]:
    """Restore multipliers, operand orders and corrections of a model in the end.

    Args:
        emulated: The model.
    """
    before = {
        name: (layer.multiplier, layer.swap, layer.correction)
        for name, layer in emulated.emulated_layers.items()
    }
    try:
        yield
    finally:
        for name, (multiplier, swap, correction) in before.items():
            layer = emulated.emulated_layers[name]
            layer.assign(multiplier, swap=swap)
            layer.correction = correction


@torch.inference_mode(False)  # formats are kept, and may be trained later
def assign_corrected_(layer: EmulatedLayer, multiplier: Multiplier) -> None:
    """Give a layer a multiplier with its best correction, in place."""
    best = LayerCorrector.of(layer).best(multiplier, swap=False)
    layer.assign(multiplier, swap=best.swap)
    layer.correction = best.quantisation if best.quantisation.corrections else None


def squared_distances(
    emulated: EmulatedModel, samples: Split, exact: Multiplier, probe: Multiplier
) -> Floats:
    """Return the squared relative distance of the outputs with a probe in one layer at a time.

    All layers are corrected. The other layers have the exact multiplier.

    Args:
        emulated: The model; its assignment changes.
        samples: The samples; their targets are not used.
        exact: The exact multiplier.
        probe: An approximate multiplier.

    Returns:
        ``(layers,)``; 1.0 stands for an error as large as the outputs.
    """
    layers = list(emulated.emulated_layers.values())
    for layer in layers:
        assign_corrected_(layer, exact)
    labelled = against(emulated, samples)
    found = []
    for layer in layers:
        assign_corrected_(layer, probe)
        quality, _ = measure(emulated, labelled, "distance")
        found.append((quality.value / 100) ** 2)
        assign_corrected_(layer, exact)
    return np.array(found)
