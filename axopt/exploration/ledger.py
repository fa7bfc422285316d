"""Who knows what: every point's trial, from this run, from the store, or newly evaluated.

The order in which trials are numbered and committed is the order in which points are asked for,
whatever evaluates them.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError, StoreError
from axopt.exploration.evaluator import Evaluator
from axopt.exploration.front import non_dominated
from axopt.exploration.space import Genes, SearchSpace
from axopt.exploration.store import Store
from axopt.exploration.trial import State, Trial

_logger = logging.getLogger(__name__)


class Ledger:
    """Answers proposals: from this run, else from the store, else by the evaluator.

    Args:
        space: The points that may be asked for.
        width: Number of objectives.
        evaluator: Evaluates points that nobody knows.
        store: Where trials are committed before anybody learns them.
        budget: Number of distinct points, those of the store included.
        on_trial: Called after each commit.
        repair: Proposal -> the point that is evaluated in its place, see `run_search`.

    Attributes:
        trials: The trials asked for so far, by number.
        n_evaluated: Evaluations that were made, failed ones included.
        n_cached: Proposals that were answered without an evaluation.
    """

    def __init__(
        self,
        space: SearchSpace,
        width: int,
        evaluator: Evaluator,
        store: Store,
        budget: int,
        on_trial: Callable[[Trial], None] | None,
        repair: Callable[[Genes], Genes] | None = None,
    ) -> None:
        self.trials: list[Trial] = []
        self.n_evaluated = 0
        self.n_cached = 0
        self._space = space
        self._width = width
        self._evaluator = evaluator
        self._store = store
        self._budget = budget
        self._on_trial = on_trial
        self._repair = repair
        self._recorded = store.trials()
        self._by_genes: dict[Genes, Trial] = {}
        self._front: list[Trial] = []
        self._n_in_front = 0
        parameters = inspect.signature(evaluator.evaluate).parameters
        self._tells_front = "front" in parameters  # evaluators without it evaluate all in full

    def answer(self, proposals: Sequence[Genes]) -> tuple[list[Genes], npt.NDArray[np.float64]]:
        """Return the proposals that have objectives, and these; stops when the budget is spent.

        Raises:
            ArgumentError: If a proposal is not in the space.
            StoreError: If the store holds another trial than the one asked for.
        """
        asked, new = self._within_budget(proposals)
        front = self._present_front()  # without this batch, whoever evaluated a part of it
        n_stored = min(len(new), max(0, len(self._recorded) - len(self.trials)))
        for genes in new[:n_stored]:
            self._remember(self._replayed(genes))
        self.n_cached += len(asked) - len(new) + n_stored
        if fresh := new[n_stored:]:
            self._evaluate(fresh, front)
        told: dict[Genes, tuple[float, ...]] = {}
        for proposal, genes in asked:
            trial = self._by_genes[genes]
            if trial.state is not State.FAILED:
                told[proposal] = trial.objectives
        return list(told), np.array(list(told.values()), dtype=np.float64).reshape(-1, self._width)

    def _within_budget(
        self, proposals: Sequence[Genes]
    ) -> tuple[list[tuple[Genes, Genes]], list[Genes]]:
        """Return what can be answered, in the order of asking, and the new points among it.

        Each proposal stands beside the point that is evaluated for it.
        """
        asked: list[tuple[Genes, Genes]] = []
        new: dict[Genes, None] = {}
        if not isinstance(proposals, Iterable):
            raise ArgumentError(f"`algorithm` must propose a list of points, got {proposals!r}.")
        for proposal in proposals:
            given = _genes_of(proposal)
            if given is None or not self._space.contains(given):
                shown = proposal if given is None else given
                raise ArgumentError(f"`algorithm` must propose points of the space, got {shown}.")
            genes = given if self._repair is None else self._repair(given)
            if genes not in self._by_genes and genes not in new:
                if len(self.trials) + len(new) >= self._budget:
                    break
                new[genes] = None
            asked.append((given, genes))
        return asked, list(new)

    def _present_front(self) -> list[Trial]:
        """Return the complete trials so far that no other one dominates, by number."""
        later = self.trials[self._n_in_front :]
        found = [*self._front, *(t for t in later if t.state is State.COMPLETE)]
        if found:
            mask = non_dominated([trial.objectives for trial in found])
            self._front = [trial for trial, kept in zip(found, mask, strict=True) if kept]
        self._n_in_front = len(self.trials)
        return self._front

    def _evaluate(self, batch: Sequence[Genes], front: Sequence[Trial]) -> None:
        told = {"front": front} if self._tells_front else {}
        with closing(self._evaluator.evaluate(batch, **told)) as results:
            for genes, result in zip(batch, results, strict=True):
                trial = Trial.of(len(self.trials), genes, result)
                if trial.reason is not None:
                    _logger.warning("trial %d %s failed: %s", trial.number, genes, trial.reason)
                self._store.commit(trial)  # durable from here; a crash before tell() replays it
                self.n_evaluated += 1
                self._remember(trial)
                if self._on_trial is not None:
                    self._on_trial(trial)

    def _remember(self, trial: Trial) -> None:
        self.trials.append(trial)
        self._by_genes[trial.genes] = trial

    def _replayed(self, genes: Genes) -> Trial:
        number = len(self.trials)
        trial = self._recorded[number]
        width = 0 if trial.state is State.FAILED else self._width
        if trial.genes != genes or len(trial.objectives) != width:
            raise StoreError(
                f"{self._store.path}: does not belong to this search, or is damaged: its trial "
                f"{number} is {trial.genes} with {len(trial.objectives)} objectives, this "
                f"search asks for {genes} with {width}."
            )
        return trial


def _genes_of(proposal: Any) -> Genes | None:
    """Return a proposal, which may be of NumPy's numbers, as genes; None if it is not whole."""
    try:
        given = tuple(proposal)
        genes = tuple(int(gene) for gene in given)
    except (TypeError, ValueError, OverflowError):
        return None
    return genes if genes == given else None
