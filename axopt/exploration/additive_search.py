"""The front that sensitivities predict, as an algorithm and as seeds for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar, Unpack

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError
from axopt.exploration.additive import BINS
from axopt.exploration.algorithm import Algorithm, Standard
from axopt.exploration.algorithms import register_algorithm
from axopt.exploration.forecast import Forecast
from axopt.exploration.gains import FreeSpace
from axopt.exploration.programme import Programme
from axopt.exploration.space import Genes, SearchSpace

Floats = npt.NDArray[np.float64]


@register_algorithm("additive")
class AdditiveSearch(Algorithm):
    """Propose the front of an additive model, whatever is measured.

    The model adds what `SearchSpace.known` estimates of objective 0: the sensitivities. Costs that
    are known exactly are kept exactly. Any number of first points is a good spread of the front:
    its ends come first, then always the point that adds most hypervolume. The search ends with the
    reason "front proposed". Points beyond `SearchSpace.limits` are left out.

    Args:
        space: The search space.
        n_objectives: Number of objectives.
        seed: Not used.
        population: Points of one ask.

    Raises:
        ArgumentError: If an argument breaks its rule, or the space has no estimate of objective 0.
    """

    uses_sensitivities: ClassVar[bool] = True
    needs_sensitivities: ClassVar[bool] = True

    def __init__(self, space: SearchSpace, **standard: Unpack[Standard]) -> None:
        super().__init__(space, **standard)
        _check_estimate(space)
        self._points: Iterator[Genes] | None = None

    def ask(self) -> list[Genes]:
        """Return the next ``population`` points that are not known yet."""
        if self._points is None:
            self._points = _spread(self.space, self.n_objectives)
        unseen = (genes for genes in self._points if genes in self.unseen)
        chosen = list(islice(unseen, self.population))
        for genes in chosen:
            self.unseen.mark(genes)
        if not chosen:
            self.stop_reason = "front proposed"
        return chosen

    def tell(self, genes: Sequence[Genes], objectives: Floats) -> None:
        """Mark the points as seen, so that they are not proposed."""
        for point in genes:
            self.unseen.mark(point)


def seed_points(space: SearchSpace, count: int) -> list[Genes]:
    """Return a spread of the front that is predicted by what a space knows.

    Args:
        space: A space with an estimate of objective 0 in `SearchSpace.known`.
        count: Most points to return, at least 1.

    Returns:
        The points, the ends of the front first, then always the one that adds most hypervolume;
        fewer than ``count`` if the front has fewer.

    Raises:
        ArgumentError: If the space has no estimate of objective 0, or ``count`` is below 1.

    Example:
        >>> from axopt.exploration import Known, SearchSpace, seed_points
        >>> error = Known(0, ((0.0, 1.0, 4.0), (0.0, 2.0, 8.0)), exact=False)
        >>> power = Known(1, ((0.5, 0.3, 0.1), (0.5, 0.3, 0.1)), exact=True)
        >>> seed_points(SearchSpace(("a", "b"), (3, 3), (error, power)), 3)
        [(0, 0), (2, 2), (1, 1)]
    """
    if count < 1:
        raise ArgumentError(f"`count` must be >= 1, got {count}.")
    _check_estimate(space)
    n_objectives = 1 + max((known.objective for known in space.known), default=0)
    return list(islice(_spread(space, n_objectives), count))


def _check_estimate(space: SearchSpace) -> None:
    known = space.known_of(0)
    if known is None or known.combine != "sum":
        raise ArgumentError(
            "`space.known` must hold what each option adds to objective 0 (its sensitivities): "
            f"`additive` and its seeds need that, got {known}."
        )


def _spread(space: SearchSpace, n_objectives: int) -> Iterator[Genes]:
    """Return the points of the predicted front, the best spread first."""
    forecast = Forecast(space, n_objectives)
    points, values = Programme(space, n_objectives).predicted_front(
        forecast, forecast.terms(), BINS, space.limits
    )
    limits = [np.inf if limit is None else limit for limit in space.limits]
    if limits and (inside := (values <= limits).all(1)).any():
        points, values = points[inside], values[inside]
    worst, span = values.max(0), np.ptp(values, axis=0)
    corner = worst + 0.01 * np.where(span > 0, span, 1.0)
    order = list(dict.fromkeys([len(values) - 1, 0]))
    yield from (tuple(points[index].tolist()) for index in order)
    left = np.delete(np.arange(len(values)), order)
    front = values[order]
    while len(left):
        best = int(FreeSpace(front, corner).gains(values[left]).argmax())
        front = np.concatenate([front, values[left[best]][None]])
        yield tuple(points[left[best]].tolist())
        left = np.delete(left, best)
