"""Staging and reuse of a real network: the same results with less work."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

import axopt
from axopt.data import Split
from axopt.exploration import InProcess, State, Store, create_algorithm, run_search
from axopt.exploration.testing import timeless
from axopt.model import Memo
from axopt.problem import AssignmentProblem, options_of

MULTIPLIERS = ("mul8s_1KV8", "mul8s_1L2D", "mul8s_1L1G", "mul8s_1KR3")


@pytest.fixture(scope="module")
def digits():
    return axopt.load_data("digits")


@pytest.fixture(scope="module")
def emulated(digits):
    return axopt.prepare(axopt.create_model("digits_cnn"), digits.train.take(64).batches(64))


def make(emulated, digits, *, n=120, **settings):
    options = options_of(MULTIPLIERS, False)
    settings = {"correct": False, **settings}
    return AssignmentProblem(emulated, digits.validation.take(n), options, **settings)


def search(problem, algorithm="random", budget=70, store=None):
    made = create_algorithm(algorithm, problem.space, n_objectives=2, seed=1, population=12)
    return run_search(
        problem, made, store or Store.in_memory(), budget=budget, seeds=list(problem.uniform())
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"objective": "error"}, {"objective": "agreement"}, {"metric": "f1", "objective": "f1"}],
)
def test_an_evaluation_by_parts_equals_a_plain_one(settings, emulated, digits):
    unlabelled = settings.get("objective") == "agreement"
    if unlabelled:
        settings = {"metric": "agreement"}
    problem = make(emulated, digits, **settings)
    if unlabelled:
        problem = AssignmentProblem(
            emulated, Split(digits.validation.take(120).stored), problem.options, **settings
        )
    genes = tuple(range(4)) * 2
    genes = genes[: len(problem.space.sizes)]
    plain, _ = problem.measured(problem.candidate(genes), problem.split)
    outcome = problem.evaluate(genes)
    assert outcome.objectives == problem.objectives(plain)
    assert outcome.info["quality"]["value"] == plain.quality.value
    assert outcome.info["quality"]["low"] == plain.quality.low
    one = problem.begin(genes)
    problem.extend([one], 0)
    if len(problem.parts) > 1:
        for part in range(1, len(problem.parts)):
            problem.extend([one], part)
        mean = np.concatenate(one.values).mean()
        assert mean == pytest.approx(outcome.objectives[0], rel=1e-9)


def test_same_front_with_less_work(emulated, digits):
    plain = make(emulated, digits, n=150, staged=False, reuse_mb=0)
    staged = make(emulated, digits, n=150)
    expected, found = search(plain), search(staged)
    assert [t.genes for t in found.trials] == [t.genes for t in expected.trials]
    assert [(t.genes, t.objectives) for t in found.front] == [
        (t.genes, t.objectives) for t in expected.front
    ]
    assert State.PRUNED in {t.state for t in found.trials}
    assert plain.work.reused == 0
    assert staged.work.reused > 0
    assert staged.work.computed < plain.work.computed / 2.5
    for problem, outcome in ((plain, expected), (staged, found)):
        assert sum(t.info["sample_layers"] for t in outcome.trials) == problem.work.total


def test_reuse_changes_no_trial(emulated, digits):
    large, none, small = (make(emulated, digits, reuse_mb=mb) for mb in (1024, 0, 1))
    trials = [timeless(search(problem, budget=30).trials) for problem in (large, none, small)]
    assert trials[0] == trials[1] == trials[2]
    assert large.work.reused >= small.work.reused > none.work.reused == 0
    assert large.work.total == small.work.total == none.work.total


def test_a_result_does_not_depend_on_its_batch(emulated, digits):
    problem = make(emulated, digits)
    front = search(problem, budget=20).front
    points = [t.genes for t in search(problem, budget=40).trials]
    together = InProcess(problem)
    list(together.evaluate(points[:5]))
    found = list(together.evaluate(points, front))
    alone = [next(InProcess(problem).evaluate([genes], front)) for genes in points[::7]]
    for some, other in zip(found[::7], alone, strict=True):
        assert (some.objectives, some.info, some.state) == (
            other.objectives,
            other.info,
            other.state,
        )


@pytest.mark.parametrize("already", [3, 17, 41])
def test_resumed_amid_a_batch_as_if_never_stopped(already, emulated, digits):
    whole = search(make(emulated, digits), "nsga2", budget=42)
    with Store.in_memory() as store:
        for trial in whole.trials[:already]:
            store.commit(trial)
        resumed = search(make(emulated, digits), "nsga2", budget=42, store=store)
    assert timeless(resumed.trials) == timeless(whole.trials)


def test_samples_that_the_exact_network_is_least_certain_of_come_first(emulated, digits):
    problem = make(emulated, digits)
    assert not problem.shuffled
    one = problem.begin((1,) * len(problem.space.sizes))
    for part in range(len(problem.parts)):
        problem.extend([one], part)
    values = np.concatenate(one.values)
    assert values[: len(values) // 4].sum() > 0.7 * values.sum()


@pytest.mark.parametrize(
    ("settings", "staged"),
    [
        ({}, True),
        ({"staged": False}, False),
        ({"objective": "error"}, True),
        ({"metric": "f1", "objective": "error"}, False),
        ({"costs": ("rel_power", "delay_ns", "distinct")}, True),
        ({"costs": ("rel_power", "error")}, False),
        ({"objective": "rel_area"}, False),
    ],
)
def test_only_means_beside_known_objectives_are_staged(settings, staged, emulated, digits):
    problem = make(emulated, digits, **settings)
    assert (len(problem.parts) > 1) == staged
    assert ("staged" in problem.identity()) == staged


class Noisy(torch.nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1e-9 * torch.rand(1)


def test_a_model_that_draws_random_numbers_is_computed(digits, caplog):
    net = Noisy(torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.Linear(10, 10))
    noisy = axopt.prepare(net, digits.train.take(64).batches(64))
    problem = make(noisy, digits, n=40)
    with caplog.at_level(logging.WARNING, "axopt"):
        problem.evaluate((0, 1))
        problem.evaluate((0, 2))
    assert problem.work.reused == 0
    assert sum("random numbers" in r.getMessage() for r in caplog.records) == 1


def test_candidates_that_are_measured_together_are_checked_too(emulated, digits):
    problem = make(emulated, digits, n=40)
    memo = Memo(emulated)
    candidates = [problem.candidate(genes) for genes in problem.uniform()]
    found = problem.measured_each(candidates, problem.split, memo)
    assert [p.divergence for p in found] == [
        problem.measured(c, problem.split)[0].divergence for c in candidates
    ]
