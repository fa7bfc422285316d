"""What a search knows and evaluates before its algorithm proposes anything.

Sensitivities are measured once, on some of the validation samples, and kept in the store, so that
a resumed search has the same numbers. The points that are evaluated first, the seeds, are kept
too: the files that they came from may change.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from axopt.errors import ArgumentError, StoreError
from axopt.exploration import Genes, SearchSpace, Store, additive_front
from axopt.exploration.algorithms import ALGORITHMS
from axopt.model import Assignment
from axopt.problem import AssignmentProblem, Option
from axopt.sensitivities import Sensitivity, sensitivity_of
from axopt.sensitivities.measured import expected_evaluations
from axopt.study.config import BOTH, SEEDS, SENSITIVITY, UNIFORM, SearchConfig
from axopt.study.folder import RunFolder

SEED_COUNT = 20
"""Number of points of the front that sensitivities predict, as seeds."""

AROUND = "exact"
"""The base of the sensitivities of a search."""

LEAST_SAMPLES = 8
"""Fewest samples on which sensitivities are measured where the budget allows no more."""

LARGEST_SHARE = 0.5
"""Share of the budget that sensitivities may cost."""

_NONE = "none"
"""What a store notes where the budget was too small for sensitivities."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What a search begins with.

    Attributes:
        space: Genes and options, with the sensitivities among what is known.
        seeds: The points that are evaluated first.
        sensitivities: What was measured, None if nothing was.
        cost: Its cost in evaluations on all validation samples, rounded up.
        budget: The evaluations that remain.
        skipped: Whether the budget was too small for sensitivities that would help.
    """

    space: SearchSpace
    seeds: list[Genes]
    sensitivities: Sensitivity | None
    cost: int
    budget: int
    skipped: bool = False

    @classmethod
    def settled(
        cls,
        problem: AssignmentProblem,
        config: SearchConfig,
        store: Store,
        on_step: Callable[[int, int], object] | None = None,
    ) -> Self:
        """Return what a search begins with: what its store holds, else measured now.

        Args:
            problem: What is searched.
            config: The settings.
            store: Keeps what is settled.
            on_step: Called while sensitivities are measured, with the number of steps done and
                of all.

        Raises:
            ArgumentError: If the budget is too small for sensitivities, or a seed does not fit.
            StoreError: If what the store holds is damaged or does not fit the problem.
        """
        found = _settle_sensitivities(problem, config, store, on_step)
        space = problem.space
        if found is not None and space.known_of(0) is None:
            space = replace(space, known=(found.known(), *space.known))
        cost = _cost(found, problem)
        seeds = _seeds(problem, config, store, space)
        skipped = store.noted(SENSITIVITY) == _NONE
        return cls(space, seeds, found, cost, max(1, config.evaluations - cost), skipped)

    @property
    def n_first(self) -> int:
        """Number of points with which a search begins: its seeds, or a first batch."""
        return len(set(self.seeds)) or min(SEED_COUNT, self.budget)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what is not as the settings suggest."""
        if not self.skipped:
            return ()
        return (
            "The budget is too small for sensitivities: the search learns from evaluations alone.",
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what was measured."""
        if self.sensitivities is None:
            return ()
        return (
            f"Sensitivities on {self.sensitivities.samples} validation samples cost as much as "
            f"{self.cost} evaluations, which count in the budget.",
        )


def settled_seeds(config: SearchConfig) -> tuple[str, ...]:
    """Return the seeds of a search: those asked for, or what its algorithm needs.

    An algorithm that uses sensitivities begins with the points that they predict, others with
    the uniform assignments. Where drops have a cap, all begin with these: their drops tell the
    limit of the first objective.
    """
    if config.seeds is None:
        alone = _uses_sensitivities(config) and config.max_drop is None
        return () if alone else (UNIFORM,)
    given = [config.seeds] if isinstance(config.seeds, str) else list(config.seeds)
    return tuple(
        word for seed in given for word in ((UNIFORM, SENSITIVITY) if seed == BOTH else (seed,))
    )


def start_identity(config: SearchConfig) -> dict[str, object]:
    """Return the settings that the start depends on, for the identity of a store.

    Searches without sensitivities and with the default seeds have none.
    """
    samples = {"sensitivity samples": config.sensitivity_samples}
    return {
        **({} if config.seeds is None else {"seeds": list(settled_seeds(config))}),
        **(samples if _wants_sensitivities(config) else {}),
    }


def _wants_sensitivities(config: SearchConfig) -> bool:
    return _uses_sensitivities(config) or SENSITIVITY in settled_seeds(config)


def _settle_sensitivities(
    problem: AssignmentProblem,
    config: SearchConfig,
    store: Store,
    on_step: Callable[[int, int], object] | None = None,
) -> Sensitivity | None:
    """Return the sensitivities of a search: those in its store, else measured now.

    A space that is searched exhaustively needs none. If they would cost more than half of the
    budget, fewer samples are used.

    Args:
        problem: What is searched.
        config: The settings.
        store: Keeps them.
        on_step: Called with the number of steps done and of all.

    Raises:
        ArgumentError: If the budget is too small for them.
        StoreError: If those in the store are damaged or do not fit the problem.
    """
    if not _wants_sensitivities(config):
        return None
    kept = store.noted(SENSITIVITY)
    if kept == _NONE:
        return None
    if kept is None:
        order = store.noted("order")
        if order == "exhaustive" or (
            order is None and problem.space.n_points <= config.evaluations
        ):
            return None
        samples = _affordable_samples(problem, config)
        if samples is None:
            store.settle(SENSITIVITY, _NONE)
            return None
        _logger.info("measuring sensitivities on %d validation samples", samples)
        found = sensitivity_of(problem, samples, around=AROUND, on_step=on_step)
        kept = store.settle(SENSITIVITY, found.as_json())
    try:
        found = Sensitivity.from_json(kept, f"{store.path}: sensitivities")
    except ValueError as error:
        raise StoreError(str(error)) from error
    if tuple(map(len, found.options)) != problem.space.sizes:
        raise StoreError(f"{store.path}: its sensitivities do not fit the layers and options.")
    return found


def _cost(found: Sensitivity | None, problem: AssignmentProblem) -> int:
    """Return what sensitivities cost, in evaluations on all validation samples, rounded up."""
    if found is None:
        return 0
    return math.ceil(found.evaluations * found.samples / len(problem.split) - 1e-9)


def _seeds(
    problem: AssignmentProblem, config: SearchConfig, store: Store, space: SearchSpace
) -> list[Genes]:
    """Return the points that a search evaluates first.

    Args:
        problem: What is searched.
        config: The settings.
        store: Keeps the points.
        space: The space with what is known.

    Raises:
        ArgumentError: If a seed is neither a known word nor a file or folder of assignments, or
            an assignment does not fit; names the layer and the multiplier.
    """
    words = settled_seeds(config)
    if config.seeds is None and space.known_of(0) is None:
        words = (UNIFORM,)
    if not set(words) - {UNIFORM}:
        return list(problem.uniform()) if words else []
    kept = store.noted("seeds")
    if kept is None:
        found: dict[Genes, None] = {}
        for word in words:
            found.update(dict.fromkeys(_points_of(word, problem, space)))
        kept = store.settle("seeds", [list(genes) for genes in found])
    return [tuple(genes) for genes in kept]


def _points_of(word: str, problem: AssignmentProblem, space: SearchSpace) -> list[Genes]:
    if word == UNIFORM:
        return list(problem.uniform())
    if word == SENSITIVITY:
        return _predicted(space, SEED_COUNT)
    return [_genes_of(file, problem) for file in _files_of(word)]


def _predicted(space: SearchSpace, count: int) -> list[Genes]:
    """Return a spread of the front of the additive model of the objective and the first cost."""
    first = space.known_of(0)
    cost = next((known for known in space.additive if known.objective > 0), None)
    if first is None:
        return []  # searched exhaustively
    if cost is None:
        raise ArgumentError(
            f"`seeds` = {SENSITIVITY!r} needs a cost that is a sum over layers, such as "
            "rel_power, among `objectives`."
        )
    front = additive_front(first.values, cost.values)
    places = {round(i * (len(front) - 1) / max(count - 1, 1)) for i in range(count)}
    return [front[place].genes for place in sorted(places)]


def _files_of(word: str) -> list[Path]:
    """Return the files of assignments that a path means."""
    path = Path(word)
    if not os.path.lexists(path):
        raise ArgumentError(
            f"`seeds` must be {', '.join(SEEDS)}, a run folder or a file of an assignment, got "
            f"{word!r}."
        )
    if not path.is_dir():
        return [path]
    files = RunFolder(path).assignment_files()
    if not files:
        raise ArgumentError(f"`seeds`: the folder {path} holds no assignments of a search.")
    return files


def _genes_of(file: Path, problem: AssignmentProblem) -> Genes:
    """Return the point that a file of an assignment stands for."""
    layers = Assignment.load(file).layers
    genes = []
    for (gene, names), options in zip(
        problem.genes.items(), problem.options_of_genes, strict=True
    ):
        numbers = set()
        for name in names:
            if name not in layers:
                raise ArgumentError(f"`seeds`: {file} has no multiplier for the layer {name!r}.")
            entry = layers[name]
            number = _number_of(options, entry.multiplier, entry.digest, entry.swap)
            if number is None:
                raise ArgumentError(
                    f"`seeds`: {file}: the layer {name!r} has {entry.multiplier}"
                    f"{' swapped' * entry.swap}, which is none of its options."
                )
            numbers.add(number)
        if len(numbers) > 1:
            raise ArgumentError(
                f"`seeds`: {file}: the layers of the group {gene!r} have several multipliers."
            )
        genes.append(numbers.pop())
    return tuple(genes)


def _number_of(options: Sequence[Option], key: str, digest: str, swap: bool) -> int | None:
    """Return the option with a multiplier; in its order, if both orders are options."""
    alike = [
        number
        for number, option in enumerate(options)
        if (option.multiplier.key, option.multiplier.digest) == (key, digest)
    ]
    in_order = [number for number in alike if options[number].swap == swap]
    return next(iter((in_order or alike)[:1]), None)


def _affordable_samples(problem: AssignmentProblem, config: SearchConfig) -> int | None:
    """Return on how many samples sensitivities cost at most half of the budget.

    Returns:
        The number; None if there is none and the search can do without.

    Raises:
        ArgumentError: If there is none and the search cannot do without.
    """
    n = len(problem.split)
    of_all = expected_evaluations(problem, AROUND)
    affordable = int(LARGEST_SHARE * config.evaluations * n / of_all)
    least = min(LEAST_SAMPLES, config.sensitivity_samples, n)
    if affordable < least:
        if not needs_sensitivities(config) and SENSITIVITY not in settled_seeds(config):
            return None
        raise ArgumentError(
            f"`budget` must be at least {math.ceil(least * of_all / n / LARGEST_SHARE)} for the "
            f"sensitivities that {config.algorithm!r} or the seeds need, got {config.evaluations}."
        )
    return min(config.sensitivity_samples, affordable, n)


def needs_sensitivities(config: SearchConfig) -> bool:
    """Return whether the algorithm of a search cannot do without sensitivities."""
    return bool(getattr(ALGORITHMS[config.algorithm], "needs_sensitivities", False))


def _uses_sensitivities(config: SearchConfig) -> bool:
    return bool(getattr(ALGORITHMS[config.algorithm], "uses_sensitivities", False))
