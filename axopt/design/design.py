"""`design_multipliers`: from a network and its data to a few multipliers that serve it best."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from axopt.data import Dataset
from axopt.design.judge import Judge, expected_errors
from axopt.design.result import Design, compared
from axopt.design.selection import choose
from axopt.design.sensitivity import kept_assignment, squared_distances
from axopt.design.statistics import Floats, Kept, LayerStatistics
from axopt.design.structures import (
    Structure,
    layer_errors,
    published,
    structure_of,
    sweep,
    truncation,
    truncations,
)
from axopt.errors import ArgumentError
from axopt.model import EmulatedModel
from axopt.multipliers import Multiplier, MultiplierLibrary

SHORTLIST = 24
"""Candidates among which the chosen ones are searched."""

_logger = logging.getLogger(__name__)


def design_multipliers(
    emulated: EmulatedModel,
    data: Dataset,
    *,
    count: int = 4,
    power: float | None = None,
    samples: int = 128,
    signed: bool = True,
    on_step: Callable[[str], None] | None = None,
) -> Design:
    """Design multipliers for the layers of a network and choose those that serve it best.

    A multiplier of the designed kind adds some of the 64 partial products of two 8-bit operands.
    For each layer, the expected error of any such set after corrections follows from the
    histograms that calibration kept, and from the weights. The sets of least error are searched
    for every number of partial products, and priced by the hardware-cost model. The sensitivity of
    a layer turns its error into a distance of the network's outputs: it is measured with one
    approximate multiplier in one layer at a time.

    Args:
        emulated: A model made by `prepare`; its assignment stays as it is.
        data: Splits of samples; sensitivities are measured on the validation split.
        count: Largest number of multipliers to choose, 1..16. The exact one comes on top.
        power: Power relative to the exact multiplier at which the network should be best, above 0
            and at most 1; None for all powers.
        samples: Number of validation samples.
        signed: Whether the multipliers are signed.
        on_step: Called with a line of text before each step.

    Returns:
        The multipliers, with gate lists, expected errors and a comparison with EvoApprox8b.

    Raises:
        ArgumentError: If an argument breaks its rule.

    Example:
        >>> import axopt, torch
        >>> from axopt.data import Dataset, Split
        >>> _ = torch.manual_seed(0)
        >>> split = Split(torch.rand(60, 4), torch.arange(60) % 3)
        >>> data = Dataset("noise", "noise", split, split, split, classes=("a", "b", "c"))
        >>> emulated = axopt.prepare(torch.nn.Sequential(torch.nn.Linear(4, 3)), split.batches(60))
        >>> design = axopt.design_multipliers(emulated, data, count=1, power=0.2, samples=20)
        >>> [m.power_mw <= 0.2 * 0.425 for m in design.multipliers.values()]
        [True]
    """
    _check(emulated, data, count, power, samples)
    step = on_step or _logger.info
    known = list(published(signed).values())
    exact = published(signed).exact(signed)
    statistics = {
        name: LayerStatistics(layer, signed=signed)
        for name, layer in emulated.emulated_layers.items()
    }
    macs = np.array([info.macs for info in emulated.layers()], np.float64)
    macs = macs / macs.sum() if macs.any() else np.full(len(macs), 1 / len(macs))

    step(f"search sets of partial products for {len(statistics)} layers")
    sets = _candidate_sets(list(statistics.values()), macs)
    step(f"price {len(sets)} multipliers")
    structures = [structure_of(kept, signed=signed) for kept in sets]
    errors = errors_of_kept(list(statistics.values()), sets)

    step(f"measure the sensitivity of {len(statistics)} layers on {samples} samples")
    probe = _number_of(truncation(4, 4), sets)
    with kept_assignment(emulated):
        distances = squared_distances(
            emulated, data.validation.take(samples), exact, structures[probe].multiplier
        )
    at_exact = errors[:, _number_of(truncation(8, 8), sets)]
    slopes = distances / np.maximum(errors[:, probe] - at_exact, 1e-12)

    step(f"choose {count} of them, and of EvoApprox8b")
    judge = Judge(exact, list(statistics), at_exact, slopes, macs)
    chosen = _chosen(judge, [s.multiplier for s in structures], errors, count, power)
    known_errors = expected_errors(statistics, known)
    few = _chosen(judge, known, known_errors, count, power)
    return _design(
        judge,
        [structures[column] for column in chosen],
        errors[:, chosen],
        {
            "EvoApprox8b": (known, known_errors),
            f"EvoApprox8b, {len(few)} of them": ([known[c] for c in few], known_errors[:, few]),
        },
    )


def _chosen(
    judge: Judge,
    multipliers: Sequence[Multiplier],
    errors: Floats,
    count: int,
    power: float | None,
) -> list[int]:
    """Return the numbers of the multipliers that serve the network best, the exact one apart."""
    outlook = judge.outlook(multipliers, errors)
    exact = len(multipliers)
    approximate = [number for number, m in enumerate(multipliers) if not m.is_exact]
    shortlist = outlook.used([*approximate, exact], SHORTLIST)
    return choose(outlook, shortlist, exact, count, power)


def _design(
    judge: Judge,
    structures: Sequence[Structure],
    errors: Floats,
    known: Mapping[str, tuple[Sequence[Multiplier], Floats]],
) -> Design:
    """Make the result: tables and fronts of the designed multipliers and of the known ones."""
    designed = [structure.multiplier for structure in structures]
    rows = judge.rows(designed, errors)
    for row, structure in zip(rows, structures, strict=True):
        row["structure"] = structure.text
    fronts = {
        name: judge.outlook(multipliers, of_layers).front(range(len(multipliers) + 1), bins=1024)
        for name, (multipliers, of_layers) in {"designed": (designed, errors), **known}.items()
    }
    return Design(
        MultiplierLibrary(designed),
        {s.multiplier.key: s.netlist for s in structures},
        judge.exact,
        pd.DataFrame(rows),
        pd.DataFrame(compared(rows, judge.rows(*known["EvoApprox8b"]))),
        fronts,
    )


def errors_of_kept(statistics: Sequence[LayerStatistics], sets: Sequence[Kept]) -> Floats:
    """Return the expected relative squared error of each layer with each set.

    Returns:
        ``(layers, sets)``.
    """
    kept = np.stack(list(sets))
    return np.stack([layer_errors(layer, kept) for layer in statistics])


def _candidate_sets(statistics: Sequence[LayerStatistics], macs: Floats) -> list[Kept]:
    """Return truncations and the best sets for all layers together."""
    starts = truncations()
    reference = errors_of_kept(statistics, [truncation(4, 4)])[:, 0]
    weights = macs / np.maximum(reference, 1e-12)

    def error(kept: Kept) -> Floats:
        total: Floats = weights @ np.stack([layer_errors(layer, kept) for layer in statistics])
        return total

    distinct = {kept.tobytes(): kept for kept in [*starts, *sweep(error, starts)]}
    return list(distinct.values())


def _number_of(kept: Kept, sets: Sequence[Kept]) -> int:
    return next(number for number, other in enumerate(sets) if np.array_equal(kept, other))


def _check(emulated: object, data: object, count: object, power: object, samples: object) -> None:
    if not isinstance(emulated, EmulatedModel):
        raise ArgumentError(
            f"`emulated` must be a model made by `axopt.prepare`, got {type(emulated).__name__}."
        )
    if not isinstance(data, Dataset):
        raise ArgumentError(f"`data` must be a Dataset, got {type(data).__name__}.")
    if type(count) is not int or not 1 <= count <= 16:
        raise ArgumentError(f"`count` must be an integer in 1..16, got {count!r}.")
    if power is not None and (
        isinstance(power, bool) or not isinstance(power, int | float) or not 0 < power <= 1
    ):
        raise ArgumentError(f"`power` must be above 0 and at most 1, got {power!r}.")
    most = len(data.validation)
    if type(samples) is not int or not 1 <= samples <= most:
        raise ArgumentError(f"`samples` must be an integer in 1..{most}, got {samples!r}.")
