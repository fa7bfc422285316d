"""What users get wrong at first works, or is one error that says what to do."""

import io

import pytest
import torch
from torch import nn

import axopt
from axopt.data import Dataset, Split
from axopt.errors import (
    ArgumentError,
    CalibrationError,
    InputsError,
    TracingError,
    UnsupportedLayerError,
)
from axopt.model import Reestimator, current_assignment, explain_corrections

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.second = nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)

    def forward(self, x):
        return self.second(self.act(self.first(x)))


def same(a, b):
    return a.digest == b.digest and torch.equal(a(X), b(X))


def splits():
    images = (torch.rand(70, 1, 8, 1, generator=torch.Generator().manual_seed(1)) * 255).byte()
    split = Split(images, torch.arange(70) % 3)
    return split, Dataset("x", "x", split, split, split, ("a", "b", "c"))


def flat():
    return nn.Sequential(nn.Flatten(), Net())


def test_a_split_or_data_set_is_read_in_batches():
    split, data = splits()
    by_hand = axopt.prepare(flat(), split.batches(64))
    for given in (split, data):
        emulated = axopt.prepare(flat(), given)
        assert emulated.calibration_digest == by_hand.calibration_digest


def test_one_tensor_is_one_batch():
    assert same(axopt.prepare(Net(), X), axopt.prepare(Net(), [X]))


@pytest.mark.parametrize("given", [None, 3, "train", Net(), object()])
def test_what_is_no_calibration_data_is_refused_by_its_type(given):
    with pytest.raises(ArgumentError, match=f"`calibration` .* got {type(given).__name__}"):
        axopt.prepare(Net(), given)


def test_no_batch_is_a_calibration_error():
    with pytest.raises(CalibrationError, match="at least one batch"):
        axopt.prepare(Net(), [])


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_a_string_is_one_name_or_pattern():
    assert list(axopt.prepare(Net(), X, include="second").emulated_layers) == ["second"]
    assert list(axopt.prepare(Net(), X, exclude="sec*").emulated_layers) == ["first"]


def test_a_model_is_prepared_once():
    emulated = axopt.prepare(Net(), X)
    for again in (emulated, emulated.module, nn.Sequential(nn.Linear(8, 8), emulated)):
        with pytest.raises(ArgumentError, match="`model` .*'.*first' is emulated already"):
            axopt.prepare(again, X)
    with pytest.raises(ArgumentError, match="`model` .* got function"):
        axopt.prepare(lambda x: x, X)


@pytest.mark.parametrize(
    "use",
    [
        axopt.cost,
        axopt.correct_,
        explain_corrections,
        current_assignment,
        lambda model: axopt.assign_(model, "mul8s_1KV8"),
        lambda model: Reestimator(model, [X]),
    ],
)
def test_a_float_model_has_to_be_prepared_first(use):
    with pytest.raises(ArgumentError, match=r"`emulated` .*axopt\.prepare, got Net"):
        use(Net())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["first.weight", "second.bias"])
def test_weights_that_are_not_finite_are_named(name, value):
    model = Net()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[1] = value
    with pytest.raises(ArgumentError, match=f"finite weights, but '{name}'"):
        axopt.prepare(model, X)


def test_a_norm_with_nan_is_named_and_not_the_layer_behind_it():
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[1].running_var[2] = float("nan")
    with pytest.raises(ArgumentError, match=r"'1\.running_var' \(BatchNorm1d\) holds NaN"):
        axopt.prepare(model, X)


def test_a_lazy_layer_is_refused_in_one_sentence():
    with pytest.raises(UnsupportedLayerError) as caught:
        axopt.prepare(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2)), X)
    assert str(caught.value) == (
        "layer '0' cannot be emulated: this LazyLinear has no weights yet; run the model once "
        "before `prepare`, or exclude this layer."
    )


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos, self.fc = nn.Parameter(torch.ones(8)), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(x + self.pos)


def test_a_parameter_of_its_own_is_what_stays_in_float_not_the_module():
    emulated = axopt.prepare(Positions(), X)
    assert (
        emulated.skipped[""] == "stays in float: pos, which the forward of Positions uses itself"
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tracing_scripting_and_export_are_refused_with_the_reason():
    emulated = axopt.prepare(Net(), X)
    for use in (
        lambda: torch.jit.trace(emulated, X),
        lambda: torch.jit.script(emulated),
        lambda: torch.export.export(emulated, (X,)),
        lambda: torch.onnx.export(emulated, (X,), io.BytesIO(), dynamo=False),
    ):
        with pytest.raises(TracingError, match="Export the original model"):
            use()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_another_precision_than_its_inputs_is_said(dtype):
    name = str(dtype).removeprefix("torch.")
    model = Net().to(dtype)
    words = f"inputs of float32: its parameters are {name}"
    with pytest.raises(InputsError, match=words):
        axopt.prepare(model, [X])
    with pytest.raises(InputsError, match=words):
        axopt.evaluate(model, [(X, torch.arange(6) % 3)])
    with pytest.raises(InputsError, match=f"inputs of {name}: its parameters are float32"):
        axopt.prepare(Net(), [X.to(dtype)])
    assert axopt.prepare(model, [X.to(dtype)])(X.to(dtype)).dtype == dtype


def test_a_model_of_two_precisions_is_said():
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2).half())
    with pytest.raises(InputsError, match="its parameters are float16 and float32"):
        axopt.prepare(model, [X])


def test_a_failure_that_is_not_of_the_precision_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        axopt.evaluate(Net().double(), [(X.double()[:, :3], torch.arange(6) % 3)])
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        axopt.evaluate(Net(), [(X[:, :3], torch.arange(6) % 3)])


@pytest.mark.parametrize("value", [X, X.numpy(), [], {}, 3, object(), Net()])
@pytest.mark.parametrize("argument", ["multiplier", "calibrator", "weight_scales"])
def test_options_of_prepare_of_another_kind_are_refused_by_name(argument, value):
    with pytest.raises(ArgumentError, match=f"`{argument}` must be"):
        axopt.prepare(Net(), X, **{argument: value})


@pytest.mark.parametrize("value", [X, X.numpy(), [3], {}, 3, object(), Net()])
@pytest.mark.parametrize("argument", ["include", "exclude"])
def test_patterns_of_another_kind_are_refused_by_name(argument, value):
    with pytest.raises(ArgumentError, match=f"`{argument}` must be a name or pattern"):
        axopt.prepare(Net(), X, **{argument: value})


@pytest.mark.parametrize("value", [X, X.numpy(), "foo", [], {}, 3, object(), Net()])
def test_libraries_models_and_data_of_another_kind_are_refused_by_name(value):
    with pytest.raises(ArgumentError, match="`library` must be a MultiplierLibrary"):
        axopt.assign_(axopt.prepare(Net(), X), "mul8s_1KV8", library=value)
    if not isinstance(value, nn.Module):
        with pytest.raises(ArgumentError, match="`model` must be a torch.nn.Module"):
            axopt.evaluate(value, [(X, torch.arange(6) % 3)])
    if not isinstance(value, str):
        with pytest.raises(ArgumentError, match="`spec` must be a name"):
            axopt.load_data(value)
