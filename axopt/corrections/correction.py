"""Find the best correction of one layer for one multiplier, measured on a sample of its input."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from axopt.corrections.allowed import ALL, BY_POWER, Corrections
from axopt.corrections.candidates import Candidates
from axopt.corrections.levels import WeightCodes, format_key
from axopt.corrections.probe import Probe
from axopt.corrections.result import Correction
from axopt.corrections.sampled import Sample
from axopt.corrections.stored import StoredCorrections, content_of, correction_key
from axopt.layers import EmulatedLayer, Quantisation, QuantParams, plan_of, strides_of
from axopt.multipliers import Multiplier

SIMILAR_ERROR = 1.05
"""Largest ratio of the errors of two operand orders between which power decides."""

Measured = dict[tuple[str, ...], tuple[float, bool, Quantisation]]
"""Names of corrections -> least error with them in percent, operand order and formats."""

_Ordered = list[tuple[bool, Quantisation]]
"""Operand order and formats of candidates."""

_SAMPLED = ((64, 32, 3.0), (256, 64, 2.0))
"""Windows and outputs on which candidates are compared before they are measured on all, and the
standard errors by which those that are dropped are worse. On many windows errors within two
standard errors are nearly equal, so that a wrong decision costs little."""

_LEAST_RATIO = 2
"""Smallest ratio of all results of a layer to those of a sample with which this pays."""

_FEW = 2
"""Candidates that are measured on all windows without another comparison."""

_CPU = torch.device("cpu")  # calibration keeps its windows there; native kernels run there


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
        all_results = self._probe.exact.numel()
        self._samples = [
            Sample(self._probe, windows, outputs, confidence)
            for windows, outputs, confidence in _SAMPLED
            if layer.accumulator is None
            and all_results >= _LEAST_RATIO * windows * min(outputs, self._probe.exact.shape[1])
        ]
        self._stored = StoredCorrections(layer)
        self._operands: dict[bytes, QuantParams] = {}
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

        It is measured once; asking again for the same multiplier takes microseconds. It is also
        stored on disk, by the content of all that decides it, see `cache_folder`.

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
            found = self._found(multiplier, swap, allowed, (raw, other))
            kept = self._chosen[key] = (raw, other, found)
        return kept[2]

    def _found(
        self,
        multiplier: Multiplier,
        swap: bool,
        allowed: Corrections,
        uncorrected: tuple[Quantisation, Quantisation],
    ) -> Correction:
        """Return the stored correction, or measure and store it.

        Args:
            multiplier: The multiplier to correct for.
            swap: The operand order, if this is not free.
            allowed: Corrections that may be used.
            uncorrected: The formats in this order and in the other one.
        """
        formats = [f.to(_CPU) for f in uncorrected]
        operands = [params for f in formats for params in (f.activation, f.weights)]
        outputs = [(f.gain, f.shift, f.corrections) for f in formats]
        key = correction_key(
            multiplier.digest, multiplier.signed, swap, allowed, operands, outputs
        )
        # power depends on gate lists, too
        stored = None if allowed.order == BY_POWER else self._stored
        for params in operands:
            self._operands.setdefault(content_of(params), params)
        found = None if stored is None else stored.get(key, self._operands)
        if found is None:
            candidates = self._formats(multiplier, swap, allowed)
            likely = self._likely(multiplier, allowed, candidates)
            found = self._choose(multiplier, swap, allowed, likely)
            if stored is not None:
                stored.put(key, found)
        return found

    def _uncorrected(self, multiplier: Multiplier, swap: bool) -> Quantisation:
        return self._layer.quantisation(multiplier.signed, strides_of(multiplier, swap))

    def error_pct(
        self, quantisation: Quantisation, multiplier: Multiplier, *, swap: bool
    ) -> float:
        """Return the error of the layer's results with these formats, see `Correction`."""
        formats = quantisation.to(_CPU)
        return self._probe.results(formats, multiplier, swap).error_pct()

    def compared(
        self, multiplier: Multiplier, *, swap: bool, allowed: Corrections = ALL
    ) -> Correction:
        """Return what `best` returns, with the errors of every candidate in ``rejected``.

        It is the plain definition of the choice, and about eight times slower: it measures every
        candidate on all windows. `best` measures those that may be the best.

        Args:
            multiplier: The multiplier to correct for.
            swap: The operand order, if ``allowed.order`` is False.
            allowed: Corrections that may be used.
        """
        swap = swap and not allowed.order
        candidates = self._formats(multiplier, swap, allowed)
        return self._choose(multiplier, swap, allowed, candidates)

    def _choose(
        self, multiplier: Multiplier, swap: bool, allowed: Corrections, candidates: _Ordered
    ) -> Correction:
        measured: Measured = {}
        for order, formats, error in self._measured(multiplier, swap, allowed, candidates):
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

    def _formats(self, multiplier: Multiplier, swap: bool, allowed: Corrections) -> _Ordered:
        """Return the operand order and the formats of every candidate, the raw ones first."""
        both = allowed.order and not multiplier.is_commutative
        found = []
        for order in (swap, not swap) if both else (swap,):
            raw = self._uncorrected(multiplier, order).to(_CPU)
            candidates = self._candidates.formats(multiplier, order, raw, allowed)
            found += [(order, formats) for formats in candidates]
        return found

    def _likely(
        self, multiplier: Multiplier, allowed: Corrections, candidates: _Ordered
    ) -> _Ordered:
        """Return the candidates that may be the best, of equal ones that with the fewest names."""
        distinct: dict[tuple[object, ...], tuple[bool, Quantisation]] = {}
        weights = WeightCodes.of(self._layer)
        for order, formats in candidates:
            key = (order, format_key(formats.activation), weights.key(formats.weights))
            known = distinct.get(key)
            if known is None or len(formats.corrections) < len(known[1].corrections):
                distinct[key] = (order, formats)
        kept = list(distinct.values())
        if allowed.order != BY_POWER:
            return self._not_worse(multiplier, allowed, kept)
        one_order = [[c for c in kept if c[0] == order] for order in (False, True)]
        return [c for some in one_order for c in self._not_worse(multiplier, allowed, some)]

    def _not_worse(
        self, multiplier: Multiplier, allowed: Corrections, candidates: _Ordered
    ) -> _Ordered:
        """Return the candidates of which no sample tells that another one is better."""
        for sample in self._samples:
            if len(candidates) <= _FEW:
                break
            pairs = [(plan_of(multiplier, order), formats) for order, formats in candidates]
            likely = sample.likely(pairs, multiplier.signed, allowed)
            candidates = [candidates[i] for i in likely]
        return candidates

    def _measured(
        self, multiplier: Multiplier, swap: bool, allowed: Corrections, candidates: _Ordered
    ) -> Iterator[tuple[bool, Quantisation, float]]:
        """Yield order, formats and error in percent of every candidate with every correction.

        The raw formats are measured even if they are no candidate.
        """
        both = allowed.order and not multiplier.is_commutative
        for order, formats in candidates:
            results = self._probe.results(formats, multiplier, order)
            for corrected, error in results.corrected(
                mean_error=allowed.mean_error, gain=allowed.gain
            ):
                yield order, corrected, error
                if allowed.order == BY_POWER and not both:  # the same products
                    yield not order, corrected, error
        if not any(order == swap and not formats.corrections for order, formats in candidates):
            raw = self._uncorrected(multiplier, swap).to(_CPU)
            yield swap, raw, self.error_pct(raw, multiplier, swap=swap)
