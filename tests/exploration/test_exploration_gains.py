"""Gains of hypervolume, against the hypervolume of the front with each point."""

import numpy as np
import pytest

from axopt.exploration import hypervolume
from axopt.exploration.gains import FreeSpace


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("n_front", [0, 1, 12])
def test_gains_are_differences_of_hypervolumes(width, n_front, rng):
    front = rng.random((n_front, width)).round(1)  # equal values and dominated points too
    points = rng.random((30, width)).round(1) * 1.3
    corner = np.full(width, 0.9)
    gains = FreeSpace(front, corner).gains(points)
    before = hypervolume(front, corner)
    for point, gain in zip(points, gains, strict=True):
        assert gain == pytest.approx(hypervolume(np.vstack([front, point]), corner) - before)


def test_many_points_are_worked_on_in_parts(rng, monkeypatch):
    front, points = rng.random((20, 2)), rng.random((100, 2))
    expected = FreeSpace(front, np.ones(2)).gains(points)
    monkeypatch.setattr("axopt.exploration.gains._CELLS", 50)  # private: arrays of three rows
    np.testing.assert_array_equal(FreeSpace(front, np.ones(2)).gains(points), expected)
