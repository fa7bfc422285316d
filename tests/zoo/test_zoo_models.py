import re
from pathlib import Path

import pytest
import torch
from torch import nn

from axopt import zoo
from axopt.data import load_data
from axopt.data.polarity import vocabulary
from axopt.errors import ArgumentError, ModelError
from axopt.evaluation import METRICS, evaluate
from axopt.zoo import (
    MODELS,
    create_model,
    default_data,
    list_models,
    model_card,
    register_model,
    task_metric,
)
from axopt.zoo.mnist import LATENT
from axopt.zoo.sentiment import WORDS

WEIGHTS = Path(zoo.__file__).parent / "weights"
MAX_WEIGHTS_BYTES = 5_000_000


SHIPPED = (
    "densenet_small",
    "digits_cnn",
    "digits_small",
    "lstm_sentiment",
    "mnist_cnn",
    "mnist_gan",
    "mobilenetv2_small",
    "resnet20",
    "resnet8",
    "squeezenet_small",
    "vgg_small",
    "vit_small",
)

COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.LSTM, nn.MultiheadAttention)


def sample_of(name):
    """One input of a model."""
    if name == "lstm_sentiment":
        return torch.ones(1, 48, dtype=torch.int64)
    shapes = dict.fromkeys(("digits_cnn", "digits_small"), (1, 1, 8, 8))
    shapes |= {"mnist_cnn": (1, 1, 28, 28), "mnist_gan": (1, 42)}
    return torch.zeros(shapes.get(name, (1, 3, 32, 32)))


def layer_macs(model, sample):
    """Multiply-accumulates of one input, by layer name."""
    macs = {}

    def count(layer, inputs, output, name):
        if isinstance(layer, nn.LSTM):
            matrices = sum(
                weight.numel() for n, weight in layer.named_parameters() if "weight" in n
            )
            macs[name] = inputs[0].shape[1] * matrices
            return
        if isinstance(layer, nn.MultiheadAttention):
            tokens, width = inputs[0].shape[1:]
            macs[name] = 4 * tokens * width**2 + 2 * tokens**2 * width
            return
        operand = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        macs[name] = operand[0].numel() * layer.weight[0].numel()

    for name, layer in model.named_modules():
        if isinstance(layer, COUNTED):
            layer.register_forward_hook(lambda *args, name=name: count(*args, name))
    model(sample)
    return macs


def test_models_are_listed_sorted():
    assert list_models() == list(SHIPPED)


@pytest.mark.parametrize(
    ("name", "parameters", "macs", "layers"),
    [
        ("digits_cnn", 32_602, 777_088, 7),
        ("digits_small", 1_438, 20_144, 8),
        ("resnet8", 75_290, 12_239_488, 8),
        ("resnet20", 269_722, 40_551_040, 20),
        ("squeezenet_small", 251_850, 41_836_544, 26),
        ("densenet_small", 238_186, 49_049_492, 21),
        ("vit_small", 810_890, 57_017_600, 20),
        ("lstm_sentiment", 643_778, 3_145_984, 2),
        ("mnist_cnn", 47_610, 1_196_928, 5),
        ("mnist_gan", 131_941, 3_005_856, 5),
    ],
)
def test_models_have_the_size_that_their_cards_say(name, parameters, macs, layers):
    model = create_model(name, pretrained=False)
    assert sum(p.numel() for p in model.parameters()) == parameters
    counted = layer_macs(model, sample_of(name))
    assert len(counted) == layers
    assert sum(counted.values()) == macs


@pytest.mark.parametrize("name", SHIPPED)
def test_cards_state_what_the_models_are(name):
    card = model_card(name)
    model = create_model(name)
    assert f"{sum(p.numel() for p in model.parameters()):,}" in card
    assert f"{sum(layer_macs(model, sample_of(name)).values()):,}" in card
    for word in ("Data", "Split", "Recipe", "Licence"):
        assert f"| {word}" in card
    assert "| Accuracy (float) |" in card or "| Quality (float) |" in card


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_small(name):
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < MAX_WEIGHTS_BYTES


@pytest.mark.parametrize("model_name", ["digits_cnn", "digits_small"])
@torch.no_grad()
def test_digits_networks_are_as_accurate_as_their_cards_say(model_name):
    model, data = create_model(model_name), load_data(default_data(model_name))
    card = model_card(model_name)
    for name, split in (("validation", data.validation), ("test", data.test)):
        correct = int((model(split.inputs).argmax(1) == split.targets).sum())
        assert f"{name} {100 * correct / len(split):.2f} %" in card


@pytest.mark.parametrize(
    ("name", "data", "metrics"),
    [
        ("lstm_sentiment", "polarity:{}/rt-polarity", ("f1", "top1")),
        ("mnist_cnn", "idx:{}/mnist", ("top1",)),
        ("mnist_gan", "latents", ("frechet", "recognised")),
    ],
)
def test_models_are_as_good_as_their_cards_say(name, data, metrics, request):
    folder = request.getfixturevalue("shared_data") if "{" in data else ""
    data = load_data(data.format(folder))
    model, card = create_model(name), model_card(name)
    for metric in metrics:
        for split in ("validation", "test"):
            value = evaluate(model, data, metric, split=split).value
            assert re.search(rf"{split} {value:.2f}\b", card), (metric, split, value)


def test_models_name_the_metric_of_their_task():
    metrics = {name: task_metric(name) for name in list_models(pretrained=False)}
    assert set(metrics.values()) <= set(METRICS)
    assert metrics["resnet8"] == "top1"
    assert metrics["lstm_sentiment"] == "f1"
    assert metrics["mnist_gan"] == "frechet"


def test_the_words_are_those_of_the_reader():
    assert WORDS == max(vocabulary().values()) + 1
    assert load_data("latents").train.stored.shape[1] == LATENT


@torch.no_grad()
def test_padding_behind_a_sentence_matters_only_to_what_reads_backwards():
    """Positions of padding are left out of the maximum."""
    model = create_model("lstm_sentiment", pretrained=False)
    words = torch.tensor([[5, 6, 7, 0, 0, 0]])
    states, _ = model.lstm(model.embedding(words))
    assert torch.allclose(model(words), model.fc(states[:, :3].amax(1)))


@torch.no_grad()
def test_attention_mixes_patches_and_positions_tell_them_apart():
    torch.manual_seed(0)
    model = create_model("vit_small", pretrained=False)
    images = torch.rand(2, 3, 32, 32)
    assert model(images).shape == (2, 10)
    assert not torch.allclose(model(images), model(images.flip(3)), atol=1e-4)
    other = images.clone()
    other[:, :, :4, :4] = 0
    seen = [
        model.blocks[0](model.embed(model.normalize(x)).flatten(2).transpose(1, 2))
        for x in (images, other)
    ]
    assert not torch.allclose(seen[0][:, 1:], seen[1][:, 1:])


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
    with pytest.raises(ModelError, match="got 'resnet9'; did you mean 'resnet8'"):
        function("resnet9")
    with pytest.raises(ModelError, match="known are densenet_small, digits_cnn, digits_small"):
        function("vgg")


def test_only_data_without_a_path_are_a_default():
    assert default_data("digits_cnn") == "digits"
    assert default_data("mnist_gan") == "latents"
    assert default_data("resnet8") is None


@pytest.fixture
def registered():
    """A model of the zoo without weights and without a card."""
    register_model("bare")(lambda: nn.Linear(1, 1))
    yield "bare"
    MODELS.remove("bare")


def test_missing_weights_and_cards_are_named(registered):
    assert isinstance(create_model(registered, pretrained=False), nn.Linear)
    with pytest.raises(ModelError, match=r"weights/bare\.safetensors: no such file"):
        create_model(registered)
    with pytest.raises(ModelError, match=r"cards/bare\.md: model 'bare' has no card"):
        model_card(registered)


@pytest.mark.parametrize("name", ["resnet8", "../evil", "a:b", ""])
def test_model_names_are_new_identifiers(name):
    with pytest.raises(ArgumentError, match="`name` must be a new"):
        register_model(name)(lambda: nn.Linear(1, 1))
