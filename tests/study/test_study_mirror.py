"""Evaluations are copied into a storage of Optuna, and a failure of it stops no search."""

import optuna
import pytest
import stripes

import axopt
from axopt.errors import ArgumentError

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L1G"]


@pytest.fixture(scope="module")
def data():
    return stripes.make_data((120, 60, 30), contrast=0.25)


@pytest.fixture
def emulated(data):
    return axopt.prepare(stripes.trained_net(data, steps=20), data.train.batches(50))


def search(emulated, data, **options):
    defaults = {"library": NAMES, "budget": 4, "algorithm": "random", "correct": False}
    return axopt.search(emulated, data, **(defaults | options))


def mirrored(url):
    (name,) = optuna.get_all_study_names(url)
    return name, optuna.load_study(study_name=name, storage=url).trials


def test_a_resumed_search_mirrors_what_is_missing_and_nothing_twice(emulated, data, tmp_path):
    out, url = tmp_path / "run", f"sqlite:///{tmp_path / 'trials.db'}"
    search(emulated, data, out=out, budget=2)
    search(emulated, data, out=out, budget=3, resume=True, mirror=url)
    result = search(emulated, data, out=out, budget=4, resume=True, mirror=url)
    name, trials = mirrored(url)
    assert name.startswith("run ")
    assert [trial.user_attrs["number"] for trial in trials] == [0, 1, 2, 3]
    for ours, theirs in zip(result.outcome.trials, trials, strict=True):
        assert theirs.values == list(ours.objectives)
        assert theirs.params == {
            layer: f"v1/{NAMES[gene]}" for layer, gene in zip("025", ours.genes, strict=True)
        }
        assert theirs.user_attrs["quality"] == ours.info["quality"]["value"]
        assert theirs.user_attrs["rel_power"] == ours.info["rel_power"]
    assert "trials.db" not in (out / "run.toml").read_text()


def test_a_failure_is_one_warning_and_the_search_goes_on(
    emulated, data, tmp_path, monkeypatch, caplog
):
    def fail(self, trial):
        raise OSError("the disk is full")

    monkeypatch.setattr(optuna.Study, "add_trial", fail)
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    result = search(emulated, data, mirror=url)
    assert len(result.outcome.trials) == 4
    assert caplog.text.count("the disk is full") == 1
    assert mirrored(url)[1] == []


@pytest.mark.parametrize("url", ["trials", "sqlite:////no/such/folder/x.db", "nothing://x", ""])
def test_a_wrong_url_is_refused_before_anything_is_written(emulated, data, tmp_path, url):
    with pytest.raises(ArgumentError, match="`mirror` must be the URL of a storage"):
        search(emulated, data, mirror=url, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
