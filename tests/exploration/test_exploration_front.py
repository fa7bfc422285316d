import itertools

import moocore
import numpy as np
import pytest
from grid import each
from pymoo.indicators.hv import HV

from axopt.errors import ArgumentError
from axopt.exploration import hypervolume, non_dominated


def brute_force_front(points):
    """The definition: keep i unless some j dominates it, or equals it and comes first."""
    kept = []
    for i, p in enumerate(points):
        worse = any((q <= p).all() and (q < p).any() for q in points)
        repeated = any((q == p).all() for q in points[:i])
        kept.append(not worse and not repeated)
    return np.array(kept)


def brute_force_volume(points, reference):
    """Unit cells of an integer grid that lie above some point."""
    cells = itertools.product(*(range(int(r)) for r in reference))
    return sum(any((p <= cell).all() for p in points) for cell in map(np.array, cells))


@each("seed", range(100))
def test_non_dominated_is_the_definition(seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 8, size=(rng.integers(0, 40), rng.integers(1, 5))).astype(float)
    np.testing.assert_array_equal(non_dominated(points), brute_force_front(points))


@each("seed", range(100))
def test_hypervolume_counts_the_cells_of_a_grid(seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 4))
    points = rng.integers(0, 7, size=(rng.integers(0, 15), m)).astype(float)
    reference = rng.integers(4, 7, size=m).astype(float)
    assert hypervolume(points, reference) == brute_force_volume(points, reference)


@each("m", [2, 3, 4])
@each("seed", range(10))
def test_front_and_hypervolume_equal_moocore_and_pymoo(seed, m):
    points = np.random.default_rng(seed).random((60, m))
    reference = np.full(m, 0.9)
    np.testing.assert_array_equal(non_dominated(points), moocore.is_nondominated(points))
    volume = hypervolume(points, reference)
    assert volume == pytest.approx(moocore.hypervolume(points, ref=reference), rel=1e-12)
    assert volume == pytest.approx(HV(ref_point=reference)(points), rel=1e-12)


def test_first_of_equal_points_is_kept():
    points = [(2.0, 2.0), (1.0, 3.0), (1.0, 3.0), (2.0, 2.0)]
    assert non_dominated(points).tolist() == [True, True, False, False]


def test_no_points():
    assert non_dominated(np.empty((0, 2))).shape == (0,)
    assert hypervolume(np.empty((0, 2)), (1.0, 1.0)) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused(bad):
    points = [(0.0, 1.0), (bad, 0.0)]
    with pytest.raises(ArgumentError, match="`F` must be finite, row 1"):
        non_dominated(points)
    with pytest.raises(ArgumentError, match="`F` must be finite, row 1"):
        hypervolume(points, (2.0, 2.0))
    with pytest.raises(ArgumentError, match="`reference` must be finite"):
        hypervolume([(0.0, 1.0)], (2.0, bad))


def test_wrong_shapes_are_refused():
    with pytest.raises(ArgumentError, match=r"`F` must have shape \(n, m\)"):
        non_dominated([1.0, 2.0])
    with pytest.raises(ArgumentError, match=r"`reference` must have shape \(2,\)"):
        hypervolume([(0.0, 1.0)], (2.0, 2.0, 2.0))
