"""Evaluations on a growing number of samples, stopped when a point is surely dominated.

The first objective of a `SampledProblem` is a mean over samples of values that are not negative.
Its other objectives are known before any evaluation. A point is measured part by part. After each
part it is compared with its *rival*: the point with the least first objective among those points
of the front that are no worse in every other objective. The rival's values of all samples are
known. The point is dominated if its mean is above the rival's. This is decided in two ways:

* For certain: the sum over the samples seen is above the rival's sum over all samples. A problem
  should therefore measure the samples with the largest values first.
* At a stated confidence, where the order of the samples is like a random one: a one-sided t
  interval of the mean difference on the samples seen is above 0. It has the correction for a
  finite population [Cochran1977]_ and, where this is the more careful, that for skewed values
  [Johnson1978]_. The risk is divided by the number of parts (Bonferroni). A second interval must
  agree: that of the regression estimate of the point's mean on the rival's values, whose mean
  over all samples is known [Cochran1977]_. On its own, the first is wrong too often where the
  rival has a few large values, the second where the point has.

.. [Cochran1977] W. G. Cochran, "Sampling Techniques", 3rd edition, Wiley, 1977, chapters 2 and 7.
.. [Johnson1978] N. J. Johnson, "Modified t Tests and Confidence Intervals for Asymmetrical
   Populations", Journal of the American Statistical Association 73 (363), 1978.
"""

from __future__ import annotations

import base64
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from axopt.errors import StoreError
from axopt.exploration.space import Genes
from axopt.exploration.trial import Outcome, Problem, Trial

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.999
"""One-sided confidence with which a point that is pruned is dominated."""

FEWEST_SAMPLES = 32
"""Number of samples below which no interval is taken."""

_SMALLEST_PART = 16
_STEPS = 8
_ABOVE = 1 + 1e-6  # kept values are float32

MOST_VALUES = 4096
"""Number of values that a trial keeps; of more samples it keeps means of blocks."""


@dataclass
class Partial:
    """An evaluation under way.

    Attributes:
        genes: The point.
        values: First objective of each sample so far, one array a part.
        state: What the problem keeps of the evaluation.
        info: What `Outcome.info` says of it if it is stopped; JSON-able.
        seconds: Time that it took so far.
        fault: Why it cannot go on, or None.
        stopped: The outcome if it need not go on, or None.

    Example:
        >>> from axopt.exploration import Partial
        >>> Partial((0, 1)).goes_on, Partial((0, 1), fault=RuntimeError()).goes_on
        (True, False)
    """

    genes: Genes
    values: list[Floats] = field(default_factory=list)
    state: Any = None
    info: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    fault: Exception | None = None
    stopped: Outcome | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the next part is to be measured."""
        return self.fault is None and self.stopped is None


@runtime_checkable
class SampledProblem(Problem, Protocol):
    """A problem whose first objective is a mean over samples that can be measured part by part.

    No value of a sample is negative. The other objectives are exactly known before an evaluation:
    `SearchSpace.known` has them all.

    Example:
        >>> from axopt.exploration import SampledProblem
        >>> from axopt.exploration.testing import SampledTinyProblem, TinyProblem
        >>> [isinstance(made(), SampledProblem) for made in (SampledTinyProblem, TinyProblem)]
        [True, False]
    """

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of samples after which an evaluation may stop, rising; the last is of all."""
        ...

    @property
    def shuffled(self) -> bool:
        """Whether the order of the samples is like a random one."""
        ...

    def begin(self, genes: Genes) -> Partial:
        """Begin an evaluation; it may raise, as `evaluate` may."""
        ...

    def extend(self, partials: Sequence[Partial], part: int) -> None:
        """Measure the samples of a part for some points, each as if it were alone.

        Appends to `Partial.values` and adds to `Partial.seconds`; an exception becomes
        `Partial.fault`.

        Args:
            partials: Evaluations that had all earlier parts.
            part: Number of the part, 0 for the first.
        """
        ...

    def finish(self, partial: Partial) -> Outcome:
        """Return the outcome of an evaluation that had all parts; equal to that of `evaluate`."""
        ...


def parts_of(n: int) -> tuple[int, ...]:
    """Return after how many samples an evaluation on ``n`` samples is looked at.

    The first numbers double up to an eighth, then each eighth follows. All are whole blocks, see
    `block_size`.

    Args:
        n: Number of samples, at least 1.

    Example:
        >>> parts_of(500)
        (16, 32, 63, 125, 188, 250, 313, 375, 438, 500)
        >>> parts_of(30)
        (19, 30)
    """
    size = block_size(n)
    shares = [1 / 64, 1 / 32, 1 / 16, *(step / _STEPS for step in range(1, _STEPS))]
    counts = {math.ceil(n * share / size) * size for share in shares}
    looks = [count for count in sorted(counts) if _SMALLEST_PART * size <= count < n]
    spaced = [
        count
        for count, before in zip(looks, [0, *looks], strict=False)
        if count - before >= min(_SMALLEST_PART * size, count)
    ]
    return (*spaced, n)


def block_size(n: int) -> int:
    """Return the number of samples whose mean is kept as one value.

    Args:
        n: Number of samples.
    """
    return -(-n // MOST_VALUES)


def packed(values: Floats, n: int) -> str:
    """Return values of samples as text for `Trial.info`: float32 in base64.

    Args:
        values: ``(k,)`` values of the first k of ``n`` samples, in the order of evaluation.
        n: Number of all samples.

    Example:
        >>> unpacked(packed(np.array([0.5, 2.0]), 2)).tolist()
        [0.5, 2.0]
    """
    return base64.b64encode(_blocks(values, n).astype("<f4").tobytes()).decode()


def unpacked(text: str) -> Floats:
    """Return the values that `packed` made a text of."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64)


def _blocks(values: Floats, n: int) -> Floats:
    size = block_size(n)
    if size == 1:
        return values
    whole = len(values) // size * size
    means = values[:whole].reshape(-1, size).mean(axis=1)
    rest = values[whole:]
    return np.append(means, rest.mean()) if len(rest) else means


class _Rival(NamedTuple):
    """A point of the front that other points are compared with."""

    value: float
    number: int
    costs: tuple[float, ...]
    samples: Floats


class Rivals:
    """The points of a front, for the test whether one of them dominates a point.

    Args:
        problem: The problem; its space knows all objectives but the first.
        front: Complete trials, with what `packed` made of their samples in ``info["samples"]``;
            others are ignored.
        confidence: One-sided confidence, for all looks at a point together.

    Raises:
        StoreError: If a trial holds values of another number of samples.
    """

    def __init__(
        self,
        problem: SampledProblem,
        front: Sequence[Trial],
        confidence: float = CONFIDENCE,
    ) -> None:
        known = sorted(problem.space.known, key=lambda one: one.objective)
        self._known = [one for one in known if one.objective > 0]
        self._n = problem.parts[-1]
        self._shuffled = problem.shuffled
        self._risk = (1 - confidence) / max(1, len(problem.parts) - 1)
        self._rivals = [
            _Rival(trial.objectives[0], trial.number, self._costs(trial.genes), self._read(trial))
            for trial in front
            if "samples" in trial.info
        ]
        self._rivals.sort(key=lambda rival: (rival.value, rival.number))

    def _read(self, trial: Trial) -> Floats:
        values, wanted = unpacked(trial.info["samples"]), -(-self._n // block_size(self._n))
        if len(values) != wanted:
            raise StoreError(
                f"trial {trial.number} holds the values of {len(values)} samples or blocks of "
                f"samples, this search has {wanted}."
            )
        return values

    def _costs(self, genes: Genes) -> tuple[float, ...]:
        return tuple(known.estimate(genes) for known in self._known)

    def stop_if_dominated(self, partial: Partial) -> None:
        """Stop an evaluation if the front dominates the point at the stated confidence.

        Args:
            partial: The evaluation; it had some parts, but not all.
        """
        costs = self._costs(partial.genes)
        rival = next((r for r in self._rivals if all(map(operator.le, r.costs, costs))), None)
        if rival is None:
            return
        values = np.concatenate(partial.values)
        ours = unpacked(packed(values, self._n))
        share = len(values) / self._n
        if float(values.sum()) <= rival.value * self._n * _ABOVE and not (
            self._shuffled and surely_above(ours, rival.samples, rival.value, share, self._risk)
        ):
            return
        estimate = max(self._estimate(ours, share), rival.value)
        pruned = {"samples": len(values), "dominated_by": rival.number}
        info = {**partial.info, "pruned": pruned}
        partial.stopped = Outcome((estimate, *costs), info, share)

    def _estimate(self, ours: Floats, share: float) -> float:
        """Return an estimate of a point's mean over all samples from its values of some.

        A point of the front is taken whose mean over the same samples is nearest, and its ratio
        of the mean over all samples to that mean.
        """
        mean = float(ours.mean())
        seen = [(float(rival.samples[: len(ours)].mean()), rival.value) for rival in self._rivals]
        ratios = [
            (abs(math.log(mean / s)), v / s) for s, v in seen if s > 0 and v > 0 and mean > 0
        ]
        return max(mean * share, mean * min(ratios)[1] if ratios else 0.0)


def surely_above(
    ours: Floats, theirs: Floats, their_mean: float, share: float, risk: float
) -> bool:
    """Return whether the mean of a point is surely above that of another, over all samples.

    Args:
        ours: ``(n,)`` values of the point for some samples, chosen at random.
        theirs: ``(N,)`` values of the other one; the first n are of the same samples.
        their_mean: Mean of all samples of the other one.
        share: Share of all samples that the n are, in 0..1.
        risk: Accepted probability of a wrong yes where the means are equal.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theirs = rng.exponential(1.0, 600)
        >>> [surely_above(f * theirs[:60], theirs, theirs.mean(), 0.1, 1e-3) for f in (2, 1)]
        [True, False]
    """
    n = len(ours)
    seen = theirs[:n]
    if n < FEWEST_SAMPLES or float((ours - seen).mean()) <= 0:
        return False
    unseen = (1 - share) / n
    if not _is_positive(ours - seen, unseen, 1, risk):
        return False
    offset = seen - seen.mean()
    spread = float(offset @ offset)
    slope = max(float(offset @ ours) / spread, 0.0) if spread > 0 else 0.0
    missing = their_mean - float(seen.mean())
    leverage = missing**2 / spread if spread > 0 else 0.0
    estimate = ours - slope * offset + (slope * missing - their_mean)
    return _is_positive(estimate, unseen + leverage, 2, risk)


def _is_positive(values: Floats, factor: float, fitted: int, risk: float) -> bool:
    """Return whether the mean of a population is above 0, at a risk.

    Args:
        values: A sample of it.
        factor: Variance of the mean relative to that of the values.
        fitted: Number of parameters that were fitted to the values.
        risk: Accepted probability of a wrong yes.
    """
    n, mean = len(values), float(values.mean())
    deviations = values - mean
    variance = float(deviations @ deviations) / (n - fitted)
    if variance == 0:
        return mean > 0
    skew = float((deviations**3).mean())
    correction = skew / (6 * variance * n) + skew * mean**2 / (3 * variance**2)
    t = (mean + min(correction, 0.0)) / math.sqrt(variance * factor)
    return t > _t_quantile(1 - risk, n - fitted)


def _t_quantile(p: float, degrees: int) -> float:
    """Return a quantile of Student's distribution; its error is below 1 % from 20 degrees on."""
    z = NormalDist().inv_cdf(p)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3
