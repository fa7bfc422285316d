"""What a model predicted before it was measured, and how well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from axopt.exploration.space import Genes

Floats = npt.NDArray[np.float64]

_LATEST = 30
_FEWEST = 3


class Predictions:
    """Compares predicted with measured values of one positive objective.

    Example:
        >>> predictions = Predictions()
        >>> predictions.predicted([(0,), (1,), (2,)], np.array([1.0, 2.0, 3.0]))
        >>> for gene, value in enumerate((1.5, 3.0, 4.5)):
        ...     predictions.measured((gene,), value)
        >>> predictions.summary()["median_ratio"], predictions.summary()["rank_correlation"]
        (1.5, 1.0)
    """

    def __init__(self) -> None:
        self._open: dict[Genes, float] = {}
        self._pairs: list[tuple[float, float]] = []

    def predicted(self, points: Sequence[Genes], values: Floats) -> None:
        """Remember what is predicted of points that will be measured."""
        self._open.update(zip(points, values.tolist(), strict=True))

    def measured(self, point: Genes, value: float) -> None:
        """Learn the value of a point; ignored if nothing was predicted of it."""
        predicted = self._open.pop(point, None)
        if predicted is not None:
            self._pairs.append((predicted, value))

    def spread(self) -> float | None:
        """Return the deviation of the logarithm of measured over predicted, of the latest points.

        It is 1.48 times the median of the absolute deviations from 0, which few outliers do not
        change. None for fewer than three points.
        """
        ratios = self._ratios()[-_LATEST:]
        if len(ratios) < _FEWEST:
            return None
        return 1.4826 * float(np.median(np.abs(np.log(ratios))))

    def summary(self) -> dict[str, float | int | str]:
        """Return number, rank correlation, median ratio and spread of the predicted points."""
        found: dict[str, float | int | str] = {"n_predicted": len(self._pairs)}
        ratios, spread = self._ratios(), self.spread()
        if spread is not None:
            found["rank_correlation"] = _rank_correlation(np.array(self._pairs))
            found["median_ratio"] = float(np.median(ratios))
            found["spread"] = spread
        return found

    def _ratios(self) -> Floats:
        return np.array([value / guess for guess, value in self._pairs if guess > 0 < value])


def _rank_correlation(pairs: Floats) -> float:
    """Return Spearman's rank correlation of two columns; 0 if one of them is constant."""
    first, second = (_ranks(column) for column in pairs.T)
    scale = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float(first @ second) / scale if scale > 0 else 0.0


def _ranks(values: Floats) -> Floats:
    """Return ranks less their mean; equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks = (last - (count - 1) / 2)[place]
    return np.asarray(ranks - ranks.mean())
