"""The default search: `auto`, with sensitivities in the budget."""

import pytest
import stripes

import axopt
from axopt.errors import ArgumentError
from axopt.study import SearchConfig, load_run

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L2D", "mul8s_1KTY", "mul8s_1L1G", "mul8s_1KR3"]
"""216 points in three layers: more than the budgets here."""


@pytest.fixture(scope="module")
def data():
    return stripes.make_data((120, 60, 90), contrast=0.25)


@pytest.fixture(scope="module")
def emulated(data):
    return axopt.prepare(stripes.trained_net(data, steps=80), data.train.batches(50))


def search(emulated, data, **options):
    defaults = {"library": NAMES, "correct": False, "sensitivity_samples": 20, "budget": 40}
    return axopt.search(emulated, data, **(defaults | options))


def test_the_default_search_is_auto_with_200_evaluations():
    config = SearchConfig()
    assert (config.algorithm, config.evaluations) == ("auto", 200)
    assert SearchConfig(algorithm="nsga2").evaluations == 500
    assert SearchConfig(algorithm="additive", budget=7).evaluations == 7


def test_sensitivities_are_kept_with_the_run_and_count(emulated, data, tmp_path):
    result = search(emulated, data, out=tmp_path)
    files = {"study.sqlite", "record.json", "front.csv", "pareto.png", "report.html", "run.toml"}
    files |= {"history.png", "search.log", "assignments"}
    assert files <= {path.name for path in tmp_path.iterdir()}
    assert {"sensitivity.csv", "sensitivity.json"} <= {path.name for path in tmp_path.iterdir()}
    cost = 15 * 20 / 60  # changes x samples / validation samples; reused layers cost less
    assert 40 - cost <= len(result.outcome.trials) < 40
    remarks = " ".join(result.record.remarks)
    assert "Sensitivities on 20 validation samples" in remarks
    assert "rank correlation" in remarks
    assert load_run(tmp_path).front.equals(result.front)


@pytest.mark.parametrize("after", [1, 13, 25])
def test_an_interrupted_search_goes_on_as_if_never_stopped(emulated, data, tmp_path, after):
    def stop(trial):
        if trial.number == after - 1:
            raise KeyboardInterrupt

    whole = search(emulated, data)
    with pytest.raises(KeyboardInterrupt):
        search(emulated, data, out=tmp_path, on_trial=stop)
    resumed = search(emulated, data, out=tmp_path, resume=True)
    assert resumed.outcome.n_evaluated == len(whole.outcome.trials) - after
    genes = [trial.genes for trial in whole.outcome.trials]
    assert [trial.genes for trial in resumed.outcome.trials] == genes
    assert resumed.front.equals(whole.front)


def test_a_budget_too_small_for_sensitivities_is_said(emulated, data):
    result = search(emulated, data, budget=2)
    assert len(result.outcome.trials) == 2
    assert "too small for sensitivities" in " ".join(result.record.notes)
    with pytest.raises(ArgumentError, match="`budget` must be at least"):
        search(emulated, data, budget=2, algorithm="additive")


def test_a_small_space_is_searched_exhaustively(emulated, data):
    for algorithm in ("auto", "additive"):
        result = search(emulated, data, algorithm=algorithm, library=NAMES[:2], budget=8)
        assert (result.record.algorithm, len(result.outcome.trials)) == ("exhaustive", 8)
