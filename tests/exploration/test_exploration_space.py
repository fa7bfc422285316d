import itertools

import numpy as np
import pytest

from axopt.errors import ArgumentError
from axopt.exploration import Known, SearchSpace
from axopt.exploration.space import Unseen


def make_unseen(*sizes, seed=0):
    space = SearchSpace(tuple(f"l{i}" for i in range(len(sizes))), sizes)
    return space, Unseen(space, np.random.default_rng(seed))


def test_space_counts_and_contains():
    space = SearchSpace(("a", "b"), (2, 3))
    assert space.n_points == 6
    inside = itertools.product(range(2), range(3))
    assert all(space.contains(genes) for genes in inside)
    assert not any(space.contains(genes) for genes in [(2, 0), (0, 3), (-1, 0), (0,), (0, 0, 0)])


def test_count_of_a_large_space_is_exact():
    names = tuple(map(str, range(50)))
    assert SearchSpace(names, (13,) * 50).n_points == 13**50


@pytest.mark.parametrize(
    ("names", "sizes", "rule"),
    [
        ((), (), "at least one layer"),
        (("a",), (1, 2), "one entry a name"),
        (("a", "a"), (1, 2), "must be distinct"),
        (("a", "b"), (1, 0), "must be >= 1, got 0 for layer 'b'"),
    ],
)
def test_impossible_space_is_refused(names, sizes, rule):
    with pytest.raises(ArgumentError, match=rule):
        SearchSpace(names, sizes)


def test_draws_cover_the_space_once_and_end():
    space, unseen = make_unseen(3, 1, 4)
    drawn = [unseen.draw() for _ in range(space.n_points)]
    assert set(drawn) == set(itertools.product(range(3), range(1), range(4)))
    assert unseen.draw() is None
    assert unseen.near((0, 0, 0)) is None


def test_near_changes_one_gene_while_it_can():
    _, unseen = make_unseen(3, 3, 3)
    unseen.mark((1, 1, 1))
    near = [unseen.near((1, 1, 1)) for _ in range(7)]
    changed = [sum(gene != 1 for gene in genes) for genes in near]
    assert changed[:6] == [1] * 6
    assert len(set(near)) == 7  # the seventh is drawn from elsewhere
    assert changed[6] != 1


def test_draws_repeat_with_their_seed():
    first, second = (make_unseen(9, 9, seed=1)[1] for _ in range(2))
    assert [first.draw() for _ in range(20)] == [second.draw() for _ in range(20)]


def test_known_values_combine_as_stated():
    values = ((1.0, 4.0), (1.0, 2.0, 4.0))
    estimates = {
        combine: Known(0, values, exact=True, combine=combine).estimate((1, 2))
        for combine in ("sum", "max", "distinct")
    }
    assert estimates == {"sum": 8.0, "max": 4.0, "distinct": 1.0}


def test_space_says_what_is_known_and_of_which_kinds_options_are():
    loss = Known(0, ((0.0, 1.0), (0.0, 2.0)), exact=False)
    delay = Known(1, ((3.0, 2.0), (3.0, 2.0)), exact=True, combine="max")
    space = SearchSpace(("a", "b"), (2, 2), (loss, delay), kinds=((0, 0), (0, 1)), max_kinds=2)
    assert space.additive == (loss,)
    assert space.known_of(1) is delay
    assert space.known_of(2) is None
    assert [space.n_kinds(genes) for genes in ((0, 0), (1, 0), (1, 1))] == [1, 1, 2]
    assert space == SearchSpace(("a", "b"), (2, 2))


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"known": (Known(0, ((1.0,),), True, "mean"),)}, "`combine` must be one of sum, max"),
        ({"kinds": ((0, 1),)}, "one number an option"),
        ({"max_kinds": 1}, "in a space with `kinds`"),
        ({"kinds": ((0,),), "max_kinds": 0}, "must be >= 1"),
        ({"limits": (float("nan"), None)}, "must be finite or None"),
    ],
)
def test_what_is_known_must_fit_the_space(fields, rule):
    with pytest.raises(ArgumentError, match=rule):
        SearchSpace(("a",), (1,), **fields)
