import itertools
import sys

import pytest
import torch
from torch import nn

from axopt.errors import ModelError
from axopt.zoo import load_model

SOURCE = """
import torch
from torch import nn

def linear():
    return nn.Linear(2, 1)

def needs_argument(width):
    return nn.Linear(width, 1)

def returns_text():
    return "model"

def fails():
    raise KeyError("two\\nlines")

class Net(nn.Sequential):
    pass

number = 3
"""

_counter = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module of the user in the current directory."""
    name = f"user_models_{next(_counter)}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_names_of_the_zoo_are_models_with_weights():
    a, b = load_model("digits_cnn"), load_model("digits_cnn")
    assert torch.equal(a.stem.conv.weight, b.stem.conv.weight)


def test_weights_replace_those_of_the_zoo(tmp_path):
    model = load_model("digits_cnn")
    state = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "zeros.pt")
    assert not load_model("digits_cnn", tmp_path / "zeros.pt").stem.conv.weight.any()


def test_factories_and_classes_of_the_current_directory_are_called(module):
    path = list(sys.path)
    assert isinstance(load_model(f"{module}:linear"), nn.Linear)
    assert isinstance(load_model(f"{module}:Net"), nn.Sequential)
    assert not load_model(f"{module}:linear").training
    assert sys.path == path


def test_weights_are_loaded_into_the_users_model(module, tmp_path):
    torch.save({"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.ones(1)}, tmp_path / "w.pt")
    model = load_model(f"{module}:linear", tmp_path / "w.pt")
    assert model.weight.tolist() == [[3, 4]]
    with pytest.raises(ModelError, match="missing.pt: no such file"):
        load_model(f"{module}:linear", tmp_path / "missing.pt")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("needs_argument", "'needs_argument' failed: TypeError: needs_argument() missing 1"),
        ("returns_text", "must return an nn.Module, returned str."),
        ("fails", "'fails' failed: KeyError: "),
        ("number", "is not callable."),
        ("linaer", "does not exist."),
        ("", "must be package.module:factory"),
    ],
)
def test_bad_factories_are_explained_in_one_line(factory, message, module):
    with pytest.raises(ModelError, match=module) as raised:
        load_model(f"{module}:{factory}")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import not_installed_at_all", "ModuleNotFoundError: No module named 'not_installed"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_modules_that_fail_are_named(source, message, tmp_path, monkeypatch):
    name = f"broken_{next(_counter)}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=f"module '{name}' cannot be imported") as raised:
        load_model(f"{name}:f")
    assert message in str(raised.value)


@pytest.mark.parametrize("spec", ["no_such_module_here:f", ":f", ".relative:f", "a..b:f"])
def test_bad_module_names_are_refused(spec):
    with pytest.raises(ModelError):
        load_model(spec)
