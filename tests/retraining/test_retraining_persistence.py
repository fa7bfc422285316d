"""A retrained model saved and loaded is the same model, and nothing else gets in."""

import json

import pytest
import torch

import axopt
from axopt.errors import AssignmentError, ModelError, RunExistsError
from axopt.retraining import load_retrained_, retrain, save_retrained


@pytest.fixture(scope="module")
def data():
    return axopt.load_data("digits")


@pytest.fixture(scope="module")
def make(data):
    model = axopt.create_model("digits_cnn")

    def make(n=128):
        return axopt.prepare(model, data.train.take(n).batches(64))

    return make


@pytest.fixture(scope="module")
def retrained(make, data):
    emulated = make()
    axopt.assign_(emulated, {"fc": "mul8s_1L2D", "widen.conv": ("mul8s_1KTY", True)})
    retrain(emulated, data.train.take(200), epochs=1)
    return emulated


@pytest.fixture
def folder(retrained, tmp_path):
    save_retrained(retrained, tmp_path / "run", source={"model": "digits_cnn"})
    return tmp_path / "run"


def test_what_is_loaded_computes_the_same(retrained, folder, make, data):
    """Into a model calibrated on other samples, which the stored formats override."""
    x = data.test.inputs[:50]
    for path in (folder, folder / "assignment.json"):
        other = make(300)
        with torch.no_grad():
            assert not torch.equal(other(x), retrained(x))
            assignment = load_retrained_(other, path)
            assert torch.equal(other(x), retrained(x))
        assert assignment.model["model"] == "digits_cnn"
        assert other.digest == retrained.digest


def test_an_assignment_without_weights_is_assigned(make, tmp_path, data):
    emulated, other = make(), make()
    axopt.assign_(emulated, "mul8s_1L2D")
    from axopt.model import current_assignment

    current_assignment(emulated).save(tmp_path / "a.json")
    load_retrained_(other, tmp_path / "a.json")
    assert [i.multiplier for i in other.layers()] == [i.multiplier for i in emulated.layers()]


def test_nothing_is_overwritten_unasked(retrained, folder):
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(RunExistsError, match="exists"):
        save_retrained(retrained, folder)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    save_retrained(retrained, folder, force=True)


@pytest.mark.parametrize(
    "name", ["../weights.safetensors", "/etc/passwd", "a\\b", "C:x", "", "..", 3, ["w"]]
)
def test_weights_elsewhere_are_refused(folder, make, name):
    file = folder / "assignment.json"
    document = json.loads(file.read_text())
    document["model"]["retrained"] = name
    file.write_text(json.dumps(document))
    with pytest.raises(AssignmentError, match=r"`model\.retrained` must be the name"):
        load_retrained_(make(), file)


def test_weights_and_assignment_must_belong_together(retrained, folder, make, data, tmp_path):
    other = make()
    retrain(other, data.train.take(100), epochs=1)
    save_retrained(other, tmp_path / "other")
    (folder / "weights.safetensors").write_bytes(
        (tmp_path / "other" / "weights.safetensors").read_bytes()
    )
    fresh = make()
    x = data.test.inputs[:5]
    with torch.no_grad():
        before = fresh(x)
        with pytest.raises(AssignmentError, match="another model"):
            load_retrained_(fresh, folder)
        assert torch.equal(fresh(x), before)


def test_missing_and_damaged_weights_are_refused(folder, make):
    weights = folder / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_retrained_(make(), folder)
    weights.unlink()
    with pytest.raises(ModelError, match="no such file"):
        load_retrained_(make(), folder)
