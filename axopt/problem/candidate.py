"""Candidates: genes -> the multiplier, order and correction of every layer, settled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from axopt.corrections import BY_POWER, SIMILAR_ERROR, Corrections, LayerCorrector
from axopt.layers import EmulatedLayer, Quantisation, strides_of
from axopt.model import Assignment, EmulatedModel, Reestimator, current_assignment
from axopt.multipliers import Multiplier
from axopt.problem.options import Option


@dataclass(frozen=True)
class LayerSetting:
    """What one layer gets.

    Attributes:
        multiplier: The multiplier.
        swap: Whether the weight is the first operand.
        correction: Formats of operands and results, or None for the calibrated ones.

    Example:
        >>> from axopt import load_library
        >>> from axopt.problem import LayerSetting
        >>> LayerSetting(load_library()["mul8s_1KV8"], False, None).multiplier.name
        'mul8s_1KV8'
    """

    multiplier: Multiplier
    swap: bool
    correction: Quantisation | None


@dataclass(frozen=True)
class Candidate:
    """An assignment that is asked about: it is applied, measured and written from this value.

    Attributes:
        layers: Layer name -> what it gets, for every emulated layer.

    Example:
        >>> from axopt.problem import Candidate
        >>> Candidate({}).layers
        {}
    """

    layers: Mapping[str, LayerSetting]

    @torch.inference_mode(False)  # formats are kept, and may be trained later
    def apply_(self, emulated: EmulatedModel) -> None:
        """Put the candidate into a model, in place.

        Args:
            emulated: The model that the candidate was made for.
        """
        layers = emulated.emulated_layers
        for name, setting in self.layers.items():
            layers[name].assign(setting.multiplier, swap=setting.swap)
            layers[name].correction = setting.correction

    def assignment(self, emulated: EmulatedModel, **sections: Any) -> Assignment:
        """Return what a file needs to reproduce the candidate; applies it.

        Args:
            emulated: The model that the candidate was made for.
            **sections: ``source``, ``metrics`` and ``cost`` of `current_assignment`.
        """
        self.apply_(emulated)
        return current_assignment(emulated, **sections)


class Candidates:
    """Settles candidates of one model.

    Args:
        emulated: The model.
        allowed: Corrections that layers may get, None for none.
        reestimator: Re-estimates batch norms of each candidate, if given.
    """

    def __init__(
        self,
        emulated: EmulatedModel,
        allowed: Corrections | None,
        reestimator: Reestimator | None,
    ) -> None:
        self._emulated = emulated
        self._allowed = allowed
        self._reestimator = reestimator

    @property
    def treated(self) -> bool:
        """Whether `of` does anything that `plain` does not."""
        return self._allowed is not None or self._reestimator is not None

    def plain(self, options: Mapping[tuple[str, ...], Option]) -> Candidate:
        """Return the candidate of one option for each group of layers, without any treatment.

        Args:
            options: Names of the layers of a group -> their option.
        """
        settings = {
            name: LayerSetting(option.multiplier, option.swap, None)
            for names, option in options.items()
            for name in names
        }
        return Candidate({name: settings[name] for name in self._emulated.emulated_layers})

    @torch.inference_mode(False)
    def of(self, options: Mapping[tuple[str, ...], Option], *, order: bool) -> Candidate:
        """Return the candidate of one option for each group of layers, corrected as allowed.

        If batch norms are re-estimated, the model is left with the candidate applied.

        Args:
            options: Names of the layers of a group -> their option.
            order: Whether corrections may choose operand orders. Layers of a group have one.
        """
        layers = self._emulated.emulated_layers
        settings: dict[str, LayerSetting] = {}
        for names, option in options.items():
            members = [layers[name] for name in names]
            settings.update(zip(names, self._group(members, option, order), strict=True))
        candidate = Candidate({name: settings[name] for name in layers})
        if self._reestimator is None:
            return candidate
        candidate.apply_(self._emulated)
        self._reestimator.apply_()
        return Candidate(
            {
                name: replace(setting, correction=layers[name].correction)
                for name, setting in candidate.layers.items()
            }
        )

    @torch.inference_mode(False)
    def power_under_data(self, names: Sequence[str], option: Option, *, order: bool) -> float:
        """Return the power that layers which share an option have under their own data.

        Args:
            names: The layers.
            option: Their option.
            order: Whether corrections may choose operand orders.

        Returns:
            Sum over the layers of multiplications x mW.

        Raises:
            CircuitError: If the multiplier has no gate list.
        """
        members = [self._emulated.emulated_layers[name] for name in names]
        return self._power(members, self._group(members, option, order))

    def _group(
        self, members: Sequence[EmulatedLayer], option: Option, order: bool
    ) -> list[LayerSetting]:
        """Return the settings of layers that share a multiplier and its operand order."""
        if self._allowed is None:
            return [LayerSetting(option.multiplier, option.swap, None)] * len(members)
        if order and self._allowed.order:
            free = [_corrected(layer, option, self._allowed)[0] for layer in members]
            if len({setting.swap for setting in free}) == 1:
                return free
            options = [option, replace(option, swap=not option.swap)]
        else:
            options = [option]
        in_order = replace(self._allowed, order=False)
        found = [[_corrected(layer, o, in_order) for layer in members] for o in options]
        groups = [[setting for setting, _ in group] for group in found]
        errors = [sum(error**2 for _, error in group) for group in found]
        similar = [
            group
            for group, error in zip(groups, errors, strict=True)
            if error <= SIMILAR_ERROR**2 * min(errors)
        ]
        if self._allowed.order == BY_POWER and len(similar) > 1:
            return min(similar, key=lambda group: self._power(members, group))
        return groups[errors.index(min(errors))]  # of equal ones the first: not swapped

    def _power(self, members: Sequence[EmulatedLayer], settings: Sequence[LayerSetting]) -> float:
        """Return the power of layers under their data, weighted by their multiplications."""
        from axopt.layers.powers import LayerPowers  # gate lists, which most searches never need

        total = 0.0
        for layer, setting in zip(members, settings, strict=True):
            formats = setting.correction or layer.quantisation(
                setting.multiplier.signed, strides_of(setting.multiplier, setting.swap)
            )
            power = LayerPowers.of(layer).of_formats(setting.multiplier, setting.swap, formats)
            total += self._emulated.macs[layer.name] * power
        return total


def _corrected(
    layer: EmulatedLayer, option: Option, allowed: Corrections
) -> tuple[LayerSetting, float]:
    """Return the correction that helps a layer most with an option, and its error in percent."""
    corrector = LayerCorrector.of(layer)
    best = corrector.best(option.multiplier, swap=option.swap, allowed=allowed)
    correction = best.quantisation if best.quantisation.corrections else None
    return LayerSetting(option.multiplier, best.swap, correction), best.error_pct
