import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from axopt.errors import ModelError
from axopt.zoo import load_weights_


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def write(path, content):
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)


@pytest.fixture(params=["w.pt", "w.pth", "w.safetensors"])
def path(request, tmp_path):
    return tmp_path / request.param


def test_weights_are_loaded(model, path):
    state = {name: torch.full_like(value, 7) for name, value in model.state_dict().items()}
    write(path, state)
    load_weights_(model, path)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def without_bias(state):
    del state["0.bias"]


def with_more(state):
    state["2.weight"] = torch.zeros(1)


def with_other_shape(state):
    state["0.weight"] = torch.zeros(2, 4)


def with_nothing_right(state):
    state.clear()
    state.update({f"x{i}": torch.zeros(1) for i in range(5)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_bias, "missing '0.bias'."),
        (with_more, "unexpected '2.weight'."),
        (with_other_shape, "'0.weight' has shape (2, 4) instead of (2, 3)."),
        (with_nothing_right, "and 4 more; unexpected 'x0', 'x1', 'x2' and 2 more."),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(change, message, model, path):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    write(path, state)
    with pytest.raises(ModelError, match="weights do not fit Sequential") as raised:
        load_weights_(model, path)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "holds list, not a state_dict"),
        (torch.zeros(1), "holds Tensor, not a state_dict"),
        ({}, "holds dict, not a state_dict"),
        ({"epoch": 3}, "entry 'epoch' is int, no tensor"),
        ({0: torch.zeros(1)}, "entry 0 is Tensor"),
        ({"state_dict": {"0.weight": torch.zeros(1)}}, "entry 'state_dict' is dict, no tensor"),
    ],
)
def test_other_content_is_refused(content, message, model, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="w.pt") as raised:
        load_weights_(model, tmp_path / "w.pt")
    assert message in str(raised.value)


@pytest.mark.parametrize("damage", [b"", b"garbage" * 100, None])
def test_damaged_files_are_refused_in_one_line(damage, model, path):
    write(path, model.state_dict())
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    with pytest.raises(ModelError, match="cannot be read as weights") as raised:
        load_weights_(model, path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_pickled_code_never_runs(model, tmp_path):
    marker = tmp_path / "marker"
    torch.save({**model.state_dict(), "trap": Trap(marker)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="w.pt: cannot be read as weights"):
        load_weights_(model, tmp_path / "w.pt")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.pt", "no such file"), (".", "must be a"), ("weights.bin", "must be a")],
)
def test_paths_are_checked(name, message, model, tmp_path):
    with pytest.raises(ModelError, match=message):
        load_weights_(model, tmp_path / name)
