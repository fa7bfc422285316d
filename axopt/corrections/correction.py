"""Find the best correction of one layer for one multiplier, measured on a sample of its input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from axopt.corrections.allowed import ALL, BY_POWER, Corrections
from axopt.corrections.candidates import Candidates
from axopt.corrections.probe import Probe
from axopt.layers import EmulatedLayer, Quantisation, strides_of
from axopt.multipliers import Multiplier

SIMILAR_ERROR = 1.05
"""Largest ratio of the errors of two operand orders between which power decides."""

Measured = dict[tuple[str, ...], tuple[float, bool, Quantisation]]
"""Names of corrections -> least error with them in percent, operand order and formats."""

_CPU = torch.device("cpu")  # calibration keeps its windows there; native kernels run there


@dataclass(frozen=True)
class Correction:
    """The best correction of a layer for a multiplier.

    Attributes:
        swap: Whether the weight is the first operand.
        quantisation: Formats of the operands and the results; its ``corrections`` are the names
            of the corrections in use.
        error_pct: Root mean square error of the layer's results in percent of their standard
            deviation, on windows that no correction was fitted to.
        raw_error_pct: The same error without any correction.
        rejected: The other sets of corrections that were measured ("order" is one name of them),
            with the least error of each in percent.

    Example:
        >>> import axopt
        >>> _ = torch.manual_seed(0)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), torch.randn(64, 8))
        >>> corrector = LayerCorrector.of(emulated.emulated_layers["0"])
        >>> found = corrector.best(axopt.load_library()["mul8s_1KV8"], swap=False)
        >>> isinstance(found, Correction), found.swap
        (True, False)
    """

    swap: bool
    quantisation: Quantisation
    error_pct: float
    raw_error_pct: float
    rejected: dict[tuple[str, ...], float]


class LayerCorrector:
    """Finds the corrections of one layer for its present weights and bias.

    Args:
        layer: A calibrated layer.

    Example:
        >>> import axopt
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(64, 8)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), x)
        >>> corrector = LayerCorrector.of(emulated.emulated_layers["0"])
        >>> found = corrector.best(axopt.load_library()["mul8s_1L1G"], swap=False)
        >>> found.error_pct < found.raw_error_pct
        True
    """

    def __init__(self, layer: EmulatedLayer) -> None:
        self._layer = layer
        self._probe = Probe(layer)
        self._candidates = Candidates(layer)
        self._chosen: dict[tuple[object, ...], tuple[Quantisation, Quantisation, Correction]] = {}

    @classmethod
    def of(cls, layer: EmulatedLayer) -> LayerCorrector:
        """Return the corrector of ``layer``. It is made once for each state of the weights."""
        version = layer.version()
        kept = layer.derived.get(cls)
        if kept is None or kept[0] != version:
            kept = layer.derived[cls] = (version, cls(layer))
        corrector: LayerCorrector = kept[1]
        return corrector

    def best(
        self, multiplier: Multiplier, *, swap: bool, allowed: Corrections = ALL
    ) -> Correction:
        """Return the correction with the least error on the sample of windows.

        It is measured once; asking again for the same multiplier takes microseconds.

        Args:
            multiplier: The multiplier to correct for.
            swap: The operand order, if ``allowed.order`` is False.
            allowed: Corrections that may be used.
        """
        swap = swap and not allowed.order
        raw = self._uncorrected(multiplier, swap)
        other = self._uncorrected(multiplier, not swap)
        key = (multiplier.digest, swap, allowed)
        kept = self._chosen.get(key)
        if kept is None or kept[0] is not raw or kept[1] is not other:
            found = self._choose(multiplier, swap, allowed)
            kept = self._chosen[key] = (raw, other, found)
        return kept[2]

    def _uncorrected(self, multiplier: Multiplier, swap: bool) -> Quantisation:
        return self._layer.quantisation(multiplier.signed, strides_of(multiplier, swap))

    def error_pct(
        self, quantisation: Quantisation, multiplier: Multiplier, *, swap: bool
    ) -> float:
        """Return the error of the layer's results with these formats, see `Correction`."""
        formats = quantisation.to(_CPU)
        return self._probe.results(formats, multiplier, swap).error_pct()

    def _choose(self, multiplier: Multiplier, swap: bool, allowed: Corrections) -> Correction:
        measured: Measured = {}
        for order, formats, error in self._measured(multiplier, swap, allowed):
            names = ("order",) * (order != swap) + formats.corrections
            if names not in measured or error < measured[names][0]:
                measured[names] = (error, order, formats)
        best = min(measured, key=lambda names: (measured[names][0], len(names)))
        if allowed.order == BY_POWER:
            best = self._least_power(measured, best, multiplier)
        error, order, formats = measured[best]
        rejected = {names: found[0] for names, found in measured.items() if names != best}
        return Correction(order, formats, error, measured[()][0], rejected)

    def _least_power(
        self, measured: Measured, best: tuple[str, ...], multiplier: Multiplier
    ) -> tuple[str, ...]:
        """Return the set of the other operand order if its error is similar and its power less."""
        error, order, formats = measured[best]
        others = [names for names, found in measured.items() if found[1] != order]
        other = min(others, key=lambda names: (measured[names][0], len(names)))
        other_error, other_order, other_formats = measured[other]
        if other_error > SIMILAR_ERROR * error:
            return best
        from axopt.layers.powers import LayerPowers  # gate lists, which most programs never need

        powers = LayerPowers.of(self._layer)
        here = powers.of_formats(multiplier, order, formats)
        return other if powers.of_formats(multiplier, other_order, other_formats) < here else best

    def _measured(
        self, multiplier: Multiplier, swap: bool, allowed: Corrections
    ) -> Iterator[tuple[bool, Quantisation, float]]:
        """Yield order, formats and error in percent of every candidate."""
        both = allowed.order and not multiplier.is_commutative
        for order in (swap, not swap) if both else (swap,):
            raw = self._uncorrected(multiplier, order).to(_CPU)
            for formats in self._candidates.formats(multiplier, order, raw, allowed):
                results = self._probe.results(formats, multiplier, order)
                for corrected, error in results.corrected(
                    mean_error=allowed.mean_error, gain=allowed.gain
                ):
                    yield order, corrected, error
                    if allowed.order == BY_POWER and not both:  # the same products
                        yield not order, corrected, error
