"""Models of several inputs and outputs, and the kinds of data that `evaluate` takes."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import axopt
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError, DatasetError, InputsError, PluginError
from axopt.evaluation import Metric, against, as_metric, measure


class Scaled(nn.Module):
    """Logits of ``x * scale``."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x, scale):
        return self.fc(x * scale[:, None])


@dataclass
class Outputs:
    logits: torch.Tensor
    hidden: torch.Tensor


class Several(Scaled):
    """The same logits among other outputs, in a container of ``kind``."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        hidden, logits = x * 2, self.fc(x)
        return {
            "tuple": (hidden, logits),
            "list": [logits, hidden],
            "dict": {"head": {"logits": logits}},
            "dataclass": Outputs(logits, hidden),
        }[self.kind]


PATHS = {"tuple": "1", "list": "0", "dict": "head.logits", "dataclass": "logits"}


@pytest.fixture
def samples():
    torch.manual_seed(0)
    return torch.rand(20, 4), torch.rand(20) + 0.5, torch.arange(20) % 3


def test_several_inputs_of_splits_and_batches(samples):
    x, scale, y = samples
    model = Scaled().eval()
    usual = axopt.evaluate(nn.Identity(), [(model(x, scale), y)])
    by_position, by_name = Split((x, scale), y), Split({"scale": scale, "x": x}, y)
    data = Dataset("d", "d", by_name, by_name, by_name, ("a", "b", "c"))
    for source in (by_position, by_name, data, [(x, scale, y)], [((x, scale), y)]):
        assert axopt.evaluate(model, source, batch_size=7) == usual
    turned = [((scale, x), y)]
    forward = lambda model, inputs: model(inputs[1], scale=inputs[0])  # noqa: E731
    assert axopt.evaluate(model, turned, forward=forward) == usual


def test_an_emulated_model_is_called_as_prepare_was_told(samples):
    x, scale, y = samples
    model = Scaled().eval()
    usual = axopt.prepare(model, [(x, scale, y)])
    emulated = axopt.prepare(
        model, [((scale, x), y)], forward=lambda model, inputs: model(inputs[1], inputs[0])
    )
    expected = measure(usual, [(x, scale, y)])
    found = measure(emulated, [((scale, x), y)])
    assert found.evaluation == expected.evaluation
    assert torch.equal(found.samples, expected.samples)
    distant = against(emulated, [((scale, x), y)])
    assert axopt.evaluate(usual, [((x, scale), distant[0][1])], "distance").value == 0


@pytest.mark.parametrize("kind", PATHS)
def test_a_path_picks_the_output(samples, kind):
    x, _, y = samples
    model, path = Several(kind).eval(), PATHS[kind]
    expected = axopt.evaluate(model.fc, [(x, y)])
    assert axopt.evaluate(model, [(x, y)], output=path) == expected
    with pytest.raises(ArgumentError, match=rf"`output` must name.*'{path}' \[20, 3\]"):
        axopt.evaluate(model, [(x, y)])
    with pytest.raises(ArgumentError, match=rf"`output` must be one of .*'{path}' \[20, 3\]"):
        axopt.evaluate(model, [(x, y)], output="logit")
    emulated = axopt.prepare(model, [x], output=path)
    expected = axopt.evaluate(axopt.prepare(model.fc, [x]), [(x, y)])
    assert axopt.evaluate(emulated, [(x, y)]) == expected
    assert type(emulated(x)) is type(model(x))  # still a drop-in replacement


def test_a_metric_may_take_all_that_the_model_returns(samples):
    x, _, y = samples
    agreement = Metric(
        name="agreement",
        of_samples=lambda outputs, targets: outputs.logits.argmax(1) == targets,
        unit="%",
        higher_is_better=True,
        outputs="anything",
        interval="wilson",
    )
    model = Several("dataclass").eval()
    found = axopt.evaluate(model, [(x, y)], agreement)
    assert found.value == axopt.evaluate(model.fc, [(x, y)]).value
    assert found.metric == "agreement"


def test_a_function_is_a_metric():
    def absolute(outputs, targets):
        return (outputs - targets).abs()

    data = [(torch.zeros(4), torch.tensor([1.0, 2.0, 3.0, 2.0]))]
    assert axopt.evaluate(nn.Identity(), data, absolute).value == 2
    with pytest.raises(ArgumentError, match="'absolute'.*`higher_is_better`"):
        as_metric(absolute)
    absolute.higher_is_better = False
    assert as_metric(absolute).error(3) == 3
    with pytest.raises(ArgumentError, match="got int"):
        axopt.evaluate(nn.Identity(), data, 3)


@pytest.mark.parametrize(
    ("of_samples", "of_all", "message"),
    [
        (lambda outputs, targets: outputs.mean(), None, r"\(3, ...\), one row per sample"),
        (lambda outputs, targets: outputs[:2], None, r"\(3, ...\).*got \[2\]"),
        (lambda outputs, targets: None, None, "got NoneType"),
        (lambda outputs, targets: outputs, lambda kept: float("nan"), "must be finite, got nan"),
    ],
)
def test_what_a_metric_returns_is_checked(of_samples, of_all, message):
    metric = Metric(name="own", of_samples=of_samples, of_all=of_all, higher_is_better=False)
    with pytest.raises(DatasetError, match=f"metric 'own'.*{message}"):
        axopt.evaluate(nn.Identity(), [(torch.ones(3), torch.ones(3))], metric)


def test_an_error_in_a_metric_names_it():
    metric = Metric(name="own", of_samples=lambda o, t: o.missing, higher_is_better=False)
    with pytest.raises(PluginError, match="metric 'own': `of_samples` failed with Attr") as caught:
        axopt.evaluate(nn.Identity(), [(torch.ones(3), torch.ones(3))], metric)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_intervals_of_own_metrics():
    kept = torch.arange(1.0, 9)
    options = {"name": "own", "of_samples": lambda o, t: o, "higher_is_better": True}
    assert Metric(**options, interval=None).with_interval(kept) == (4.5, 4.5, 4.5)
    own = Metric(**options, interval=lambda kept: (float(kept.min()), float(kept.max())))
    assert own.with_interval(kept) == (4.5, 1, 8)
    value, low, high = Metric(**options).with_interval(kept)
    assert low < value == 4.5 < high
    assert Metric(**options, unit="dB").error(30) == -30
    assert Metric(**options, best=1.0).error(0.75) == 0.25
    for bad in ({"interval": "normal"}, {"targets": "masks"}, {"of_samples": 3}):
        with pytest.raises(ArgumentError, match=f"`{next(iter(bad))}` must be"):
            Metric(**{**options, **bad})


def test_a_data_loader_is_evaluated_and_taken_as_reference(samples):
    x, _, y = samples
    model = Scaled().fc
    loader = DataLoader(TensorDataset(x, y), batch_size=6)
    assert axopt.evaluate(model, loader) == axopt.evaluate(model, Split(x, y))
    batches = against(model, DataLoader(TensorDataset(x), batch_size=6, shuffle=True))
    assert [len(outputs) for _, outputs in batches] == [6, 6, 6, 2]
    assert axopt.evaluate(model, batches, "distance").value < 1e-4
    assert torch.equal(against(model, Split(x, y)).targets, model(x))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (torch.zeros(3, 4), ArgumentError, "got Tensor"),
        ({"x": torch.zeros(3, 4)}, ArgumentError, "got dict"),
        (3, ArgumentError, "got int"),
        (TensorDataset(torch.zeros(3, 4)), ArgumentError, "wrap it in a DataLoader"),
        ([torch.zeros(3, 4)], DatasetError, r"must yield \(inputs, targets\), got Tensor"),
        ([{"x": torch.zeros(3, 4)}], DatasetError, "got dict"),
        ([(torch.zeros(3, 4),) * 3], InputsError, "2 inputs: too many positional"),
    ],
)
def test_data_of_other_kinds_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        axopt.evaluate(nn.Linear(4, 3), data)


def test_a_reference_runs_in_evaluation_mode():
    x = torch.ones(8, 4)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)).train()
    assert torch.equal(against(model, Split(x, torch.zeros(8, 1))).targets, model[1](x))
    assert model[0].training
    with pytest.raises(DatasetError, match=r"`reference` must return floats of shape \(8, ...\)"):
        against(nn.Flatten(0), Split(x, torch.zeros(8, 1)))


def test_half_precision_is_measured_too():
    x = torch.eye(4)
    y = torch.arange(4)
    assert axopt.evaluate(nn.Identity(), [(x.half(), y)]).value == 100
    arrays = Split(np.eye(4), y.numpy())
    assert axopt.evaluate(nn.Linear(4, 4).double(), [(x.double(), y)]).n == 4
    assert axopt.evaluate(nn.Identity(), arrays).value == 100
