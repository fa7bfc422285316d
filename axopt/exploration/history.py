"""How a search gets on: the hypervolume of the front after every trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from axopt.exploration.front import hypervolume
from axopt.exploration.trial import State, Trial


class VolumeHistory:
    """The hypervolume that the complete trials dominate, after each trial.

    Args:
        corner: The worst corner: one finite value an objective. Trials that are not better than
            it in every objective add nothing.
        trials: Trials to begin with, by number.

    Attributes:
        corner: The worst corner.
        values: The hypervolume after each trial so far; failed and pruned ones repeat it.

    Example:
        >>> from axopt.exploration import State, Trial, VolumeHistory
        >>> history = VolumeHistory((1.0, 1.0))
        >>> good = Trial(0, (0,), State.COMPLETE, (0.5, 0.5), {}, None, 0.1)
        >>> better = Trial(1, (1,), State.COMPLETE, (0.25, 0.5), {}, None, 0.1)
        >>> history.add(good), history.add(better)
        (0.25, 0.375)
    """

    def __init__(self, corner: Sequence[float], trials: Iterable[Trial] = ()) -> None:
        self.corner = tuple(corner)
        self.values: list[float] = []
        self._front = np.empty((0, len(self.corner)))
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> float:
        """Return the hypervolume after one more trial.

        Args:
            trial: The next trial.
        """
        value = self.values[-1] if self.values else 0.0
        if trial.state is State.COMPLETE:
            point = np.asarray(trial.objectives, dtype=np.float64)
            inside = bool((point < self.corner).all())
            if inside and not (self._front <= point).all(axis=1).any():
                kept = self._front[~(self._front >= point).all(axis=1)]
                self._front = np.vstack([kept, point])
                value = hypervolume(self._front, self.corner)
        self.values.append(value)
        return value
