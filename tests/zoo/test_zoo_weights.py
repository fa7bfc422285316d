import io
import zipfile

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
        ({"state_dict": {"epoch": 3}}, "entry 'epoch' is int, no tensor"),
        ({"weights": {"0.weight": torch.zeros(1)}}, "entry 'weights' is dict, no tensor"),
    ],
)
def test_other_content_is_refused(content, message, model, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="w.pt") as raised:
        load_weights_(model, tmp_path / "w.pt")
    assert message in str(raised.value)


def changed(name, make):
    """A change of the state_dict that replaces the tensor ``name``."""

    def change(state):
        state[name] = make(state[name].clone())

    return change


def with_value(value):
    def make(tensor):
        tensor.view(-1)[-1] = value
        return tensor

    return make


def sparse(tensor):
    return tensor.to_sparse()


def nested(tensor):
    return torch.nested.nested_tensor(list(tensor))


@pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors",
    "ignore:Sparse CSR tensor support",
    "ignore:.*quantize_per_tensor",
    "ignore:TypedStorage is deprecated",
)
@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("1.weight", sparse, "'1.weight' is sparse (torch.sparse_coo)"),
        ("0.weight", lambda tensor: tensor.to_sparse_csr(), "'0.weight' is sparse"),
        ("1.weight", lambda tensor: tensor.to("meta"), "'1.weight' is on the device 'meta'"),
        ("0.weight", nested, "'0.weight' is a nested tensor"),
        ("1.weight", lambda tensor: tensor.to(torch.complex64), "complex (torch.complex64)"),
        (
            "0.weight",
            lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
            "'0.weight' is quantised",
        ),
        ("1.weight", with_value(float("nan")), "'1.weight' holds NaN."),
        ("1.running_var", with_value(float("inf")), "'1.running_var' holds infinity."),
        ("0.weight", lambda tensor: tensor.double() + 1e300, "'0.weight' holds infinity."),
        ("0.weight", lambda tensor: tensor.to(torch.int8), "is torch.int8 instead of torch.float"),
        ("1.num_batches_tracked", lambda tensor: tensor + 0.5, "is torch.float32 instead of"),
    ],
)
def test_unusual_tensors_are_named_and_nothing_is_loaded(name, make, message, model, tmp_path):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    changed(name, make)(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"w\.pt") as raised:
        load_weights_(model, tmp_path / "w.pt")
    assert message in str(raised.value)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_infinity_that_the_model_has_itself_is_kept(tmp_path):
    model = nn.Linear(1, 1)
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    load_weights_(model, tmp_path / "w.pt")
    torch.save({**model.state_dict(), "mask": torch.tensor([-torch.inf, 0.0])}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="'mask' holds infinity"):
        load_weights_(model, tmp_path / "w.pt")


def test_models_without_values_are_named(tmp_path):
    torch.save({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="'bias' of the model is on the device 'meta'"):
        load_weights_(nn.Linear(3, 2, device="meta"), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="'bias' of the model has no shape before its first call"):
        load_weights_(nn.LazyLinear(2), tmp_path / "w.pt")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_checkpoints_of_training_scripts_are_read_and_said(key, prefix, model, tmp_path, caplog):
    state = {prefix + name: value + 1 for name, value in model.state_dict().items()}
    torch.save({"epoch": 3, key: state, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    load_weights_(model, tmp_path / "w.pt")
    expected = {name.removeprefix(prefix): value for name, value in state.items()}
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(f"w.pt: the weights are its entry {key!r}" in message for message in messages)
    assert len(messages) == 1 + prefix.count(".")


def test_a_prefix_of_the_models_own_stays(tmp_path, caplog):
    model = nn.ModuleDict({"module": nn.Linear(1, 1)})
    torch.save(model.state_dict(), tmp_path / "w.pt")
    load_weights_(model, tmp_path / "w.pt")
    assert not caplog.records


def compressed(path):
    """Write the archive again with its records compressed."""
    content = path.read_bytes()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            new.writestr(info.filename, old.read(info), zipfile.ZIP_DEFLATED)


def test_compressed_records_are_refused(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "w.pt")
    compressed(tmp_path / "w.pt")
    with pytest.raises(ModelError, match="its records are compressed"):
        load_weights_(model, tmp_path / "w.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_that_make_byte_strings_are_refused(legacy, model, tmp_path):
    content = {**model.state_dict(), "x": bytearray(b"x")}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match="its pickle makes byte strings"):
        load_weights_(model, tmp_path / "w.pt")


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
