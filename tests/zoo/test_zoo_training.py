"""The loop in studies/ that the zoo's weights come from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from axopt.data import Split


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    from studies import training

    return training


@pytest.fixture
def recipe(training):
    return training.Recipe(
        epochs=3, batch=4, lr=0.1, weight_decay=1e-4, padding=1, mirror=True, bfloat16=False
    )


@pytest.fixture
def split():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (14, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(14) % 10)


def states_equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["digits_cnn", "lstm_sentiment"])  # the latter has dropout
def test_an_interrupted_training_ends_in_the_same_weights(training, recipe, split, tmp_path, name):
    if name == "lstm_sentiment":
        recipe = replace(recipe, padding=0, mirror=False)
        split = Split(torch.arange(14 * 5).view(14, 5), torch.arange(14) % 2)
    whole = training.Trainer(name, split, recipe)
    for _ in range(recipe.epochs):
        whole.train_epoch()
    first = training.Trainer(name, split, recipe)
    first.train_epoch()
    first.save_checkpoint(tmp_path / "c.pt")
    second = training.Trainer(name, split, recipe)
    second.load_checkpoint(tmp_path / "c.pt")
    while second.epoch < recipe.epochs:
        second.train_epoch()
    assert states_equal(whole.model.state_dict(), second.model.state_dict())
    assert not states_equal(whole.model.state_dict(), first.model.state_dict())


def test_a_checkpoint_of_another_recipe_is_refused(training, recipe, split, tmp_path):
    training.Trainer("digits_cnn", split, recipe).save_checkpoint(tmp_path / "c.pt")
    other = training.Trainer("digits_cnn", split, replace(recipe, lr=0.2))
    with pytest.raises(ValueError, match="another recipe|of recipe"):
        other.load_checkpoint(tmp_path / "c.pt")


def test_numbers_of_words_are_trained_on_as_they_are(training, recipe):
    words = torch.randint(0, 9000, (14, 48), generator=torch.Generator().manual_seed(1))
    texts = Split(words, torch.arange(14) % 2)
    recipe = replace(recipe, optimizer="adamw", lr=0.02, padding=0, mirror=False, epochs=25)
    trainer = training.Trainer("lstm_sentiment", texts, recipe)
    losses = [trainer.train_epoch() for _ in range(recipe.epochs)]
    assert losses[-1] < 0.5 * losses[0]


def test_strided_depthwise_layers_stay_out_of_autocast(training, recipe):
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    recipe = replace(recipe, bfloat16=True)
    trainer = training.Trainer("mobilenetv2_small", Split(images, torch.arange(4)), recipe)
    seen = {}
    for name, layer in trainer.model.named_modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.groups > 1:
            layer.register_forward_hook(
                lambda _, __, y, n=name, s=layer.stride: seen.update({n: (s, y.dtype)})
            )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trainer.model(torch.rand(2, 3, 32, 32))
    assert {(stride, dtype) for stride, dtype in seen.values()} == {
        ((1, 1), torch.bfloat16),
        ((2, 2), torch.float32),
    }


def test_an_interrupted_gan_ends_in_the_same_weights(training, tmp_path):
    from studies.train_zoo.gan import GanTrainer

    images = torch.randint(0, 256, (128, 1, 28, 28), dtype=torch.uint8)
    real = Split(images, torch.arange(128) % 10)
    whole = GanTrainer(real, epochs=2, seed=3)
    whole.train_epoch()
    whole.save_checkpoint(tmp_path / "c.pt")
    whole.train_epoch()
    second = GanTrainer(real, epochs=2, seed=3)
    second.load_checkpoint(tmp_path / "c.pt")
    assert not states_equal(whole.mean.state_dict(), second.mean.state_dict())
    second.train_epoch()
    assert states_equal(whole.mean.state_dict(), second.mean.state_dict())


def test_the_loop_writes_weights_that_load_again(training, recipe, split, tmp_path, capsys):
    from axopt.data import Dataset
    from axopt.zoo import load_model

    data = Dataset("d", "d", split, split, split, tuple("0123456789"))
    training.train_and_save("digits_cnn", data, recipe, tmp_path)
    printed = capsys.readouterr().out
    assert printed.count("epoch") == recipe.epochs
    model = load_model("digits_cnn", tmp_path / "digits_cnn.safetensors")
    assert f"test {training.accuracy_pct(model, split):.2f} %" in printed
