import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import nn

from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation import (
    Evaluation,
    Metric,
    evaluate,
    measure,
    paired_drop,
    paired_proportion_interval,
    wilson_interval,
)

Z = 1.959963984540054


def pairs(only_baseline, only_ours, both, neither):
    """Kept booleans of the model and of the baseline."""
    counts = torch.tensor([only_baseline, only_ours, both, neither])
    ours = torch.tensor([False, True, True, False]).repeat_interleave(counts)
    baseline = torch.tensor([True, False, True, False]).repeat_interleave(counts)
    return ours, baseline


def test_measure_keeps_what_the_metric_kept_of_each_sample():
    logits = torch.eye(5)
    data = [(logits[:3], torch.tensor([0, 1, 0])), (logits[3:], torch.tensor([3, 4]))]
    evaluation, samples = measure(nn.Identity(), data)
    assert isinstance(evaluation, Evaluation)
    assert evaluation == evaluate(nn.Identity(), data)
    assert samples.tolist() == [True, True, False, True, True]
    assert len(measure(nn.Identity(), data, "f1").samples) == 5


def test_the_drop_is_positive_where_the_model_is_worse():
    ours, baseline = pairs(12, 2, 80, 6)
    drop = paired_drop("top1", ours, baseline)
    assert drop.value == pytest.approx(10)
    assert 0 < drop.low < drop.value < drop.high
    turned = paired_drop("top1", baseline, ours)
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (-drop.value, -drop.high, -drop.low)
    )


def test_the_drop_of_an_error_is_positive_where_it_is_larger():
    share = Metric(
        name="wrong",
        of_samples=lambda outputs, targets: outputs != targets,
        unit="%",
        higher_is_better=False,
        interval="wilson",
    )
    right, baseline = pairs(12, 2, 80, 6)
    worse = paired_drop(share, ~right, ~baseline)
    same = paired_drop("top1", right, baseline)
    assert (worse.value, worse.low, worse.high) == pytest.approx((same.value, same.low, same.high))
    squares = torch.tensor([[1.0, 100.0]] * 8), torch.tensor([[4.0, 100.0]] * 8)
    assert paired_drop("distance", squares[1], squares[0]).value == pytest.approx(10)


def score_of(only_first, only_second, n, difference):
    """Tango's statistic, its nuisance parameter by maximising the likelihood numerically."""

    def loss(q):
        cells = (q + difference, q, 1 - 2 * q - difference)
        counts = (only_first, only_second, n - only_first - only_second)
        return -sum(k * math.log(max(p, 1e-300)) for k, p in zip(counts, cells, strict=True))

    bounds = (max(0, -difference), (1 - difference) / 2)
    q = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    variance = n * (2 * q + difference * (1 - difference))
    return (only_first - only_second - n * difference) / math.sqrt(variance)


@pytest.mark.parametrize("counts", [(12, 2, 50), (3, 1, 30), (7, 7, 100), (90, 40, 1000)])
def test_the_bounds_are_where_the_score_test_begins_to_reject(counts):
    low, high = paired_proportion_interval(*counts)
    assert score_of(*counts, low) == pytest.approx(Z, abs=1e-3)
    assert score_of(*counts, high) == pytest.approx(-Z, abs=1e-3)


@pytest.mark.parametrize("n", [20, 359, 10000])
def test_the_interval_excludes_zero_exactly_where_mcnemar_rejects(n):
    for only_first in range(12):
        for only_second in range(min(12, n - only_first)):
            low, high = paired_proportion_interval(only_first, only_second, n)
            discordant = only_first + only_second
            rejects = (only_first - only_second) ** 2 > Z**2 * discordant
            assert (low > 0 or high < 0) == rejects


def test_the_interval_at_the_edges_is_never_empty():
    low, high = paired_proportion_interval(0, 0, 100)
    assert -low == high == pytest.approx(Z**2 / (100 + Z**2))  # Wilson's bound of 0 of n
    low, high = paired_proportion_interval(100, 0, 100)
    assert high == 1
    assert 0.9 < low < 1
    assert paired_proportion_interval(0, 1, 1)[0] == -1
    for bad in ((0, 0, 0), (-1, 0, 5), (3, 3, 5)):
        with pytest.raises(ArgumentError):
            paired_proportion_interval(*bad)


@pytest.mark.parametrize(
    ("n", "cells"),
    [
        (359, (0.008, 0.003)),  # a few samples differ
        (100, (0.05, 0.05)),
        (1000, (0.03, 0.01)),
        (50, (0.2, 0.1)),
    ],
)
def test_the_interval_of_proportions_covers_as_often_as_it_says(n, cells, rng):
    share = np.array([*cells, 1 - sum(cells)])
    draws = rng.multinomial(n, share, size=1000)
    kinds, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    hits = sum(
        int(t) * (low <= cells[0] - cells[1] <= high)
        for (a, b), t in zip(kinds, times, strict=True)
        for low, high in [paired_proportion_interval(int(a), int(b), n)]
    )
    assert 0.93 <= hits / 1000 <= 0.985  # four standard errors of the simulation: .028


def test_the_paired_interval_is_far_narrower_than_the_unpaired_one():
    ours, baseline = pairs(14, 4, 800, 182)
    drop = paired_drop("top1", ours, baseline)
    low, high = wilson_interval(int(ours.sum()), len(ours))
    assert drop.high - drop.low < 0.4 * 100 * math.sqrt(2) * (high - low)


def test_the_paired_jackknife_covers_as_often_as_it_says_and_is_narrow():
    generator = torch.Generator().manual_seed(0)
    rms = Metric(
        name="rms",
        of_samples=lambda outputs, targets: outputs,
        of_all=lambda squares: float(squares.mean() ** 0.5),
        higher_is_better=False,
    )
    hits, width, own = 0, 0.0, 0.0
    for _ in range(100):
        noise = torch.randn(300, generator=generator)
        own_noise = torch.randn(300, generator=generator)
        baseline, ours = noise.square(), (1.05 * noise + 0.1 * own_noise).square()
        drop = paired_drop(rms, ours, baseline)
        truth = math.sqrt(1.05**2 + 0.1**2) - 1
        hits += drop.low <= truth <= drop.high
        width += drop.high - drop.low
        _, low, high = rms.with_interval(ours)
        own += high - low
    assert 0.89 <= hits / 100 <= 0.995
    assert width < 0.3 * own


def test_equal_results_have_no_drop():
    ours, _ = pairs(3, 3, 5, 1)
    assert paired_drop("top1", ours, ours).value == 0
    squares = torch.rand(20, 2)
    drop = paired_drop("distance", squares, squares)
    assert (drop.value, drop.low, drop.high) == (0, 0, 0)


def test_results_of_other_samples_are_refused():
    right = torch.ones(4, dtype=torch.bool)
    with pytest.raises(ArgumentError, match=r"\[4\] and \[3\]"):
        paired_drop("top1", right, right[:3])
    with pytest.raises(ArgumentError, match="at least one"):
        paired_drop("top1", right[:0], right[:0])
    with pytest.raises(DatasetError, match="booleans"):
        paired_drop("top1", right.float(), right.float())
    with pytest.raises(ArgumentError, match="higher_is_better"):
        paired_drop(lambda outputs, targets: outputs, right, right)
