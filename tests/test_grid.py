"""`each` runs every case, each as if it were a test of its own, and names the one that fails."""

import numpy as np
import pytest
from grid import each


@pytest.mark.parametrize("outer", [1, 2])
@each("inner", [3, 4])
def test_pytest_gives_the_other_parameters_and_the_fixtures(outer, inner, rng):
    assert (outer, inner) in {(1, 3), (1, 4), (2, 3), (2, 4)}
    assert rng.random() == np.random.default_rng(0).random()  # fresh in every case


def test_every_case_runs_once():
    seen = []

    @each("width, height", [(1, 1), (2, 3)])
    @each("name", "ab")
    def note(width, height, name):
        seen.append((width, height, name))

    note()
    assert seen == [(1, 1, "a"), (1, 1, "b"), (2, 3, "a"), (2, 3, "b")]


def test_an_error_names_its_case():
    @each("width, height", [(1, 1), (2, 3), (4, 4)])
    @each("name", ["good", "bad"])
    def fails(width, height, name):
        assert (height, name) != (3, "bad")

    with pytest.raises(AssertionError) as caught:
        fails()
    assert caught.value.__notes__ == ["case: name='bad'", "case: width=2, height=3"]


def test_a_grid_without_cases_is_an_error():
    with pytest.raises(ValueError, match="`cases` of size must not be empty"):
        each("size", [])


def test_cases_with_marks_are_an_error():
    """Their marks would be forgotten."""
    with pytest.raises(ValueError, match="`cases` of size must be plain values, not"):
        each("size", [pytest.param(1, marks=pytest.mark.slow)])
