"""Searches whose candidates are corrected."""

import json

import numpy as np
import pytest

import axopt
from axopt.corrections import NONE, Corrections
from axopt.errors import ArgumentError, StoreError
from axopt.problem.problem import AssignmentProblem
from axopt.study import options_of

NAMES = ["mul8s_1KV8", "mul8s_1KTY", "mul8s_1L1G"]


@pytest.fixture(scope="module")
def data():
    return axopt.load_data("digits")


@pytest.fixture(scope="module")
def emulated(data):
    return axopt.prepare(axopt.create_model("digits_cnn"), [data.train.take(128).inputs])


def search(emulated, data, **options):
    options = {"library": NAMES, "budget": 10, "population": 6, "seed": 3, **options}
    return axopt.search(emulated, data, validation_samples=150, test_samples=60, **options)


def problem(emulated, data, operand_order=False, **options):
    split = data.validation.take(150)
    return AssignmentProblem(emulated, split, options_of(NAMES, operand_order), **options)


def test_identity_says_what_is_corrected_and_from_what(emulated, data):
    found = {
        name: problem(emulated, data, correct=correct).identity()
        for name, correct in {
            "all": True,
            "again": Corrections(),
            "some": Corrections(activation_codes=False),
            "off": False,
            "none": NONE,
        }.items()
    }
    assert found["all"] == found["again"]
    assert found["off"] == found["none"]
    assert "activation_codes" in found["all"]["corrections"]
    assert "activation_codes" not in found["some"]["corrections"]
    assert found["off"]["corrections"] is None
    json.dumps(found)
    other = axopt.prepare(axopt.create_model("digits_cnn"), [data.train.take(100).inputs])
    assert problem(other, data).identity()["calibration"] != found["all"]["calibration"]
    with pytest.raises(ArgumentError, match="`correct`"):
        problem(emulated, data, correct="yes")


def test_resuming_with_other_corrections_is_refused(emulated, data, tmp_path):
    search(emulated, data, out=tmp_path, budget=4)
    for correct in (False, Corrections(gain=False)):
        with pytest.raises(StoreError, match=r"`corrections.*` is"):
            search(emulated, data, out=tmp_path, budget=5, resume=True, correct=correct)
    assert search(emulated, data, out=tmp_path, budget=5, resume=True).outcome.n_evaluated == 1


def hypervolume(front):
    """Area of error and power that the front leaves to better points, up to 100 % and 1."""
    points = sorted((p.rel_power, 100 - p.validation.value) for p in front)
    area, error = 0.0, 100.0
    for power, lost in points:
        area += max(error - lost, 0) * (1 - power)
        error = min(error, lost)
    return area


def test_corrected_front_is_at_least_as_good(emulated, data):
    corrected, raw = (search(emulated, data, correct=correct) for correct in (True, False))
    assert hypervolume(corrected.record.front) > hypervolume(raw.record.front)
    uniform = [{p.label: p.quality for p in r.record.uniform} for r in (corrected, raw)]
    assert uniform[0]["v1/mul8s_1L1G"] > uniform[1]["v1/mul8s_1L1G"] + 20


def test_points_of_the_front_reproduce_their_quality(emulated, data, tmp_path):
    result = search(emulated, data, out=tmp_path)
    fresh = axopt.prepare(axopt.create_model("digits_cnn"), [data.train.take(20).inputs])
    for row in result.front.itertuples():
        axopt.assign_(fresh, axopt.Assignment.load(tmp_path / row.assignment))
        assert axopt.evaluate(fresh, data.test.take(60)).value == row.quality


def test_orders_that_are_genes_stay(emulated, data):
    ordered = problem(emulated, data, operand_order=True)
    free = problem(emulated, data)
    layers = len(ordered.space.names)
    for gene, option in enumerate(ordered.options):
        ordered.candidate((gene,) * layers).apply_(emulated)
        assert {info.swap for info in emulated.layers()} == {option.swap}
    raw_order = next(i for i, c in enumerate(free.options) if c.multiplier.name == "mul8s_1KTY")
    free.candidate((raw_order,) * layers).apply_(emulated)
    assert True in {info.swap for info in emulated.layers()}  # which option 0 of ordered forbids
    off = problem(emulated, data, correct=False)
    off.candidate((raw_order,) * layers).apply_(emulated)
    assert {info.swap for info in emulated.layers()} == {False}
    assert all(layer.correction is None for layer in emulated.emulated_layers.values())


def test_evaluating_twice_gives_the_same(emulated, data):
    p = problem(emulated, data)
    rng = np.random.default_rng(0)
    genes = [tuple(rng.integers(0, 3, len(p.space.names)).tolist()) for _ in range(3)]
    first = [p.evaluate(g).objectives for g in genes]
    assert [p.evaluate(g).objectives for g in reversed(genes)] == first[::-1]
