from pathlib import Path

import pytest
import torch
from torch import nn

from axopt import zoo
from axopt.data import load_data
from axopt.errors import ArgumentError, ModelError
from axopt.zoo import create_model, default_data, list_models, model_card, register_model

WEIGHTS = Path(zoo.__file__).parent / "weights"
MAX_WEIGHTS_BYTES = 5_000_000


SHIPPED = ("digits_cnn", "resnet8", "resnet20")


def layer_macs(model, sample):
    """Multiply-accumulates of one input, by layer name."""
    macs = {}

    def count(layer, _, output, name):
        macs[name] = output[0].numel() * layer.weight[0].numel()

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda *args, name=name: count(*args, name))
    model(sample)
    return macs


def test_models_are_listed_sorted():
    assert list_models() == ["digits_cnn", "resnet20", "resnet8"]


@pytest.mark.parametrize(
    ("name", "parameters", "macs", "layers"),
    [
        ("digits_cnn", 32_602, 777_088, 7),
        ("resnet8", 75_290, 12_239_488, 8),
        ("resnet20", 269_722, 40_551_040, 20),
    ],
)
def test_models_have_the_size_that_their_cards_say(name, parameters, macs, layers):
    model = create_model(name, pretrained=False)
    assert sum(p.numel() for p in model.parameters()) == parameters
    shape = (1, 1, 8, 8) if name == "digits_cnn" else (1, 3, 32, 32)
    counted = layer_macs(model, torch.zeros(shape))
    assert len(counted) == layers
    assert sum(counted.values()) == macs


@pytest.mark.parametrize("name", SHIPPED)
def test_cards_state_what_the_models_are(name):
    card = model_card(name)
    model = create_model(name)
    assert f"{sum(p.numel() for p in model.parameters()):,}" in card
    shape = (1, 1, 8, 8) if name == "digits_cnn" else (1, 3, 32, 32)
    assert f"{sum(layer_macs(model, torch.zeros(shape)).values()):,}" in card
    for word in ("Data", "Split", "Recipe", "Accuracy", "Licence"):
        assert f"| {word}" in card


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_small(name):
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < MAX_WEIGHTS_BYTES


@torch.no_grad()
def test_digits_cnn_is_as_accurate_as_its_card_says():
    model, data = create_model("digits_cnn"), load_data(default_data("digits_cnn"))
    card = model_card("digits_cnn")
    for name, split in (("validation", data.validation), ("test", data.test)):
        correct = int((model(split.inputs).argmax(1) == split.targets).sum())
        assert f"{name} {100 * correct / len(split):.2f} %" in card


def test_models_are_in_evaluation_mode():
    assert not any(module.training for module in create_model("digits_cnn").modules())
    assert not create_model("resnet8", pretrained=False).training


def test_initial_weights_come_from_the_seed():
    def first_weight(seed):
        torch.manual_seed(seed)
        return next(create_model("resnet8", pretrained=False).parameters())

    assert torch.equal(first_weight(3), first_weight(3))
    assert not torch.equal(first_weight(3), first_weight(4))


@pytest.mark.parametrize("function", [create_model, model_card, default_data])
def test_unknown_models_list_near_misses(function):
    with pytest.raises(ModelError, match="unknown model 'resnet9'; did you mean 'resnet8'"):
        function("resnet9")
    with pytest.raises(ModelError, match="models: digits_cnn, resnet20, resnet8"):
        function("vgg")


def test_only_data_without_a_path_are_a_default():
    assert default_data("digits_cnn") == "digits"
    assert default_data("resnet8") is None


@pytest.fixture
def registered(monkeypatch):
    """A model of the zoo without weights and without a card."""
    from axopt.zoo import registry

    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    register_model("bare")(lambda: nn.Linear(1, 1))
    return "bare"


def test_missing_weights_and_cards_are_named(registered):
    assert isinstance(create_model(registered, pretrained=False), nn.Linear)
    with pytest.raises(ModelError, match=r"weights/bare\.safetensors: no such file"):
        create_model(registered)
    with pytest.raises(ModelError, match=r"cards/bare\.md: model 'bare' has no card"):
        model_card(registered)


@pytest.mark.parametrize("name", ["resnet8", "../evil", "a:b", ""])
def test_model_names_are_new_identifiers(name):
    with pytest.raises(ArgumentError, match="`name` must be a new identifier"):
        register_model(name)
