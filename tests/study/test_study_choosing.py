"""Points that a search result, and a run folder read again, choose on the validation split."""

import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split
from axopt.study import load_run

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1KR3"]


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    splits = [Split(torch.rand(60, 4, generator=generator), torch.arange(60) % 3) for _ in "abc"]
    return Dataset("noise", "noise", *splits, classes=("a", "b", "c"))


@pytest.fixture(scope="module")
def emulated(data):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 3)]
    return axopt.prepare(nn.Sequential(*layers), data.train.batches(60))


@pytest.mark.parametrize("fixed", [{}, {"0": "mul8s_1L2H"}])
def test_the_exact_multiplier_is_measured_on_validation(emulated, data, tmp_path, fixed):
    seen = []
    result = axopt.search(
        emulated,
        data,
        library=NAMES,
        fixed=fixed,
        budget=9,
        out=tmp_path / "run",
        on_point=lambda done, of: seen.append((done, of)),
    )
    assert seen[-1][0] == seen[-1][1] == len(seen)
    for layer in emulated.emulated_layers.values():
        layer.assign(axopt.load_library()["mul8s_1KV8"], swap=False)
    axopt.correct_(emulated)
    expected = axopt.evaluate(emulated, data.validation).value
    assert result.record.baseline.validation.value == pytest.approx(expected)
    chosen = result.best(max_drop=100)
    assert chosen.point == result.record.front[-1]
    assert chosen.validation_drop == pytest.approx(expected - chosen.point.validation.value)
    again = load_run(tmp_path / "run")
    assert again.best(max_drop=100) == chosen
    assert again.record == result.record
    assert again.front.to_csv() == result.front.to_csv()
    assert "run folder: " in repr(again)
    assert [axes.get_ylabel() for axes in again.plot().axes]
