"""Genetic algorithms: what survives a generation."""

import subprocess
import sys

import numpy as np
import pytest

from axopt.exploration import Store, create_algorithm, hypervolume, run_search
from axopt.exploration.testing import TinyProblem

GENETIC = ["nsga2", "unsga3", "sms-emoa", "age-moea2"]

PYMOOS_OWN = """
import sys, types, numpy as np
numba = types.ModuleType("numba")  # pymoo's loops are the same without a compiler
numba.jit = lambda **options: lambda function: function
numba.float64, numba.intp, numba.boolean = np.float64, np.intp, np.bool_
sys.modules["numba"] = numba
from pymoo.algorithms.moo.age2 import AGEMOEA2Survival
survival, results = AGEMOEA2Survival(), {}
for name, front in np.load(sys.argv[1]).items():
    scores, p, scale = survival.survival_score(front.copy(), front.min(0))
    scaled = (front - front.min(0)) / scale
    results |= {name + "p": p, name + "scale": scale}
    results[name + "distances"] = survival.pairwise_distances(scaled, p)
np.savez(sys.argv[2], **results)
"""


def test_shape_and_distances_of_age_moea2_are_those_of_pymoo(tmp_path, rng):
    """Scores differ: pymoo divides a distance by the norm of the point chosen before."""
    from axopt.exploration.age_survival import front_scores, geodesics

    fronts = {}
    for objectives, exponent in ((2, 0.5), (2, 1.0), (3, 2.0)):
        directions = rng.random((25, objectives)) + 1e-3
        front = directions / (directions**exponent).sum(1, keepdims=True) ** (1 / exponent)
        fronts[f"{exponent}"] = (front * rng.uniform(1, 9, objectives) + 2).round(12)
    np.savez(tmp_path / "fronts.npz", **fronts)
    files = [str(tmp_path / "fronts.npz"), str(tmp_path / "expected.npz")]
    subprocess.run([sys.executable, "-c", PYMOOS_OWN, *files], check=True, timeout=60)
    expected = np.load(tmp_path / "expected.npz")
    for name, front in fronts.items():
        scores, scale, p = front_scores(front - front.min(0))
        assert p == pytest.approx(float(expected[name + "p"]), rel=1e-6)
        np.testing.assert_allclose(scale, expected[name + "scale"], rtol=1e-9)
        distances = geodesics((front - front.min(0)) / scale, p)
        np.testing.assert_allclose(distances, expected[name + "distances"], 1e-6, 1e-7)
        assert np.isinf(scores).sum() == front.shape[1]  # the corners


def test_scores_of_age_moea2_are_distances_to_the_two_nearest_points():
    from axopt.exploration.age_survival import front_scores

    at = np.array([0, 0.5, 0.5, 1])
    scores, scale, p = front_scores(np.stack([at, 1 - at], 1))
    np.testing.assert_allclose([*scale, p], 1)
    assert np.isinf(scores[[0, 3]]).all()  # the corners
    np.testing.assert_allclose(sorted(scores[1:3]), [0.5**0.5, 2**0.5])  # the copy comes later


@pytest.mark.parametrize("front", [[[0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 3.0]] * 3])
def test_scores_of_few_or_equal_points_are_not_nan(front):
    from axopt.exploration.age_survival import front_scores

    scores, scale, p = front_scores(np.array(front))
    assert not np.isnan(scores).any()
    assert (scale > 0).all()
    assert p > 0


@pytest.mark.parametrize("name", GENETIC)
@pytest.mark.parametrize("n_objectives", [1, 3])
def test_any_number_of_objectives(name, n_objectives, capfd):
    problem = TinyProblem((5, 1, 7, 3))
    algorithm = create_algorithm(
        name, problem.space, n_objectives=n_objectives, population=2, seed=1
    )
    proposed = []
    while len(proposed) < 40:
        batch = algorithm.ask()
        proposed += batch
        values = [(*problem.evaluate(genes).objectives, genes[0] ** 0.5) for genes in batch]
        algorithm.tell(batch, np.array(values)[:, :n_objectives])
    assert len(proposed) == len(set(proposed))
    assert capfd.readouterr() == ("", "")  # pymoo prints if there are too many directions


@pytest.mark.parametrize("name", GENETIC[1:])
def test_most_of_the_front_is_found_with_few_points(name):
    problem = TinyProblem((6, 6, 6, 6, 6))
    reference = (100.0, 16.0)
    algorithm = create_algorithm(name, problem.space, n_objectives=2)
    seeds = [(choice,) * 5 for choice in range(6)]
    outcome = run_search(problem, algorithm, Store.in_memory(), budget=500, seeds=seeds)
    found = hypervolume([t.objectives for t in outcome.front], reference)
    assert found >= 0.95 * hypervolume(list(problem.true_front()), reference)
