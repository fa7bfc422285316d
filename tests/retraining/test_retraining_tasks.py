"""Losses of the user's, several inputs and several outputs, on networks of milliseconds."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import axopt
from axopt.data import Split
from axopt.errors import ArgumentError, DatasetError
from axopt.retraining import retrain


class Mixed(nn.Module):
    """Two inputs, outputs in a dictionary."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, x, scale):
        return {"logits": self.out(torch.relu(self.hidden(x * scale[:, None])))}


def forward(model, inputs):
    return model(inputs["x"], inputs["scale"])


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 6, generator=generator)
    scale = torch.rand(120, generator=generator) + 0.5
    return {"x": x, "scale": scale}, (x[:, :3] * scale[:, None]).argmax(1)


def emulated_of(data, **options):
    torch.manual_seed(0)
    emulated = axopt.prepare(Mixed(), [data[0]], **options)
    axopt.assign_(emulated, "mul8s_1L2D", correct=False)
    return emulated


@pytest.mark.parametrize("how", ["path", "own loss", "own loss of samples", "loader"])
def test_several_inputs_and_outputs_are_trained(data, how):
    options = {} if how == "own loss" else {"output": "logits"}
    emulated = emulated_of(data, forward=forward, **options)
    split = Split(*data)
    loss = {
        "own loss": lambda outputs, targets: functional.cross_entropy(outputs["logits"], targets),
        "own loss of samples": lambda outputs, targets: functional.cross_entropy(
            outputs, targets, reduction="none"
        ),
    }.get(how)
    train = list(split.batches(120)) if how == "loader" else split
    before = axopt.evaluate(emulated, split, output="logits").value
    result = retrain(
        emulated, train, loss=loss, epochs=12, lr=0.03, batch_size=120, gradient="ste"
    )
    after = axopt.evaluate(emulated, split, output="logits").value
    assert after > before + 15
    losses = [epoch.loss for epoch in result.history[1:]]
    assert losses[-1] < losses[0]


def test_the_default_is_the_same_as_its_loss_given(data):
    results = []
    for loss in (None, functional.cross_entropy):
        emulated = emulated_of(data, forward=forward, output="logits")
        results.append(retrain(emulated, Split(*data), loss=loss, epochs=2).history)
    assert results[0] == results[1]


def test_a_teacher_is_called_as_the_model_is(data):
    torch.manual_seed(1)
    emulated = emulated_of(data, forward=forward, output="logits")
    result = retrain(emulated, Split(*data), epochs=1, teacher=Mixed())
    plain = emulated_of(data, forward=forward, output="logits")
    assert result.history[1].loss != retrain(plain, Split(*data), epochs=1).history[1].loss


def test_float_targets_of_a_loader_are_learned():
    torch.manual_seed(0)
    x = torch.rand(64, 4)
    y = x @ torch.tensor([[1.0], [2.0], [-1.0], [0.5]])
    emulated = axopt.prepare(nn.Linear(4, 1), [x])
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    result = retrain(emulated, loader, epochs=10, lr=0.1, weight_decay=0.0)
    assert result.history[-1].loss < 0.2 * result.history[1].loss


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"augment": True}, ArgumentError, r"`augment` must be a function.*got True"),
        ({"augment": "crop"}, ArgumentError, "`augment` must be a function.*got 'crop'"),
        ({"loss": "mse"}, ArgumentError, "`loss` must be a function.*got 'mse'"),
        ({"loss": lambda outputs, targets: 0.5}, ArgumentError, "`loss` must return.*got 0.5"),
        (
            {"loss": lambda outputs, targets: outputs.argmax(1)},
            ArgumentError,
            r"`loss` must return a tensor of floats.*got torch.int64 \[120\]",
        ),
        (
            {"loss": lambda outputs, targets: outputs.detach().mean()},
            ArgumentError,
            "`loss` must return what depends on the outputs",
        ),
        ({"teacher": "resnet"}, ArgumentError, "`teacher` must be a module, got str"),
        ({"validation": iter([])}, ArgumentError, "`validation`.*only once"),
        ({"validation": 3}, ArgumentError, "`validation` must be a data set"),
        ({"metric": lambda outputs, targets: targets}, ArgumentError, "higher_is_better"),
    ],
)
def test_arguments_are_checked(data, options, error, message):
    emulated = emulated_of(data, forward=forward, output="logits")
    before = [parameter.clone() for parameter in emulated.parameters()]
    with pytest.raises(error, match=message):
        retrain(emulated, Split(*data), epochs=1, batch_size=120, **options)
    assert all(map(torch.equal, before, emulated.parameters()))


def test_outputs_without_a_path_are_listed(data):
    emulated = emulated_of(data, forward=forward)
    with pytest.raises(ArgumentError, match=r"`output` must name.*'logits' \[\d+, 3\]"):
        retrain(emulated, Split(*data), epochs=1)


def test_a_loss_that_is_not_finite_stops_with_the_last_good_state(data):
    emulated = emulated_of(data, forward=forward, output="logits")
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        value = functional.cross_entropy(outputs, targets)
        return value * (float("nan") if len(calls) > 1 else 1)

    result = retrain(emulated, Split(*data), loss=loss, epochs=3, batch_size=120)
    assert (result.stopped, result.best_epoch) == ("nan", 1)


def test_targets_that_no_default_loss_takes_say_so(data):
    emulated = emulated_of(data, forward=forward, output="logits")
    batches = [(data[0], {"classes": data[1]})]
    masks = data[1][:, None, None]
    for targets in ({"classes": data[1]}, masks, data[1].float()):
        with pytest.raises(DatasetError, match="`loss="):
            retrain(emulated, [(data[0], targets)], epochs=1)
    chosen = retrain(
        emulated,
        batches,
        epochs=1,
        loss=lambda outputs, targets: functional.cross_entropy(outputs, targets["classes"]),
    )
    assert chosen.stopped == "epochs"


def test_a_float_model_is_refused(data, tmp_path):
    for call in (
        lambda: retrain(Mixed(), Split(*data), epochs=1),
        lambda: axopt.save_retrained(Mixed(), tmp_path),
        lambda: axopt.load_retrained_(Mixed(), tmp_path),
    ):
        with pytest.raises(ArgumentError, match="`emulated` must be a model made by"):
            call()
