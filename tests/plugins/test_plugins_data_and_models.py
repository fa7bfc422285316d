"""A data reader and a zoo model from outside the package: one file, one registration each."""

import sys
from importlib import metadata

import pytest
import torch

import axopt
from axopt import registry
from axopt.data import READERS, list_readers
from axopt.zoo import MODELS, list_models, load_weights_, task_metric

READER = """
import torch
from axopt.data import Dataset, Split, register_reader

@register_reader("ramps")
def read_ramps(path, *, size: int = 12) -> Dataset:
    values = torch.tensor([float(line) for line in path.read_text().split()])
    samples = torch.arange(float(size))[:, None] * values
    split = Split(samples, torch.arange(size) % 2)
    return Dataset("ramps", f"ramps:{path}", split, split, split, ("even", "odd"))
"""
MODEL = """
from pathlib import Path
from torch import nn
from axopt.zoo import register_model

@register_model("line", metric="f1", weights=Path(__file__).with_name("line.pt"))
def line():
    return nn.Linear(3, 2)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with a reader and a model with trained weights."""
    (tmp_path / "plugin_of_ramps.py").write_text(READER)
    (tmp_path / "plugin_of_line.py").write_text(MODEL)
    torch.save({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, tmp_path / "line.pt")
    points = [
        metadata.EntryPoint("ramps", "plugin_of_ramps:read_ramps", "axopt.readers"),
        metadata.EntryPoint("line", "plugin_of_line:line", "axopt.models"),
    ]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [p for p in points if p.group == group]
    )
    yield
    for name, values in (("ramps", READERS), ("line", MODELS)):
        if sys.modules.pop(f"plugin_of_{name}", None):
            values.remove(name)


@pytest.mark.usefixtures("installed")
def test_the_reader_of_a_package_reads_with_its_options(tmp_path):
    (tmp_path / "steps.txt").write_text("1 2 3")
    assert "ramps" in list_readers()
    data = axopt.load_data(f"ramps:{tmp_path / 'steps.txt'}", size=20)
    assert data.train.stored[2].tolist() == [2.0, 4.0, 6.0]
    assert len(data.test) == 20


@pytest.mark.usefixtures("installed")
def test_the_model_of_a_package_has_its_weights_and_metric():
    assert "line" in list_models()
    assert axopt.create_model("line").weight.tolist() == [[1.0] * 3] * 2
    assert task_metric("line") == "f1"
    model = axopt.create_model("line", pretrained=False)
    load_weights_(model, MODELS["line"].weights)
    assert model.bias.tolist() == [0.0, 0.0]
