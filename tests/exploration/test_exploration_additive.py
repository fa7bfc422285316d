"""Fronts of additive problems, against all points of small ones."""

import itertools

import numpy as np
import pytest

from axopt.errors import ArgumentError
from axopt.exploration import additive_front, non_dominated


@pytest.mark.parametrize("sizes", [(3,), (2, 5), (4, 4, 4, 4), (3, 1, 6, 2, 4)])
def test_front_is_that_of_all_points(sizes, rng):
    for _ in range(5):
        errors = [rng.random(n) for n in sizes]
        costs = [rng.integers(0, 50, n).astype(float) for n in sizes]
        points = np.array(
            [
                [sum(t[g] for t, g in zip(table, genes, strict=True)) for table in (errors, costs)]
                for genes in itertools.product(*map(range, sizes))
            ]
        )
        expected = {tuple(row) for row in points[non_dominated(points)].round(9)}
        span = int(sum(c.max() - c.min() for c in costs))
        found = additive_front(errors, costs, bins=span + 1)  # integer costs: nothing is rounded
        assert {(round(p.error, 9), round(p.cost, 9)) for p in found} == expected
        assert [p.cost for p in found] == sorted(p.cost for p in found)
        for point in found:
            assert point.cost == sum(c[g] for c, g in zip(costs, point.genes, strict=True))


def test_rounded_costs_lose_little(rng):
    errors, costs = ([rng.random(12) for _ in range(20)] for _ in range(2))
    fine, coarse = (additive_front(errors, costs, bins=bins) for bins in (40_000, 1_000))
    for point in coarse:
        best = min(p.error for p in fine if p.cost <= point.cost)
        assert point.error <= 1.05 * best + 1e-9


def test_equal_costs_give_the_least_error():
    [point] = additive_front([[3, 1], [2, 5]], [[7, 7], [7, 7]])
    assert (point.genes, point.error, point.cost) == ((1, 0), 3.0, 14.0)


@pytest.mark.parametrize(
    ("errors", "costs", "message"),
    [
        ([], [], "must hold the same genes, got 0 and 0"),
        ([[1, 2]], [[1]], r"must have one shape \(options,\)"),
        ([[1, float("nan")]], [[1, 2]], r"`errors\[0\]` and `costs\[0\]` must be finite"),
    ],
)
def test_wrong_tables_are_refused(errors, costs, message):
    with pytest.raises(ArgumentError, match=message):
        additive_front(errors, costs)


def test_sums_are_those_of_the_genes_in_their_order(rng):
    errors, costs = ([rng.random(6) for _ in range(9)] for _ in range(2))
    front = additive_front(errors, costs)
    assert len(front) > 20
    for point in front:
        tables = (errors, costs)
        sums = [sum(t[g] for t, g in zip(table, point.genes, strict=True)) for table in tables]
        assert [point.error, point.cost] == sums  # not rounded, not in another order
        assert all(type(gene) is int for gene in point.genes)
