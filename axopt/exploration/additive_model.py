"""A model of an objective that is nearly a sum over genes, fitted to what was measured.

The logarithm of the objective is modelled, because divergences span orders of magnitude and the
errors of the sum are relative. The logarithms of the terms have a normal prior: each may change by
itself, with the other options of its gene, with the same kind of multiplier in all genes, and with
all others. What the sum misses is of three kinds: genes that follow each other, whose errors are
correlated; anything else that points with few different genes share; and noise. So the posterior
is that of a Gaussian process, whose mean is linearised around the fitted terms in a few steps of
Gauss and Newton. How much of each kind there is follows from the likelihood of what was measured.

.. [Rasmussen2006] Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006,
   section 2.7 (explicit basis functions), 3.4 (Laplace's method) and 5.4 (marginal likelihood).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_STEPS = 3
_TINY = 1e-12
_FACTOR = 1.5
_JITTER = 1e-5
"""Share of a variance that is noise in any case, because parts are in single precision."""

_MOST_TO_LEARN = 120

TERMS = ("alone", "of_kind", "of_gene", "overall")
"""Parts of the covariance that are changes of terms."""

MISSED = ("chain", "nearby", "noise")
"""Parts of the covariance that a sum misses."""


@dataclass(frozen=True)
class Prior:
    """What is believed of the terms before anything is measured.

    Attributes:
        terms: ``(genes, options)`` float64, not negative; NaN where a gene has no such option.
        kinds: ``(genes, options)`` int64: options of one kind change together.
        deviations: Standard deviations of the logarithm of the objective, by part: ``alone``, of
            one term; ``of_kind``, of all terms of a kind; ``of_gene``, of all of a gene;
            ``overall``, of all; ``chain``, of genes that follow each other; ``nearby``, of what
            points with few different genes share; ``noise``.
    """

    terms: Floats
    kinds: Ints
    deviations: dict[str, float]


class AdditiveModel:
    """Predicts a positive objective as a sum of fitted terms, one an option of every gene.

    Args:
        prior: The prior.

    Attributes:
        deviations: As `Prior.deviations`, fitted.
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self.deviations = dict(prior.deviations)
        self._present = ~np.isnan(prior.terms)
        # an option that causes nothing gets a term that does not matter in any sum
        floor = max(1e-6 * float(np.nanmax(prior.terms)), _TINY)
        self._start = np.where(self._present, np.maximum(prior.terms, floor), 1.0)
        self._reach = max(2.0, len(prior.terms) / 4)
        self._n_kinds = int(prior.kinds.max()) + 1
        self._change: Floats = np.zeros(prior.terms.shape)
        self._points = np.empty((0, len(prior.terms)), np.int64)
        self._weights = self._target = self._noise = np.empty(0)
        self._shares = self._missed = self._total = np.empty((0, 0))

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
        extra = np.zeros(len(points)) if doubt is None else doubt**2
        for step in range(_STEPS):
            sums, shares = self._sums(points)
            target = logs - np.log(sums) + self._effect(points, shares, self._change)
            parts = self._parts(points, shares)
            if step < 2:
                self._learn_deviations(parts, target, extra)
            of_terms, missed = (self._combined(parts, names) for names in (TERMS, MISSED))
            total = of_terms + missed + np.diag(extra)
            total += _JITTER * np.diag(np.diag(total))
            weights = _solved(total, target)
            change = self._spread(points, shares, weights)
            moved = float(np.abs(change - self._change).max())
            self._change = np.asarray(np.clip(change, self._change - 1.5, self._change + 1.5))
            if moved < 0.01 and step > 0:
                break
        self._weights, self._shares, self._target = weights, shares, target
        self._missed, self._total = missed + np.diag(extra), total

    def predict(self, points: Ints) -> Floats:
        """Return the expected values (medians) of points, ``(n,)``."""
        sums, shares = self._sums(points)
        if not len(self._points):
            return sums
        covariance = self._missed_between(points, shares, self._points, self._shares)
        return np.asarray(sums * np.exp(covariance @ self._weights))

    def predict_sums(self, points: Ints) -> Floats:
        """Return the sums of the fitted terms of points, ``(n,)``: quicker than `predict`."""
        return self._sums(points)[0]

    def draw(self, rng: np.random.Generator) -> Floats:
        """Return terms drawn from the posterior, as `terms`, by Matheron's rule."""
        drawn = self._drawn_prior(rng)
        if len(self._points):
            factor = np.linalg.cholesky(self._missed)
            seen = self._effect(self._points, self._shares, drawn)
            seen += factor @ rng.standard_normal(len(seen))
            drawn += self._spread(
                self._points, self._shares, _solved(self._total, self._target - seen)
            )
        return np.where(self._present, self._start * np.exp(np.clip(drawn, -6, 6)), np.inf)

    def _learn_deviations(self, parts: dict[str, Floats], target: Floats, extra: Floats) -> None:
        """Move each deviation by a factor where that makes the target more likely.

        Deviations have log-normal priors around those of the prior. Of many points the latest
        that are least doubtful count.
        """
        rows = np.sort(np.argsort(extra[::-1], kind="stable")[:_MOST_TO_LEARN])
        rows = len(extra) - 1 - rows
        parts = {name: part[np.ix_(rows, rows)] for name, part in parts.items()}
        n = len(rows)
        # the last row of the Cholesky factor of this is the target, whitened
        frame = np.zeros((n + 1, n + 1))
        frame[n, :n] = frame[:n, n] = target[rows]
        frame[n, n] = 1e12

        def badness(deviations: dict[str, float]) -> float:
            matrix = frame.copy()
            for name, part in parts.items():
                matrix[:n, :n] += deviations[name] ** 2 * part
            matrix[np.arange(n), np.arange(n)] += extra[rows]
            matrix[np.arange(n), np.arange(n)] *= 1 + _JITTER
            factor = np.linalg.cholesky(matrix)
            fit = float(np.square(factor[n, :n]).sum())
            shift = sum(np.log(deviations[k] / d) ** 2 for k, d in self.prior.deviations.items())
            return float(0.5 * fit + np.log(np.diag(factor)[:n]).sum() + 0.5 * shift)

        best = badness(self.deviations)
        for name in parts:
            for factor in (_FACTOR, 1 / _FACTOR):
                tried = {**self.deviations, name: self.deviations[name] * factor}
                value = badness(tried)
                if value < best:
                    best, self.deviations = value, tried
                    break

    def _combined(self, parts: dict[str, Floats], names: tuple[str, ...]) -> Floats:
        return np.asarray(sum(self.deviations[name] ** 2 * parts[name] for name in names))

    def _parts(self, points: Ints, shares: Floats) -> dict[str, Floats]:
        """Return the parts of the covariance of points, each ``(n, n)`` for a deviation of 1."""
        n = len(points)
        genes = np.arange(points.shape[1])
        by_kind = np.zeros((n, self._n_kinds))
        rows = np.broadcast_to(np.arange(n)[:, None], points.shape)
        np.add.at(by_kind, (rows, self.prior.kinds[genes, points]), shares)
        chosen = _one_hot(points, shares.astype(np.float32), self._start.shape[1])
        return {
            "alone": np.asarray(chosen @ chosen.T, np.float64),
            "of_kind": by_kind @ by_kind.T,
            "of_gene": shares @ shares.T,
            "overall": np.ones((n, n)),
            **self._missed_parts(points, shares, points, shares),
            "noise": np.eye(n),
        }

    def _missed_between(
        self, points: Ints, shares: Floats, others: Ints, their_shares: Floats
    ) -> Floats:
        """Return the covariance of what the sums of two sets of points miss, without noise."""
        parts = self._missed_parts(points, shares, others, their_shares)
        return self._combined(parts, tuple(parts))

    def _missed_parts(
        self, points: Ints, shares: Floats, others: Ints, their_shares: Floats
    ) -> dict[str, Floats]:
        options = self._start.shape[1]
        one = np.ones((1, points.shape[1]), np.float32)
        same = _one_hot(points, one, options) @ _one_hot(others, one, options).T
        linked, their_linked = (
            2 * np.sqrt(s[:, :-1] * s[:, 1:]).sum(1) for s in (shares, their_shares)
        )
        return {
            "chain": np.outer(linked, their_linked),
            "nearby": np.exp((same - points.shape[1]) / self._reach).astype(np.float64),
        }

    def _drawn_prior(self, rng: np.random.Generator) -> Floats:
        of, shape = self.deviations, self._start.shape
        of_kind = of["of_kind"] * rng.standard_normal(self._n_kinds)
        return np.asarray(
            of["alone"] * rng.standard_normal(shape)
            + of_kind[self.prior.kinds]
            + of["of_gene"] * rng.standard_normal((shape[0], 1))
            + of["overall"] * rng.standard_normal()
        )

    def _sums(self, points: Ints) -> tuple[Floats, Floats]:
        """Return the sums of points ``(n,)`` and the share of each gene ``(n, genes)``."""
        chosen = self.terms[np.arange(len(self._start)), points]
        sums = chosen.sum(1)
        return sums, chosen / sums[:, None]

    def _effect(self, points: Ints, shares: Floats, change: Floats) -> Floats:
        """Return what changes of the log-terms do to the logarithms of points, ``(n,)``."""
        return np.asarray((shares * change[np.arange(len(change)), points]).sum(1))

    def _spread(self, points: Ints, shares: Floats, weights: Floats) -> Floats:
        """Return the change of every log-term that weights of points imply."""
        of, shape = self.deviations, self._start.shape
        flat = (np.arange(shape[0]) * shape[1] + points).ravel()
        sums = np.bincount(flat, (shares * weights[:, None]).ravel(), shape[0] * shape[1])
        alone = sums.reshape(shape)
        of_kind = np.bincount(self.prior.kinds.ravel(), alone.ravel(), self._n_kinds)
        return np.asarray(
            of["alone"] ** 2 * alone
            + of["of_kind"] ** 2 * of_kind[self.prior.kinds]
            + of["of_gene"] ** 2 * alone.sum(1, keepdims=True)
            + of["overall"] ** 2 * alone.sum()
        )


def _solved(matrix: Floats, target: Floats) -> Floats:
    return np.asarray(np.linalg.solve(matrix, target), np.float64)


def _one_hot(points: Ints, shares: Singles, options: int) -> Singles:
    found = np.zeros((len(points), points.shape[1] * options), np.float32)
    columns = np.arange(points.shape[1]) * options + points
    np.put_along_axis(found, columns, np.broadcast_to(shares, points.shape), 1)
    return found
