"""The loop on the digits network: it learns, stops, resumes and never leaves a mess."""

import contextlib
import math
from itertools import chain

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import axopt
import axopt.evaluation
from axopt.data import Augmentation, Split
from axopt.errors import ArgumentError, CheckpointError, DatasetError
from axopt.layers import Gradient, Shares
from axopt.model import current_assignment
from axopt.retraining import Recipe, retrain, trainer
from axopt.retraining.state import ModelState


@pytest.fixture(scope="module")
def data():
    return axopt.load_data("digits")


@pytest.fixture(scope="module")
def model():
    return axopt.create_model("digits_cnn")


@pytest.fixture
def emulated(data, model):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    emulated = axopt.prepare(model, data.train.take(128).batches(64))
    axopt.assign_(emulated, "mul8s_1L1G")
    yield emulated
    torch.set_num_threads(threads)


@pytest.fixture
def train(data):
    return data.train.take(200)


def state_of(emulated):
    """Everything that decides what the model computes, as comparable bytes."""
    values = ModelState.of(emulated).as_values()
    scales = chain.from_iterable(chain.from_iterable(values["scales"].values()))
    return [tensor.numpy().tobytes() for tensor in chain(values["tensors"].values(), scales)]


def test_accuracy_lost_to_a_rough_multiplier_comes_back(emulated, data, model):
    before = axopt.evaluate(emulated, data).value
    calls = []
    result = retrain(
        emulated,
        data,
        epochs=2,
        teacher=model,
        augment=Augmentation(1),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert before < 70
    assert axopt.evaluate(emulated, data).value > 95
    assert [epoch.epoch for epoch in result.history] == [0, 1, 2]
    assert result.stopped == "epochs"
    assert calls == [(i + 1, 18) for i in range(18)]
    best = max(result.history, key=lambda epoch: epoch.validation)
    assert result.history[result.best_epoch].validation == best.validation
    assert axopt.evaluate(emulated, data.validation).value == best.validation
    assert result.records()[1]["loss"] == result.history[1].loss
    assert not any(p.grad is not None for p in emulated.parameters())


@pytest.mark.parametrize("gradient", ["ste", "slopes", "table"])
@pytest.mark.parametrize("learn_steps", [False, True])
def test_an_assignment_stores_what_was_learned(
    emulated, train, gradient, learn_steps, model, data
):
    formats = {n: layer.quantisation() for n, layer in emulated.emulated_layers.items()}
    retrain(emulated, train, epochs=1, gradient=gradient, learn_steps=learn_steps, lr=0.01)
    for name, layer in emulated.emulated_layers.items():
        moved = layer.quantisation().activation.scale != formats[name].activation.scale
        assert bool(moved) == learn_steps
        assert layer.steps is None
        assert layer.shares is None
        assert layer.gradient == Gradient()
    other = axopt.prepare(model, data.train.take(64).batches(64))
    other.load_state_dict(emulated.state_dict())
    text = current_assignment(emulated).to_json()
    axopt.assign_(other, axopt.Assignment.from_json(text))
    x = train.inputs[:20]
    with torch.no_grad():
        assert torch.equal(other(x), emulated(x))


class KilledError(Exception):
    pass


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_resumed_run_ends_as_one_never_stopped(
    emulated, train, data, model, killed_after, tmp_path, monkeypatch
):
    options = {
        "epochs": 3,
        "validation": data.validation.take(60),
        "augment": Augmentation(1),
        "teacher": model,
        "lr": 3e-3,
    }
    start = ModelState.of(emulated)
    whole = retrain(emulated, train, **options)
    expected = state_of(emulated)
    start.restore(emulated)

    saved = []

    def save_then_die(path, state):
        save(path, state)
        saved.append(path)
        if len(saved) == killed_after:
            raise KilledError

    save = trainer.save_checkpoint
    monkeypatch.setattr(trainer, "save_checkpoint", save_then_die)
    file = tmp_path / "c.pt"
    with pytest.raises(KilledError):
        retrain(emulated, train, checkpoint=file, **options)
    torch.rand(3)  # the state of the global generator is of no account
    result = retrain(emulated, train, checkpoint=file, resume=True, **options)
    assert result == whole
    assert state_of(emulated) == expected


def test_a_data_loader_resumes_too(emulated, train, tmp_path):
    pairs = TensorDataset(train.stored[:100], train.targets[:100])
    start = ModelState.of(emulated)

    def once(**options):
        loader = DataLoader(pairs, 50, shuffle=True)
        start.restore(emulated)
        result = retrain(emulated, loader, epochs=2, **options)
        return result, state_of(emulated)

    whole = once(checkpoint=tmp_path / "c.pt")
    torch.manual_seed(99)
    assert once() == whole
    assert once(checkpoint=tmp_path / "c.pt", resume=True) == whole
    assert once(seed=1) != whole


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(emulated, train, tmp_path):
    file = tmp_path / "c.pt"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        retrain(emulated, train, epochs=1, checkpoint=file, resume=True)
    start = ModelState.of(emulated)
    retrain(emulated, train, epochs=1, checkpoint=file)
    start.restore(emulated)
    with pytest.raises(CheckpointError, match="its lr is 0.001"):
        retrain(emulated, train, epochs=1, lr=0.1, checkpoint=file, resume=True)
    with pytest.raises(CheckpointError, match="its train"):
        retrain(emulated, train.take(50), epochs=1, checkpoint=file, resume=True)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        retrain(emulated, train, epochs=1, checkpoint=file, resume=True)
    with pytest.raises(ArgumentError, match="`resume`"):
        retrain(emulated, train, epochs=1, resume=True)


def test_nan_stops_and_keeps_the_last_good_state(emulated, train):
    """A loss that is not a number in the second pass: the state is that after the first."""
    passes = []

    class Poisoned:
        def __iter__(self):
            passes.append(1)
            yield from train.batches(100)

        def __len__(self):
            return 2

    def augment(x, generator):
        if len(passes) == 2:
            with torch.no_grad():
                next(p for p in emulated.parameters() if p.ndim == 1).fill_(math.inf)
        return x

    once = ModelState.of(emulated)
    result = retrain(emulated, Poisoned(), epochs=3, augment=augment)
    assert (result.stopped, result.best_epoch, len(result.history)) == ("nan", 1, 2)
    kept = state_of(emulated)
    once.restore(emulated)
    passes.clear()
    # The same first pass of three, stopped by hand
    with pytest.raises(KilledError):
        retrain(emulated, Poisoned(), epochs=3, augment=stop_in_second(passes, kept, emulated))


def stop_in_second(passes, kept, emulated):
    def augment(x, generator):
        if len(passes) == 2:
            assert state_of(emulated) == kept
            raise KilledError
        return x

    return augment


def test_nan_at_once_leaves_the_model_as_it_was(emulated, train):
    before = state_of(emulated)
    bad = [(torch.full_like(x, math.nan), y) for x, y in train.batches(100)]
    with torch.no_grad():
        emulated.emulated_layers["fc"].bias[0] = math.nan
    poisoned = state_of(emulated)
    result = retrain(emulated, bad, epochs=2)
    assert (result.stopped, result.best_epoch) == ("nan", 0)
    assert before != poisoned
    assert state_of(emulated) == poisoned


def test_patience_stops_and_the_best_state_is_kept(emulated, train, data):
    result = retrain(
        emulated, train, epochs=9, validation=data.validation.take(50), lr=10.0, patience=2
    )
    assert result.stopped == "patience"
    assert len(result.history) == result.best_epoch + 3


def test_slopes_are_weighted_by_the_operands_at_the_start(emulated, train):
    layers = emulated.emulated_layers.values()
    expected = [Shares.of(layer) for layer in layers]
    found = []
    retrain(
        emulated,
        train,
        epochs=1,
        progress=lambda done, total: found.append([layer.shares for layer in layers]),
    )
    assert found == [expected] * len(found) != []


def test_an_error_leaves_the_model_as_it_was(emulated, train):
    before = state_of(emulated)

    def broken():
        yield from train.batches(50)
        raise KilledError

    with pytest.raises(KilledError):
        retrain(emulated, broken(), epochs=1)
    assert state_of(emulated) == before
    assert all(layer.steps is None for layer in emulated.emulated_layers.values())


def test_any_iterable_of_batches_will_do(emulated, train):
    """uint8 and float, batches of unlike sizes, an empty one, no length, targets of int32."""

    class Mixed:
        def __iter__(self):
            x, y = train.stored[:120], train.targets[:120]
            pixels = (x * 255).to(torch.uint8) if x.is_floating_point() else x
            yield pixels[:70], y[:70]
            yield pixels[70:71].float() / 255, y[70:71].int()
            yield pixels[:0], y[:0]
            yield [pixels[71:], y[71:]]

    calls = []
    result = retrain(emulated, Mixed(), epochs=2, progress=lambda *done: calls.append(done))
    assert calls[-1][1] == 8
    assert len(result.history) == 3
    result = retrain(emulated, iter(Mixed()), epochs=1)
    assert result.stopped == "epochs"


def test_a_long_gradient_is_shortened(emulated, train):
    start = ModelState.of(emulated)
    states = []
    for limit in (None, 1e-9):
        start.restore(emulated)
        retrain(emulated, train, epochs=1, max_grad_norm=limit)
        states.append(state_of(emulated))
    assert states[0] != states[1]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"epochs": 0}, "`epochs`"),
        ({"epochs": 1, "lr": float("nan")}, "`lr`"),
        ({"epochs": 1, "gradient": "exact"}, "`gradient`"),
        ({"epochs": 1, "gradient": 3}, "`gradient`"),
        ({"epochs": 1, "distillation": 1.5}, "`distillation`"),
        ({"epochs": 1, "batch_size": True}, "`batch_size`"),
        ({"epochs": 1, "patience": 0}, "`patience`"),
        ({"epochs": 1, "rate": 0.1}, "`rate`"),
        ({}, "`epochs`"),
    ],
)
def test_wrong_options_are_named(emulated, train, options, named):
    before = state_of(emulated)
    with pytest.raises(ArgumentError, match=named):
        retrain(emulated, train, **options)
    assert state_of(emulated) == before


def test_wrong_data_is_refused(emulated, train):
    x, y = train.inputs, train.targets
    with pytest.raises(ArgumentError, match="only once"):
        retrain(emulated, iter([(x, y)]), epochs=2)
    with pytest.raises(ArgumentError, match="`train`"):
        retrain(emulated, 3, epochs=1)
    with pytest.raises(ArgumentError, match="no samples"):
        retrain(emulated, [], epochs=1)
    for bad in (x, (x, y[:3]), (x, y.float()), (x, y + 5)):
        with pytest.raises(DatasetError):
            retrain(emulated, [bad], epochs=1)
    with pytest.raises(DatasetError, match="`teacher`"):
        retrain(emulated, train, epochs=1, teacher=nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    for parameter in emulated.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ArgumentError, match="requires gradients"):
        retrain(emulated, train, epochs=1)


def test_the_learning_rate_rises_and_falls():
    recipe = Recipe(epochs=1, warm_up=0.25)
    assert recipe.lr_factor(0.125) == 0.5
    assert recipe.lr_factor(0.25) == 1
    assert recipe.lr_factor(0.625) == pytest.approx(0.5)
    assert recipe.lr_factor(1) == pytest.approx(0)
    assert Recipe(epochs=1, warm_up=0).lr_factor(0) == 1


def test_splits_of_uint8_and_float_train_alike(emulated, data):
    pixels = (data.train.take(100).inputs * 255).to(torch.uint8)
    targets = data.train.take(100).targets
    start = ModelState.of(emulated)
    states = []
    for stored in (pixels, pixels.float() / 255):
        start.restore(emulated)
        retrain(emulated, Split(stored, targets), epochs=1)
        states.append(state_of(emulated))
    assert states[0] == states[1]


@pytest.fixture
def unlabelled(emulated, data, model):
    """The digits with the float model's logits instead of classes."""
    return axopt.evaluation.against(model, data)


def test_outputs_of_the_float_model_are_learned(emulated, unlabelled):
    result = retrain(emulated, unlabelled, metric="distance", epochs=2, lr=1e-3)
    distances = [epoch.validation for epoch in result.history]
    assert distances[0] > 50
    assert min(distances) < 0.5 * distances[0]
    assert distances[result.best_epoch] == min(distances)
    assert axopt.evaluate(emulated, unlabelled.validation, "distance").value == min(distances)


def test_outputs_that_do_not_fit_are_refused(emulated, unlabelled, model):
    with pytest.raises(DatasetError, match="without a teacher"):
        retrain(emulated, unlabelled.train, epochs=1, teacher=model)
    wrong = Split(unlabelled.train.stored, unlabelled.train.targets[:, :9])
    with pytest.raises(DatasetError, match=r"shape of the model's, \[\d+, 10\]"):
        retrain(emulated, wrong, epochs=1)
    with pytest.raises(ArgumentError, match="`metric` must be a known metric, got 'auc'"):
        retrain(emulated, unlabelled.train, epochs=1, metric="auc")


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_what_the_caller_does_not_track_is_trained_all_the_same(mode):
    def trained(around):
        torch.manual_seed(0)
        with around():  # model and batches are made in it too
            x = torch.rand(32, 4)
            batches = [(x, (x[:, 0] > x[:, 1]).long())]
            teacher = nn.Linear(4, 2)
            emulated = axopt.prepare(nn.Linear(4, 2), [x])
            axopt.assign_(emulated, "mul8s_1L2D")
            return retrain(emulated, batches, epochs=2, validation=batches, teacher=teacher)

    assert trained(mode) == trained(contextlib.nullcontext)
