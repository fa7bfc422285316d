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


def test_an_interrupted_training_ends_in_the_same_weights(training, recipe, split, tmp_path):
    whole = training.Trainer("digits_cnn", split, recipe)
    for _ in range(recipe.epochs):
        whole.train_epoch()
    first = training.Trainer("digits_cnn", split, recipe)
    first.train_epoch()
    first.save_checkpoint(tmp_path / "c.pt")
    second = training.Trainer("digits_cnn", split, recipe)
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


def test_the_loop_writes_weights_that_load_again(training, recipe, split, tmp_path, capsys):
    from axopt.data import Dataset
    from axopt.zoo import load_model

    data = Dataset("d", "d", split, split, split, tuple("0123456789"))
    training.train_and_save("digits_cnn", data, recipe, tmp_path)
    printed = capsys.readouterr().out
    assert printed.count("epoch") == recipe.epochs
    model = load_model("digits_cnn", tmp_path / "digits_cnn.safetensors")
    assert f"test {training.accuracy_pct(model, split):.2f} %" in printed
