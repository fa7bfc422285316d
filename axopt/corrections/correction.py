"""Choose what serves one layer and one circuit best, by measurement on windows of its input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from axopt.corrections.allowed import ALL, Corrections
from axopt.corrections.candidates import Candidates
from axopt.corrections.probe import Probe
from axopt.layers import EmulatedLayer, Quantisation
from axopt.multipliers import Multiplier

_CPU = torch.device("cpu")  # where calibration left its windows, and native kernels run


@dataclass(frozen=True)
class Correction:
    """What was chosen for a layer and a circuit.

    Attributes:
        swap: Whether the weight is the first operand.
        quantisation: Formats of operands and results; ``corrections`` names what they use.
        error_pct: Root mean square error of the layer's results, in percent of their standard
            deviation, on windows that no correction was fitted to.
        raw_error_pct: The same without any correction.
        rejected: Other sets of corrections, "order" among them, with their least error.
    """

    swap: bool
    quantisation: Quantisation
    error_pct: float
    raw_error_pct: float
    rejected: dict[tuple[str, ...], float]


class LayerCorrector:
    """Corrections of one layer with its present weights and bias.

    Args:
        layer: A calibrated layer.
    """

    def __init__(self, layer: EmulatedLayer) -> None:
        self._layer = layer
        self._probe = Probe(layer)
        self._candidates = Candidates(layer)
        self._chosen: dict[tuple[object, ...], tuple[Quantisation, Correction]] = {}

    @classmethod
    def of(cls, layer: EmulatedLayer) -> LayerCorrector:
        """The corrector of ``layer``, made at its first use and whenever that changed."""
        version = layer.version()
        kept = layer.derived.get(cls)
        if kept is None or kept[0] != version:
            kept = layer.derived[cls] = (version, cls(layer))
        corrector: LayerCorrector = kept[1]
        return corrector

    def best(
        self, multiplier: Multiplier, *, swap: bool, allowed: Corrections = ALL
    ) -> Correction:
        """The order, formats and corrections with the least error on the window sample.

        Args:
            multiplier: The circuit.
            swap: The operand order, where ``allowed`` leaves no choice.
            allowed: What may be used.
        """
        swap = swap and not allowed.order
        raw = self._layer.quantisation(multiplier.signed)
        key = (multiplier.digest, swap, allowed)
        kept = self._chosen.get(key)
        if kept is None or kept[0] is not raw:
            kept = self._chosen[key] = (raw, self._choose(multiplier, swap, raw.to(_CPU), allowed))
        return kept[1]

    def error_pct(
        self, quantisation: Quantisation, multiplier: Multiplier, *, swap: bool
    ) -> float:
        """Error of the layer's results with these formats, as in `Correction`."""
        formats = quantisation.to(_CPU)
        return self._probe.results(formats, multiplier, swap).error_pct()

    def _choose(
        self, multiplier: Multiplier, swap: bool, raw: Quantisation, allowed: Corrections
    ) -> Correction:
        measured: dict[tuple[str, ...], tuple[float, bool, Quantisation]] = {}
        for order, formats, error in self._measured(multiplier, swap, raw, allowed):
            names = ("order",) * (order != swap) + formats.corrections
            if names not in measured or error < measured[names][0]:
                measured[names] = (error, order, formats)
        best = min(measured, key=lambda names: (measured[names][0], len(names)))
        error, order, formats = measured[best]
        rejected = {names: found[0] for names, found in measured.items() if names != best}
        return Correction(order, formats, error, measured[()][0], rejected)

    def _measured(
        self, multiplier: Multiplier, swap: bool, raw: Quantisation, allowed: Corrections
    ) -> Iterator[tuple[bool, Quantisation, float]]:
        """Everything worth trying, with its error."""
        both = allowed.order and not multiplier.is_commutative
        for order in (swap, not swap) if both else (swap,):
            for formats in self._candidates.formats(multiplier, order, raw, allowed):
                results = self._probe.results(formats, multiplier, order)
                for corrected, error in results.corrected(
                    mean_error=allowed.mean_error, gain=allowed.gain
                ):
                    yield order, corrected, error
