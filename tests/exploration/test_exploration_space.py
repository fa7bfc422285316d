import itertools

import numpy as np
import pytest

from axopt.errors import ArgumentError
from axopt.exploration import SearchSpace
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
