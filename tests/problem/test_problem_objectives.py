"""Objectives of the user that return something else than a finite number are told by name."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError
from axopt.study import OBJECTIVES

NAMES = ["mul8s_1KV8", "mul8s_1L2H"]


@pytest.fixture(scope="module")
def data():
    split = Split(torch.rand(12, 4), torch.arange(12) % 2)
    return Dataset("noise", "noise", split, split, split, classes=("a", "b"))


@pytest.fixture(scope="module")
def emulated(data):
    return axopt.prepare(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), data)


@pytest.fixture
def searched(emulated, data):
    """Search with the objective "mine", which is forgotten afterwards."""

    def search(function, budget=3, **parts):
        axopt.register_objective("mine", function, title="mine", unit="", **parts)
        settings = {"algorithm": "nsga2", "budget": budget, "objectives": ["mine"]}
        return axopt.search(emulated, data, library=NAMES, **settings)

    yield search
    OBJECTIVES.remove("mine")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2.5", "got str '2.5'"),
        (None, "got NoneType None"),
        ([1.0], "got list [1.0]"),
        (np.zeros(2), "got ndarray array([0"),
        (1j, "got complex 1j"),
        (10**999, "got int 1000"),
    ],
)
def test_a_function_must_return_a_number(searched, caplog, value, shown):
    with caplog.at_level(logging.WARNING):
        result = searched(lambda point: value)
    assert result.outcome.n_failed == 3
    assert all("objective 'mine' must be a number, got" in t.reason for t in result.outcome.trials)
    (note,) = (note for note in result.record.notes if "failed" in note)
    assert note.startswith("Every trial failed, the last one with: ")
    assert caplog.text.count("objective 'mine' must be a number, got") == 3
    assert shown in note
    assert "\n" not in note


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_a_value_that_is_not_finite_fails_its_trial_alone(searched, value):
    result = searched(lambda point: value if point.cost.rel_power == 1 else 1.0)
    reasons = [trial.reason for trial in result.outcome.trials]
    assert sum(reason is not None for reason in reasons) == 1
    assert f"objective not finite: mine={value}" in reasons
    assert len(result.front) == 1


@pytest.mark.parametrize("value", [2, True, np.float32(2), np.array(2.0), torch.tensor(2.0)])
def test_numbers_of_other_packages_are_numbers(searched, value):
    result = searched(lambda point: value, multiplier_figure=lambda multiplier: value)
    assert [t.objectives[1] for t in result.outcome.trials] == 3 * [float(value)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "got str 'text'"),
        (None, "got NoneType None"),
        (float("nan"), "got float nan"),
        (float("inf"), "got float inf"),
        (10**999, "got int 1000"),
        (np.zeros(2), r"got ndarray array\(\[0"),
    ],
)
def test_a_figure_of_a_multiplier_must_be_a_finite_number(searched, value, shown):
    message = f"`multiplier_figure` of the objective 'mine' .*finite.*, {shown}.* for v1/mul8s_1"
    with pytest.raises(ArgumentError, match=message) as raised:
        searched(lambda point: 1.0, multiplier_figure=lambda multiplier: value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("budget", "begin"),
    [
        (1, "The only trial is a uniform or random assignment: nsga2 starts to learn after 40"),
        (2, "All 2 trials are uniform or random assignments: nsga2 starts to learn after 40"),
    ],
)
def test_a_note_counts_its_trials(searched, budget, begin):
    (note,) = searched(lambda point: 1.0, budget=budget).record.notes
    assert note.startswith(begin)
