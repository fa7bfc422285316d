"""What a search evaluates first, and sensitivities: in the run, in the budget, on resuming."""

import json
import math

import pytest
import stripes

import axopt
from axopt.errors import ArgumentError, StoreError
from axopt.exploration import Algorithm
from axopt.exploration.algorithms import ALGORITHMS
from axopt.sensitivities import Sensitivity

NAMES = ["mul8s_1KV8", "mul8s_1L1G", "mul8s_1L2D", "mul8s_1KR3"]
BUDGET = 25


@pytest.fixture(scope="module")
def data():
    return stripes.make_data((120, 60, 30), contrast=0.25)


@pytest.fixture(scope="module")
def model(data):
    return stripes.trained_net(data, steps=80)


@pytest.fixture(scope="module")
def emulated(model, data):
    return axopt.prepare(model, data.train.batches(50))


@pytest.fixture
def by_sensitivity():
    """An algorithm that proposes what sensitivities promise, one point at a time."""

    class Promising(Algorithm):
        uses_sensitivities = True
        known = None

        def ask(self):
            Promising.known = self.space.known_of(0)
            drawn = [self.unseen.draw() for _ in range(2)]
            return [] if None in drawn else [min(drawn, key=Promising.known.estimate)]

        def tell(self, genes, objectives):
            pass

    ALGORITHMS.add("promising", Promising)
    yield Promising
    ALGORITHMS.remove("promising")


def search(emulated, data, **options):
    defaults = {"library": NAMES, "budget": BUDGET, "population": 6, "correct": False}
    return axopt.search(emulated, data, **(defaults | options))


def test_sensitivities_are_measured_kept_and_paid_for(emulated, data, tmp_path, by_sensitivity):
    result = search(emulated, data, algorithm="promising", sensitivity_samples=30, out=tmp_path)
    found = result.sensitivities
    assert found == Sensitivity.load(tmp_path)
    assert found == axopt.sensitivity(
        emulated, data, library=NAMES, samples=30, correct=False, around=found.around
    )
    assert by_sensitivity.known == found.known()
    cost = math.ceil(found.evaluations * 30 / 60)
    assert 0 < cost < BUDGET
    assert len(result.outcome.trials) == BUDGET - cost
    assert f"cost as much as {cost} evaluations" in result.record.remarks[0]


def test_a_resumed_search_has_the_same_sensitivities(
    emulated, data, tmp_path, by_sensitivity, monkeypatch
):
    options = {"algorithm": "promising", "sensitivity_samples": 30}
    whole = search(emulated, data, budget=30, out=tmp_path / "whole", **options)
    out = tmp_path / "resumed"
    search(emulated, data, budget=18, out=out, **options)
    monkeypatch.setattr("axopt.study.seeding.sensitivity_of", None)  # it is not measured again
    resumed = search(emulated, data, budget=30, out=out, resume=True, **options)
    assert resumed.sensitivities == whole.sensitivities
    assert [t.genes for t in resumed.outcome.trials] == [t.genes for t in whole.outcome.trials]
    with pytest.raises(StoreError, match="`sensitivity samples` is 30 in the store and 20 now"):
        search(emulated, data, out=out, resume=True, **{**options, "sensitivity_samples": 20})


def test_a_small_budget_has_sensitivities_on_fewer_samples(emulated, data, by_sensitivity):
    options = {"algorithm": "promising", "sensitivity_samples": 60}
    result = search(emulated, data, budget=8, **options)
    assert 8 <= result.sensitivities.samples < 60
    assert len(result.outcome.trials) >= 4
    with pytest.raises(ArgumentError, match="`budget` must be at least . for the sensitivities"):
        search(emulated, data, budget=1, seeds="sensitivity", **options)
    without = search(emulated, data, budget=1, **options)
    assert without.sensitivities is None
    assert "too small for sensitivities" in " ".join(without.record.notes)


def test_an_exhaustive_search_needs_no_sensitivities(emulated, data, by_sensitivity):
    result = search(emulated, data, algorithm="promising", library=NAMES[:2], budget=8)
    assert result.sensitivities is None
    assert result.outcome.exhaustive


def test_other_algorithms_begin_with_uniform_assignments(emulated, data, by_sensitivity):
    result = search(emulated, data, algorithm="random", budget=6)
    assert [t.genes for t in result.outcome.trials[:4]] == [(n,) * 3 for n in range(4)]
    assert result.sensitivities is None
    seeded = search(emulated, data, algorithm="promising", seeds="uniform")
    assert [t.genes for t in seeded.outcome.trials[:4]] == [(n,) * 3 for n in range(4)]
    assert seeded.sensitivities is not None


def test_any_algorithm_can_begin_with_what_sensitivities_predict(emulated, data):
    result = search(emulated, data, algorithm="random", seeds="sensitivity", budget=40)
    known = result.sensitivities.known()
    n = 10
    seeds = [trial.genes for trial in result.outcome.trials[:n]]
    estimates = [known.estimate(genes) for genes in seeds]
    powers = [trial.objectives[1] for trial in result.outcome.trials[:n]]
    assert powers == sorted(powers)
    assert estimates == sorted(estimates, reverse=True)
    both = search(emulated, data, algorithm="random", seeds="both", budget=40)
    genes = [trial.genes for trial in both.outcome.trials]
    assert genes[:4] == [(n,) * 3 for n in range(4)]
    assert set(seeds) <= set(genes)


def test_assignments_of_earlier_runs_are_seeds(emulated, data, tmp_path):
    search(emulated, data, budget=20, out=tmp_path / "first")
    folder = tmp_path / "first" / "assignments"
    files = sorted(folder.iterdir())
    numbers = {name: n for n, name in enumerate(f"v1/{name}" for name in NAMES)}
    expected = [
        tuple(
            numbers[layer["multiplier"]] for layer in json.loads(f.read_text())["layers"].values()
        )
        for f in files
    ]
    options = {"algorithm": "random", "seeds": [tmp_path / "first"], "out": tmp_path / "second"}
    search(emulated, data, budget=10, **options)
    for file in files:  # a resumed search does not need them
        file.unlink()
    second = search(emulated, data, budget=14, resume=True, **options)
    seeds = [trial.genes for trial in second.outcome.trials[: len(files)]]
    assert {_keys(genes) for genes in seeds} == {
        tuple(list(numbers)[n] for n in genes) for genes in expected
    }
    with pytest.raises(StoreError, match="`seeds`"):
        search(emulated, data, budget=14, resume=True, **{**options, "seeds": "uniform"})


def _keys(genes):
    options = axopt.study.options_of(NAMES, False)
    return tuple(options[gene].multiplier.key for gene in genes)


def test_seeds_that_do_not_fit_are_refused(emulated, data, tmp_path):
    search(emulated, data, budget=20, out=tmp_path / "first")
    file = sorted((tmp_path / "first" / "assignments").iterdir())[-1]
    document = json.loads(file.read_text())
    layer = next(iter(document["layers"]))
    other = axopt.load_library()["mul8s_1KVL"]
    document["layers"][layer].update(multiplier=other.key, digest=other.digest)
    (tmp_path / "other.json").write_text(json.dumps(document))
    with pytest.raises(ArgumentError, match=f"other.json: the layer '{layer}' has {other.key}"):
        search(emulated, data, seeds=tmp_path / "other.json")
    del document["layers"][layer]
    (tmp_path / "less.json").write_text(json.dumps(document))
    with pytest.raises(ArgumentError, match=f"has no multiplier for the layer '{layer}'"):
        search(emulated, data, seeds=tmp_path / "less.json")
    with pytest.raises(ArgumentError, match="`seeds` must be uniform, sensitivity, both, a run"):
        search(emulated, data, seeds="unifrom")
    with pytest.raises(ArgumentError, match="holds no assignments of a search"):
        search(emulated, data, seeds=tmp_path)
    with pytest.raises(ArgumentError, match="`seeds` must be uniform, .*, or a list of these"):
        search(emulated, data, seeds=[""])
    with pytest.raises(ArgumentError, match="`sensitivity_samples` must be an integer >= 1"):
        search(emulated, data, sensitivity_samples=0)
