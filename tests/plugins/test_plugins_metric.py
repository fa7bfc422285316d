"""Metrics from outside the package: one file, one registration.

As CONTRIBUTING.md, "A new metric", tells it. Segmentation is scored by its mean intersection over
union, regression by its root mean square error; both are prepared, evaluated, searched and
retrained.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import axopt
from axopt.cli import main
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError
from axopt.evaluation import METRICS, measure, paired_drop

FAST = ("--no-correct", "--calibration-samples", "32", "--threads", "1")
ROOT = Path(__file__).resolve().parents[2]
CLASSES = 3


def confusion(logits, masks):
    """Pixels of every pair of true and predicted class, ``(N, CLASSES * CLASSES)``."""
    pairs = masks * CLASSES + logits.argmax(1)
    return torch.stack([torch.bincount(p.flatten(), minlength=CLASSES**2) for p in pairs])


def mean_iou(counts):
    table = counts.sum(0).double().view(CLASSES, CLASSES)
    union = table.sum(0) + table.sum(1) - table.diag()
    return float(100 * (table.diag() / union)[union > 0].mean())


def squared_errors(outputs, targets):
    return (outputs - targets).square().flatten(1).mean(1)


@pytest.fixture
def metrics():
    axopt.register_metric(
        "miou", confusion, mean_iou, title="Mean IoU", unit="%", higher_is_better=True
    )
    axopt.register_metric(
        "rmse",
        squared_errors,
        lambda squares: float(squares.mean().sqrt()),
        title="RMSE",
        unit="K",
        higher_is_better=False,
    )
    yield
    METRICS.remove("miou")
    METRICS.remove("rmse")


class Segmenter(nn.Module):
    """A logit for every class and pixel, beside an output of no interest."""

    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, CLASSES, 1)

    def forward(self, x):
        features = torch.relu(self.features(x))
        return {"masks": self.head(features), "features": features}


def segmentation(rng):
    """Blurred squares of two grey values; the mask is where they are."""
    masks = np.zeros((60, 12, 12), np.uint8)
    for index, mask in enumerate(masks):
        row, column = rng.integers(0, 7, 2)
        mask[row : row + 5, column : column + 5] = 1 + index % 2
    images = (masks * 0.4 + rng.normal(0, 0.05, masks.shape)).astype(np.float32)[:, None]
    splits = [Split(images[i::3], masks[i::3]) for i in range(3)]
    return Dataset("squares", "squares", *splits, ("none", "dark", "bright"))


def regression(rng):
    x = rng.normal(size=(240, 5))
    y = (x @ rng.normal(size=(5, 2))).astype(np.float32)
    return Dataset("line", "line", *(Split(x[i::3], y[i::3]) for i in range(3)), ())


def trained(model, data, loss, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(data.train.inputs), data.train.targets).backward()
        optimizer.step()
    return model.eval()


def test_segmentation_end_to_end(metrics, rng):
    torch.manual_seed(0)
    data = segmentation(rng)
    model = trained(
        Segmenter(), data, lambda o, t: functional.cross_entropy(o["masks"], t), steps=80
    )
    emulated = axopt.prepare(model, data.train.batches(10), output="masks")
    exact = measure(emulated, data, "miou")
    assert exact.evaluation.value > 75
    assert exact.evaluation.low < exact.evaluation.value < exact.evaluation.high
    result = axopt.search(
        emulated,
        data,
        library=["mul8s_1KV8", "mul8s_1L2D", "mul8s_1KR3"],
        metric="miou",
        correct=False,
        budget=6,
        population=4,
    )
    assert (result.record.metric, result.record.unit) == ("miou", "%")
    assert result.record.higher_is_better
    axopt.assign_(emulated, "mul8s_1KR3", correct=False)
    rough = measure(emulated, data, "miou")
    drop = paired_drop("miou", rough.samples, exact.samples)
    assert drop.value == pytest.approx(exact.evaluation.value - rough.evaluation.value)
    options = {"epochs": 3, "batch_size": 5, "lr": 0.03, "gradient": "ste"}
    axopt.retrain(emulated, data, metric="miou", loss=functional.cross_entropy, **options)
    assert axopt.evaluate(emulated, data, "miou").value > rough.evaluation.value


def test_regression_end_to_end(metrics, rng):
    torch.manual_seed(0)
    data = regression(rng)
    network = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
    model = trained(network, data, functional.mse_loss, steps=150)
    emulated = axopt.prepare(model, data.train.batches(40))
    exact = measure(emulated, data, "rmse")
    outputs = emulated(data.test.inputs).detach()
    expected = (outputs - data.test.targets).square().mean().sqrt()
    assert exact.evaluation.value == pytest.approx(float(expected), rel=1e-5)
    library = ["mul8s_1KV8", "mul8s_1L1G", "mul8s_1KR3"]
    settings = {"algorithm": "nsga2", "correct": False, "budget": 6, "population": 4}
    result = axopt.search(emulated, data, library=library, metric="rmse", **settings)
    assert not result.record.higher_is_better
    assert min(point.quality for point in result.record.front) < 2 * exact.evaluation.value
    axopt.assign_(emulated, "mul8s_1KR3", correct=False)
    rough = measure(emulated, data, "rmse")
    drop = paired_drop("rmse", rough.samples, exact.samples)
    assert 0 < drop.low < drop.value < drop.high
    axopt.retrain(emulated, data, metric="rmse", epochs=3, lr=0.01, gradient="ste")
    assert axopt.evaluate(emulated, data, "rmse").value < rough.evaluation.value


def test_a_name_is_taken_once(metrics):
    with pytest.raises(ArgumentError, match="new metric, got 'rmse'"):
        axopt.register_metric("rmse", squared_errors, higher_is_better=False)
    with pytest.raises(ArgumentError, match="new metric, got 'top1'"):
        axopt.register_metric("top1", squared_errors, higher_is_better=False)


PLUGIN = """
import axopt
from torch import nn

axopt.register_metric(
    "margin",
    lambda logits, targets: logits.topk(2, 1).values.diff(dim=1).abs()[:, 0],
    title="Margin",
    higher_is_better=True,
)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = axopt.create_model("digits_cnn")

    def forward(self, x):
        return {"logits": self.net(x)}
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder as pip leaves it: a module, and the metadata of a package that offers it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "axopt_margin.py").write_text(PLUGIN, "utf-8")
    info = tmp_path / "axopt_margin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: axopt-margin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[axopt.metrics]\nmargin = axopt_margin\n")
    yield tmp_path
    if sys.modules.pop("axopt_margin", None):
        METRICS.remove("margin")


@pytest.fixture
def command(capsys):
    """Run a command in this process; return its exit code and what it printed."""

    def call(*words):
        capsys.readouterr()
        return main([*words]), *capsys.readouterr()

    return call


def test_an_installed_metric_reaches_the_command_line(installed, command):
    words = [
        "--multiplier",
        "mul8s_1KV8",
        "--epochs",
        "1",
        "--train-samples",
        "60",
        "--gradient",
        "ste",
    ]
    words += ["--json"]
    words += ["--validation-samples", "30", "--test-samples", "30", "--metric", "margin", *FAST]
    code, out, err = command("retrain", "--out", "run", *words)
    assert code == 0, err
    assert json.loads(out)["after"]["metric"] == "margin"
    code, out, err = command("evaluate", "--assignment", "run/assignment.json", "--json")
    assert code == 0, err
    assert json.loads(out)["quality"]["metric"] == "margin"


def test_the_module_of_a_factory_registers_its_metric_and_an_output_is_named(installed, command):
    (installed / "axopt_margin-1.0.dist-info" / "entry_points.txt").unlink()
    words = ["--model", "axopt_margin:Named", "--data", "digits", "--metric", "margin"]
    words += ["--budget", "2", "--multipliers", "mul8s_1KV8,mul8s_1L2H", "--out", "run", "--json"]
    words += ["--validation-samples", "30", "--test-samples", "30", *FAST]
    code, out, err = command("search", *words, "--output", "logits")
    assert code == 0, err
    point = "run/assignments/point-00.json"
    source = json.loads((installed / point).read_text("utf-8"))["model"]
    assert source["output"] == "logits"
    model = ["--model", "axopt_margin:Named"]
    code, out, err = command("evaluate", "--assignment", point, *model, "--json")
    assert code == 0, err
    assert json.loads(out)["quality"]["metric"] == "margin"


def test_help_lists_it_without_importing_it(installed):
    (installed / "axopt_margin.py").write_text("raise RuntimeError('imported')", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "axopt", "search", "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "distance, margin" in " ".join(done.stdout.split())


def test_unknown_metrics_are_one_line(installed, command):
    code, out, err = command("search", "--metric", "margn", "--out", "run")
    assert (code, out) == (2, "")
    assert "`--metric` must be a known metric, got 'margn'; did you mean 'margin'" in err


def test_an_entry_point_that_is_no_metric_is_said(installed):
    (installed / "axopt_margin.py").write_text("other = 3", "utf-8")
    (installed / "axopt_margin-1.0.dist-info" / "entry_points.txt").write_text(
        "[axopt.metrics]\nmargin = axopt_margin:other\n"
    )
    with pytest.raises(ArgumentError, match="'margin' comes from an entry point.*got int"):
        axopt.evaluate(nn.Identity(), [(torch.eye(2), torch.arange(2))], "margin")
