"""Every cost beside the divergence, and two or three objectives with every algorithm."""

import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split
from axopt.exploration import list_algorithms
from axopt.study import AssignmentProblem, options_of

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L2D", "mul8s_1KR3"]


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    samples = Split(torch.randn(60, 4, generator=generator), torch.arange(60) % 3)
    return Dataset("noise", "noise", samples, samples, samples, classes=("a", "b", "c"))


@pytest.fixture(scope="module")
def emulated(data):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 3)]
    return axopt.prepare(nn.Sequential(*layers), data.train.batches(60))


def test_energy_is_power_times_delay_relative_to_the_reference(emulated, data):
    options = options_of(NAMES, False)
    problem = AssignmentProblem(
        emulated, data.validation, options, costs=["rel_energy"], correct=False
    )
    exact, *_, cheap = (option.multiplier for option in options)
    macs = [32, 48, 18]
    energy = [m.power_mw * m.delay_ns for m in (cheap, exact, cheap)]
    expected = sum(n * e for n, e in zip(macs, energy, strict=True)) / (sum(macs) * energy[1])
    assert problem.evaluate((3, 0, 3)).objectives[1] == pytest.approx(expected)
    assert problem.space.known_of(1).estimate((3, 0, 3)) == pytest.approx(expected)
    assert problem.evaluate((0, 0, 0)).objectives[1] == 1


def test_power_and_energy_differ_by_the_delays(emulated, data):
    point = axopt.search(
        emulated, data, library=NAMES[:2], objectives=["rel_power", "rel_energy"], budget=8
    ).outcome.trials[-1]
    assert 0 < point.objectives[2] < point.objectives[1] < 1  # the cheaper one is faster too


@pytest.mark.parametrize(
    ("algorithm", "costs"),
    [
        *((algorithm, ["rel_energy", "delay_ns"]) for algorithm in list_algorithms()),
        ("auto", ["rel_power", "distinct"]),
        ("nsga2", ["rel_area"]),
    ],
)
def test_every_algorithm_minimises_two_or_three_objectives(emulated, data, algorithm, costs):
    result = axopt.search(
        emulated,
        data,
        library=NAMES,
        algorithm=algorithm,
        objectives=costs,
        budget=14,
        population=8,
        sensitivity_samples=20,
        correct=False,
    )
    complete = [trial for trial in result.outcome.trials if trial.state == "complete"]
    assert len(complete) >= 8
    assert {len(trial.objectives) for trial in complete} == {1 + len(costs)}
    assert len(result.front) == len(result.outcome.front) > 0
