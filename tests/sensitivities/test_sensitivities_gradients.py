"""Estimates from gradients: they rank as measured sensitivities do, at a fraction of the cost."""

import pytest
import torch
from torch import nn

import axopt
from axopt.data import Split
from axopt.errors import ArgumentError
from axopt.sensitivities.analysis import rank_correlation

NAMES = ["mul8s_1KV8", "mul8s_1KVL", "mul8s_1L1G", "mul8s_1L2D", "mul8s_1KR3"]


@pytest.fixture(scope="module")
def digits():
    return axopt.load_data("digits")


@pytest.fixture(scope="module")
def emulated(digits):
    from axopt.zoo import load_model

    return axopt.prepare(load_model("digits_cnn"), digits.train.take(64).batches(64))


def values_of(found):
    """The values of all changes, in order."""
    return [
        value
        for labels, values, base in zip(found.options, found.values, found.base, strict=True)
        for label, value in zip(labels, values, strict=True)
        if label != base
    ]


@pytest.mark.parametrize(("around", "bound"), [("exact", 0.9), ("mul8s_1L1G", 0.85)])
def test_estimates_rank_as_measured_values_do(emulated, digits, around, bound):
    options = {"library": NAMES, "samples": 64, "around": around}
    measured = axopt.sensitivity(emulated, digits, **options)
    estimated = axopt.sensitivity(emulated, digits, method="gradient", check=8, **options)
    assert rank_correlation(values_of(estimated), values_of(measured)) > bound
    assert estimated.agreement > 0.8
    assert estimated.checked == 8
    assert f"{estimated.agreement:.2f} on 8 values" in estimated.summary()
    assert estimated.qualities is None
    assert estimated.drops is None
    assert estimated.table()["quality"].isna().all()
    assert estimated.base_value == measured.base_value
    again = axopt.sensitivity(emulated, digits, method="gradient", check=8, **options)
    assert again == estimated


def test_estimates_of_a_squared_distance_are_right_for_a_linear_network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 6, bias=False), nn.Linear(6, 300, bias=False))
    samples = Split(torch.randn(64, 8), torch.randn(64, 300))
    emulated = axopt.prepare(net, samples.batches(64))
    options = {"library": NAMES, "metric": "distance", "correct": False}
    measured = axopt.sensitivity(emulated, samples, **options)
    found = axopt.sensitivity(emulated, samples, method="gradient", check=0, **options)
    assert found.agreement is None
    assert found.values[1] == pytest.approx(measured.values[1], rel=0.2)
    assert found.values[0] == pytest.approx(measured.values[0], rel=0.4)


class Repeated(nn.Module):
    """Calls one layer several times, and an LSTM."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def test_layers_that_are_called_often_and_groups_are_estimated():
    torch.manual_seed(0)
    samples = Split(torch.randn(48, 5, 6), torch.arange(48) % 3)
    emulated = axopt.prepare(Repeated(), samples.batches(48))
    assert len(emulated.emulated_layers) > 2
    options = {"library": NAMES, "groups": {"lstm": ["lstm*"]}, "correct": False}
    measured = axopt.sensitivity(emulated, samples, **options)
    found = axopt.sensitivity(emulated, samples, method="gradient", **options)
    assert found.names == measured.names == ("lstm", "head")
    assert rank_correlation(values_of(found), values_of(measured)) > 0.9


def test_only_the_divergence_is_estimated(emulated, digits):
    with pytest.raises(ArgumentError, match="`method`='gradient' estimates the divergence"):
        axopt.sensitivity(emulated, digits, method="gradient", objective="error")
    with pytest.raises(ArgumentError, match="`check` must be an integer >= 0"):
        axopt.sensitivity(emulated, digits, method="gradient", check=-1)


def test_a_rank_correlation_needs_different_values():
    assert rank_correlation([1, 2, 3], [2, 4, 9]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [2, 2, 2]) is None
