"""Copies the evaluations of a search into a storage of Optuna, for dashboards that read it.

The store of the run folder stays the only source of truth: nothing is ever read back. A thread
writes, because Optuna takes 100 to 400 ms for a trial of 50 layers on SQLite.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
import warnings
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from axopt.errors import ArgumentError
from axopt.exploration import State, Trial
from axopt.problem.problem import AssignmentProblem

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from axopt.study.watching import Progress

FLUSH_SECONDS = 60.0
"""How long the end of a search waits for the last trials to be copied."""

INTERRUPT_SECONDS = 5.0
"""The same after an interrupt or an error."""

_NUMBER = "number"
_logger = logging.getLogger(__name__)


class Mirror:
    """Copies trials to a study of Optuna in the background.

    Each search has a study of its own, named after the run and its identity. Trials that it has
    already are not copied again. A failure is one warning; the search goes on.

    Args:
        url: URL of a storage, such as ``sqlite:///trials.db``; None to copy nothing.
        problem: What is searched; it names layers, multipliers and objectives.
        identity: Identity of the search.
        label: First part of the study's name.

    Raises:
        ArgumentError: If the storage cannot be opened.
    """

    def __init__(
        self, url: str | None, problem: AssignmentProblem, identity: Mapping[str, Any], label: str
    ) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.name = f"{label} {digest[:8]}"
        self._problem = problem
        self._study: Study | None = None
        if url is not None:
            self._study = _opened(url, self.name, list(problem.objective_names))
        self._queue: queue.Queue[Trial | None] = queue.Queue()
        self._hurry = False
        self._thread = threading.Thread(
            target=self._work, args=(self._study,), name="axopt mirror", daemon=True
        )

    def __enter__(self) -> Self:
        if self._study is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._study is None:
            return
        self._queue.put(None)
        self._thread.join(FLUSH_SECONDS if error is None else INTERRUPT_SECONDS)
        if self._thread.is_alive():
            self._hurry = True
            _logger.warning(
                "the mirror %r lacks about %d evaluations; a resumed search copies them",
                self.name,
                self._queue.qsize(),
            )

    def add(self, trials: Iterable[Trial]) -> None:
        """Copy trials later, in this order; those that the study has are left out."""
        if self._study is not None:
            for trial in trials:
                self._queue.put(trial)

    def note(self, progress: Progress) -> None:
        """Copy the trial of a progress later."""
        self.add([progress.trial])

    def _work(self, study: Study) -> None:
        try:
            known = {trial.user_attrs.get(_NUMBER) for trial in study.trials}
            while (trial := self._queue.get()) is not None and not self._hurry:
                if trial.number not in known:
                    study.add_trial(self._frozen(trial))
                    known.add(trial.number)
        except Exception as error:  # whatever a storage raises; the search must go on
            _logger.warning(
                "the mirror %r fails, evaluations are no longer copied: %s", self.name, error
            )

    def _frozen(self, trial: Trial) -> FrozenTrial:
        from optuna.distributions import BaseDistribution, CategoricalDistribution
        from optuna.trial import TrialState, create_trial

        states = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED}
        params: dict[str, str] = {}
        distributions: dict[str, BaseDistribution] = {}
        genes = zip(
            self._problem.space.names, self._problem.options_of_genes, trial.genes, strict=True
        )
        for name, options, gene in genes:
            texts = [o.multiplier.key + " swapped" * o.swap for o in options]
            params[name] = texts[gene]
            distributions[name] = CategoricalDistribution(texts)
        complete = trial.state is State.COMPLETE
        return create_trial(
            state=states.get(trial.state, TrialState.FAIL),
            values=list(trial.objectives) if complete else None,
            params=params,
            distributions=distributions,
            user_attrs=_attributes(trial),
        )


def check_mirror(url: str) -> None:
    """Refuse a URL at which there is no storage and none can be made.

    Raises:
        ArgumentError: If the storage cannot be opened.
    """
    _storage(url)


def _attributes(trial: Trial) -> dict[str, Any]:
    quality = trial.info.get("quality", {})
    found = {
        _NUMBER: trial.number,
        "seconds": round(trial.seconds, 3),
        "quality": quality.get("value"),
        "quality_low": quality.get("low"),
        "quality_high": quality.get("high"),
        "rel_power": trial.info.get("rel_power"),
        "divergence": trial.info.get("divergence"),
        "fidelity": trial.fidelity if trial.state is State.PRUNED else None,
        "reason": trial.reason,
    }
    return {name: value for name, value in found.items() if value is not None}


def _storage(url: str) -> RDBStorage:
    from optuna.storages import RDBStorage

    try:
        return RDBStorage(url)
    except Exception as error:  # of SQLAlchemy, of a driver that is missing, or of the server
        reason = " ".join(str(error).split())[:200].replace(url, "the URL")
        raise ArgumentError(
            "`mirror` must be the URL of a storage that Optuna can open, such as "
            f"sqlite:///trials.db; {type(error).__name__}: {reason}"
        ) from None


def _opened(url: str, name: str, objectives: list[str]) -> Study:
    import optuna

    storage = _storage(url)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line a study
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=["minimize"] * len(objectives),
                load_if_exists=True,
            )
            study.set_metric_names(objectives)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return study
