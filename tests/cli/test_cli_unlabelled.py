"""``axopt search`` on samples without labels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

WORDS = ("--data", "npz:own.npz", "--multipliers", "mul8s_1KV8,mul8s_1KR3", "--budget", "2")


def _classifier():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def _filter():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))


@pytest.fixture
def words(tmp_path):
    """Write samples without labels and two models; return the words for each of these."""
    (tmp_path / "unlabelled_nets_for_tests.py").write_text(
        "from torch import nn\n\n\n"
        "def classifier():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(),"
        " nn.Linear(64, 3))\n\n\n"
        "def filter():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(),"
        " nn.Conv2d(4, 1, 3))\n"
    )
    torch.manual_seed(0)
    for name, made in (("classifier", _classifier()), ("filter", _filter())):
        torch.save(made.state_dict(), tmp_path / f"{name}.pt")
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x_train=images, x_test=images)
    return lambda name: (
        *("--model", f"unlabelled_nets_for_tests:{name}", "--weights", f"{name}.pt"),
        *WORDS,
    )


@pytest.mark.parametrize(("name", "metric"), [("classifier", "agreement"), ("filter", "distance")])
def test_a_metric_without_labels_is_reported_and_told(axopt, words, name, metric):
    done = axopt("search", *words(name), "--out", "run", "--json")
    assert done.code == 0, done.err
    told = (
        f"npz:own.npz has no labels: {metric} with the float network is reported in place of top1"
    )
    assert told in done.err
    assert f'metric = "{metric}"' in Path("run/run.toml").read_text()
    front = json.loads(done.out)["front"]
    assert all(np.isfinite(point["divergence"]) for point in front)
    assert axopt("search", "--resume", "--out", "run").code == 0


def test_a_metric_that_needs_labels_is_refused(axopt, words):
    done = axopt("search", *words("classifier"), "--metric", "top1", "--out", "run")
    assert done.code == 2
    assert "`--metric` top1 needs labels, which npz:own.npz does not have; agree" in done.err
