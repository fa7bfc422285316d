"""A model of an objective that is nearly a sum over genes, fitted to what was measured.

The logarithm of the objective is modelled, because divergences span orders of magnitude and the
errors of the sum are relative. The logarithms of the terms have a normal prior: each may change by
itself, with the other options of its gene, with the same kind of multiplier in all genes, and with
all others. What the sum misses (interactions of genes) is alike for points that differ in few
genes. So the posterior is that of a Gaussian process, whose mean is linearised around the fitted
terms in a few steps of Gauss and Newton.

.. [Rasmussen2006] Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006,
   section 2.7 (explicit basis functions) and 3.4 (Laplace approximation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_STEPS = 6
_TINY = 1e-12


@dataclass(frozen=True)
class Prior:
    """What is believed of the terms before anything is measured.

    Attributes:
        terms: ``(genes, options)`` float64, not negative; NaN where a gene has no such option.
        kinds: ``(genes, options)`` int64: options of one kind change together.
        alone: Standard deviation of the logarithm of one term.
        of_kind: The same of all terms of a kind.
        of_gene: The same of all terms of a gene.
        overall: The same of all terms.
        interaction: Standard deviation of the logarithm of what the sum misses.
        reach: Number of different genes over which that falls to 1 / e.
        noise: Standard deviation of the logarithm of what no model explains.
    """

    terms: Floats
    kinds: Ints
    alone: float = 0.3
    of_kind: float = 0.15
    of_gene: float = 0.15
    overall: float = 0.3
    interaction: float = 0.1
    reach: float = 4.0
    noise: float = 0.03


class AdditiveModel:
    """Predicts a positive objective as a sum of fitted terms, one an option of every gene.

    Args:
        prior: The prior.

    Example:
        >>> terms = np.array([[0.0, 1.0], [0.0, 2.0]])
        >>> model = AdditiveModel(Prior(terms, np.array([[0, 1], [0, 1]])))
        >>> model.fit(np.array([[0, 1], [1, 0]]), np.array([4.0, 2.0]))
        >>> bool(model.predict(np.array([[1, 1]]))[0] > 4)
        True
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        present = ~np.isnan(prior.terms)
        self._present = present
        largest = np.nanmax(prior.terms)
        # an option that causes nothing gets a term that does not matter in any sum
        floor = max(1e-6 * float(largest), _TINY)
        self._start = np.where(present, np.maximum(prior.terms, floor), 1.0)
        self._n_kinds = int(prior.kinds.max()) + 1
        self._change: Floats = np.zeros(prior.terms.shape)
        self._points = np.empty((0, len(prior.terms)), np.int64)
        self._weights = np.empty(0)
        self._shares = np.empty((0, len(prior.terms)))
        self._covariance = np.empty((0, 0))
        self._noise = np.empty(0)
        self._target = np.empty(0)

    @property
    def terms(self) -> Floats:
        """The fitted terms, ``(genes, options)``; infinite where a gene has no such option."""
        return np.where(self._present, self._start * np.exp(self._change), np.inf)

    def fit(self, points: Ints, values: Floats, doubt: Floats | None = None) -> None:
        """Fit the terms to measured points.

        Args:
            points: ``(n, genes)``.
            values: ``(n,)``, positive.
            doubt: ``(n,)`` further standard deviations of the logarithms of the values.
        """
        self._points = points
        if not len(points):
            return
        logs = np.log(values)
        noise = np.full(len(points), self.prior.noise**2)
        if doubt is not None:
            noise += doubt**2
        misfit = self._interactions(points, points)
        for _ in range(_STEPS):
            sums, shares = self._sums(points, self.terms)
            target = logs - np.log(sums) + self._effect(points, shares, self._change)
            covariance = self._kernel(points, shares) + misfit
            weights = _solved(covariance + np.diag(noise), target)
            change = self._spread(points, shares, weights)
            moved = float(np.abs(change - self._change).max())
            self._change = np.asarray(np.clip(change, self._change - 1.5, self._change + 1.5))
            if moved < 0.01:
                break
        self._weights, self._shares, self._target = weights, shares, target
        self._covariance, self._noise = covariance, noise

    def predict(self, points: Ints) -> Floats:
        """Return the expected values (medians) of points, ``(n,)``."""
        sums = self._sums(points, self.terms)[0]
        if not len(self._points):
            return sums
        return np.asarray(sums * np.exp(self._interactions(points, self._points) @ self._weights))

    def draw(self, rng: np.random.Generator) -> Floats:
        """Return terms drawn from the posterior, as `terms`, by Matheron's rule."""
        drawn = self._drawn_prior(rng)
        if len(self._points):
            factor = np.linalg.cholesky(
                self._interactions(self._points, self._points) + np.diag(self._noise)
            )
            seen = self._effect(self._points, self._shares, drawn)
            seen += factor @ rng.standard_normal(len(seen))
            total = self._covariance + np.diag(self._noise)
            weights = _solved(total, self._target - seen)
            drawn += self._spread(self._points, self._shares, weights)
        return np.where(self._present, self._start * np.exp(np.clip(drawn, -6, 6)), np.inf)

    def _drawn_prior(self, rng: np.random.Generator) -> Floats:
        prior, shape = self.prior, self._start.shape
        of_kind = prior.of_kind * rng.standard_normal(self._n_kinds)
        return np.asarray(
            prior.alone * rng.standard_normal(shape)
            + of_kind[prior.kinds]
            + prior.of_gene * rng.standard_normal((shape[0], 1))
            + prior.overall * rng.standard_normal()
        )

    def _sums(self, points: Ints, terms: Floats) -> tuple[Floats, Floats]:
        """Return the sums of points ``(n,)`` and the share of each gene ``(n, genes)``."""
        chosen = terms[np.arange(len(terms)), points]
        sums = chosen.sum(1)
        return sums, chosen / sums[:, None]

    def _effect(self, points: Ints, shares: Floats, change: Floats) -> Floats:
        """Return what changes of the log-terms do to the logarithms of points, ``(n,)``."""
        return np.asarray((shares * change[np.arange(len(change)), points]).sum(1))

    def _kernel(self, points: Ints, shares: Floats) -> Floats:
        """Return the covariance of the logarithms of the sums of points, ``(n, n)``."""
        prior = self.prior
        found = np.full((len(points), len(points)), prior.overall**2)
        found += prior.of_gene**2 * (shares @ shares.T)
        genes = np.arange(points.shape[1])
        by_kind = np.zeros((len(points), self._n_kinds))
        np.add.at(by_kind, (np.arange(len(points))[:, None], prior.kinds[genes, points]), shares)
        found += prior.of_kind**2 * (by_kind @ by_kind.T)
        found += prior.alone**2 * _same_option(points, shares, self._change.shape[1])
        return found

    def _spread(self, points: Ints, shares: Floats, weights: Floats) -> Floats:
        """Return the change of every log-term that weights of points imply."""
        prior, shape = self.prior, self._start.shape
        flat = (np.arange(shape[0]) * shape[1] + points).ravel()
        sums = np.bincount(flat, (shares * weights[:, None]).ravel(), shape[0] * shape[1])
        alone = sums.reshape(shape)
        of_kind = np.bincount(prior.kinds.ravel(), alone.ravel(), self._n_kinds)
        return np.asarray(
            prior.alone**2 * alone
            + prior.of_kind**2 * of_kind[prior.kinds]
            + prior.of_gene**2 * alone.sum(1, keepdims=True)
            + prior.overall**2 * alone.sum()
        )

    def _interactions(self, points: Ints, others: Ints) -> Floats:
        """Return the covariance of what the sums of two sets of points miss, ``(n, k)``."""
        options = self._change.shape[1]
        one = np.ones((1, points.shape[1]), np.float32)
        same = _one_hot(points, one, options) @ _one_hot(others, one, options).T
        different = points.shape[1] - same
        return np.asarray(
            self.prior.interaction**2 * np.exp(-different / self.prior.reach), np.float64
        )


def _solved(matrix: Floats, target: Floats) -> Floats:
    return np.asarray(np.linalg.solve(matrix, target), np.float64)


def _same_option(points: Ints, shares: Floats, options: int) -> Floats:
    """Return for pairs of points the products of shares over genes with the same option."""
    chosen = _one_hot(points, shares.astype(np.float32), options)
    return np.asarray(chosen @ chosen.T, np.float64)


def _one_hot(points: Ints, shares: Singles, options: int) -> Singles:
    found = np.zeros((len(points), points.shape[1] * options), np.float32)
    columns = np.arange(points.shape[1]) * options + points
    np.put_along_axis(found, columns, np.broadcast_to(shares, points.shape), 1)
    return found
