"""Caps on drop, power and delay: what they focus a search on, and what its front holds."""

import itertools

import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, StoreError
from axopt.study import SearchConfig
from axopt.study.caps import value_at

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L2D", "mul8s_1KR3"]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    widths = (6, 16, 12, 12, 3)
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))[:-1].eval()


@pytest.fixture(scope="module")
def data(net):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 6, generator=generator)
    with torch.no_grad():
        y = net(x).argmax(1)  # so that approximations lose accuracy
    splits = [Split(*part) for part in zip(x.split(200), y.split(200), strict=True)]
    return Dataset("noise", "noise", *splits, classes=("a", "b", "c"))


@pytest.fixture(scope="module")
def emulated(net, data):
    return axopt.prepare(net, data.train.batches(100))


def searched(emulated, data, **given):
    settings = {
        "library": NAMES,
        "algorithm": "nsga2",
        "budget": 40,
        "population": 8,
        "correct": False,
        **given,
    }
    return axopt.search(emulated, data, **settings)


def drops(result, trials):
    exact = result.record.baseline.validation.value
    complete = [trial for trial in trials if trial.state == "complete"]  # others have no quality
    return [exact - trial.info["quality"]["value"] for trial in complete]


def test_a_fit_that_never_falls_is_joined_by_lines():
    pairs = [(0.0, 0.0), (0.2, 1.0), (0.3, 3.0), (0.4, 1.0), (0.8, 4.0)]
    assert value_at(pairs, 1.5) == pytest.approx(0.25)  # 3 and 1 are 2 and 2
    assert value_at(pairs, 2.0) == pytest.approx(0.4)
    assert value_at(pairs, 3.0) == pytest.approx(0.6)
    assert value_at(pairs, 4.0) is None
    assert value_at(pairs[1:], 0.5) == pytest.approx(0.2)
    assert value_at([], 1.0) is None


@pytest.mark.parametrize("objective", ["divergence", "error"])
def test_the_front_is_within_the_drop_and_resumes(emulated, data, tmp_path, objective):
    result = searched(emulated, data, max_drop=4.0, objective=objective)
    record = result.record
    allowed = record.baseline.validation.value - 4.0 - 1e-6
    assert record.front
    assert all(point.validation.value >= allowed for point in record.front)
    assert any(drop > 4 for drop in drops(result, result.outcome.trials))
    free = searched(emulated, data, objective=objective)
    inside = sum(drop <= 4 for drop in drops(result, result.outcome.trials))
    assert inside > sum(drop <= 4 for drop in drops(free, free.outcome.trials))
    out = tmp_path / "run"
    searched(emulated, data, max_drop=4.0, objective=objective, budget=7, out=out)
    given = {"objective": objective, "out": out, "resume": True}
    resumed = searched(emulated, data, max_drop=4.0, **given)
    assert [t.genes for t in resumed.outcome.trials] == [t.genes for t in result.outcome.trials]
    with pytest.raises(StoreError, match="max drop"):
        searched(emulated, data, max_drop=3.0, **given)


def test_algorithms_without_seeds_get_uniform_ones_to_settle_the_limit(emulated, data):
    settings = {"algorithm": "auto", "sensitivity_samples": 40, "budget": 60}
    result = searched(emulated, data, max_drop=4.0, **settings)
    assert [trial.genes for trial in result.outcome.trials[:4]] == [(n,) * 4 for n in range(4)]
    allowed = result.record.baseline.validation.value - 4.0 - 1e-6
    assert all(point.validation.value >= allowed for point in result.record.front)


def test_of_no_points_within_the_caps_the_nearest_is_shown(emulated, data):
    result = searched(emulated, data, fixed={"*": "mul8s_1KR3"}, max_drop=0.0)
    (point,) = result.record.front
    (drop,) = drops(result, result.outcome.trials)
    assert drop > 0
    assert f"the nearest one is shown: drop {drop:.2f} %" in " ".join(result.record.notes)
    assert "No evaluated assignment has a drop of at most 0 % on the" in repr(result)
    assert point.label == "point-00"


def test_the_front_is_within_the_power(emulated, data):
    result = searched(emulated, data, max_power=0.5)
    assert result.record.front
    assert all(point.rel_power <= 0.5 for point in result.record.front)
    inside = [trial.objectives[1] <= 0.5 for trial in result.outcome.trials]
    free = searched(emulated, data)
    assert sum(inside) > sum(trial.objectives[1] <= 0.5 for trial in free.outcome.trials)


def test_slower_multipliers_are_no_options(emulated, data):
    delays = {name: axopt.load_library()[name].delay_ns for name in NAMES}
    cap = sorted(delays.values())[1]
    result = searched(emulated, data, max_delay_ns=cap)
    assert len(result.outcome.trials) == 16
    assert {point.delay_ns <= cap for point in result.record.front} == {True}
    assert result.record.baseline.validation is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"max_delay_ns": 0.1},
            "`max_delay_ns` must leave '0' a multiplier, got 0.1; the fastest",
        ),
        ({"max_power": 0.05}, "`max_power` must be at least 0.12.*, got 0.05: no assignment"),
        ({"max_power": 0.5, "objectives": ["delay_ns"]}, "`max_power` needs the objective rel_p"),
    ],
)
def test_caps_that_no_assignment_keeps_are_told(emulated, data, given, message):
    with pytest.raises(ArgumentError, match=message):
        searched(emulated, data, **given)


@pytest.mark.parametrize("name", ["max_drop", "max_power", "max_delay_ns"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1"])
def test_caps_are_finite_numbers(name, value):
    with pytest.raises(ArgumentError, match=f"`{name}` must be a finite number"):
        SearchConfig(**{name: value})
