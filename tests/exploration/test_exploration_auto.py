"""Algorithms that use sensitivities: how few evaluations they need, and how they end."""

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest

from axopt.errors import ArgumentError
from axopt.exploration import (
    Known,
    Outcome,
    SearchSpace,
    Store,
    create_algorithm,
    hypervolume,
    non_dominated,
    run_search,
    seed_points,
)
from axopt.exploration.testing import TinyProblem
from axopt.exploration.variants import Variant


class Network:
    """A made-up network: noise of layers adds up, neighbours interact, divergence saturates."""

    objective_names = ("divergence", "power")
    corner = (0.3, 1.0)

    def __init__(self, genes=8, options=4, seed=0, *, estimated=True, limits=True, **space):
        rng = np.random.default_rng(seed)
        saved = np.linspace(0, 0.85, options)
        layers = rng.uniform(0.5, 2, genes) / genes / 1.25
        self.power = layers[:, None] * (1 - saved)
        scales = 0.02 * np.exp(rng.normal(0, 1, (genes, 1)) + rng.normal(0, 0.4, (genes, options)))
        self.noise = scales * saved**3 * 4
        self.together = rng.uniform(0, 0.6, (genes - 1, options, options))
        known = [Known(1, tuple(map(tuple, self.power.tolist())), exact=True)]
        if estimated:
            few = self.noise * np.exp(rng.normal(0, 0.1, self.noise.shape))
            known.append(Known(0, tuple(map(tuple, few.tolist())), exact=False))
        names = tuple(f"layer{i}" for i in range(genes))
        self.space = SearchSpace(
            names, (options,) * genes, tuple(known), limits=self.corner if limits else (), **space
        )

    def objectives(self, genes):
        """Objectives of points, ``(n, 2)``."""
        genes = np.asarray(genes)
        layers = np.arange(genes.shape[1])
        noise = self.noise[layers, genes]
        pairs = self.together[layers[:-1], genes[:, :-1], genes[:, 1:]]
        total = noise.sum(1) + (pairs * np.sqrt(noise[:, :-1] * noise[:, 1:])).sum(1)
        return np.stack([2 * (1 - np.exp(-total / 2)), self.power[layers, genes].sum(1)], 1)

    def evaluate(self, genes):
        return Outcome(tuple(self.objectives([genes])[0].tolist()))

    def share(self, outcome):
        """The share of the true hypervolume that a search found."""
        options, genes = max(self.space.sizes), len(self.space.sizes)
        everything = np.stack(np.unravel_index(np.arange(options**genes), self.space.sizes), 1)
        found = self.objectives(everything)
        best = hypervolume(found[non_dominated(found)], self.corner)
        return hypervolume([t.objectives for t in outcome.front], self.corner) / best


def search(problem, name, budget, seed=0, n_seeds=4, **options):
    algorithm = create_algorithm(name, problem.space, n_objectives=2, seed=seed, **options)
    seeds = [(option,) * len(problem.space.sizes) for option in range(n_seeds)]
    return algorithm, run_search(problem, algorithm, Store.in_memory(), budget=budget, seeds=seeds)


@pytest.mark.parametrize("seed", range(3))
def test_auto_finds_the_front_with_few_evaluations(seed):
    problem = Network(seed=seed)
    assert problem.share(search(problem, "auto", 60, seed)[1]) >= 0.99
    assert problem.share(search(problem, "auto", 200, seed)[1]) >= 0.999


@pytest.mark.parametrize("seed", range(2))
def test_auto_finds_most_without_sensitivities_and_limits(seed):
    problem = Network(seed=seed, estimated=False, limits=False)
    assert problem.share(search(problem, "auto", 100, seed)[1]) >= 0.98


def test_auto_says_how_well_it_predicts_and_stops_when_nothing_is_expected():
    algorithm, outcome = search(Network(), "auto", 1000)
    assert outcome.stop_reason == "converged"
    assert len(outcome.trials) < 300
    figures = algorithm.diagnostics()
    assert figures["n_predicted"] == len(outcome.trials) - 4
    assert figures["rank_correlation"] > 0.95
    assert 0.8 < figures["median_ratio"] < 1.25
    assert create_algorithm("random", Network().space, n_objectives=2).diagnostics() == {}


def test_additive_proposes_a_spread_of_the_predicted_front_and_ends():
    problem = Network()
    _, outcome = search(problem, "additive", 1000, n_seeds=1)
    assert outcome.stop_reason == "front proposed"
    shares = [problem.share(search(problem, "additive", n)[1]) for n in (6, 12, 24)]
    assert shares == sorted(shares)
    assert shares[1] > 0.9
    seeds = seed_points(problem.space, 10)
    assert seeds == [trial.genes for trial in outcome.trials[1:]][:10] or seeds[1] == (0,) * 8


def test_additive_and_seeds_need_sensitivities():
    for make in (
        lambda space: create_algorithm("additive", space, n_objectives=2),
        lambda space: seed_points(space, 3),
    ):
        with pytest.raises(ArgumentError, match=r"`space.known` must hold .* objective 0"):
            make(TinyProblem().space)
    with pytest.raises(ArgumentError, match="`count` must be >= 1, got 0"):
        seed_points(TinyProblem(estimated=True).space, 0)


@pytest.mark.parametrize("option", ["first", "batch", "patience"])
def test_options_of_auto_are_checked(option):
    with pytest.raises(ArgumentError, match=f"`{option}` of auto must be >= 1, got 0"):
        create_algorithm("auto", Network().space, n_objectives=2, **{option: 0})


@pytest.mark.parametrize("third", ["sum", "max", "distinct"])
@pytest.mark.parametrize("costs_known", [True, False])
def test_auto_finds_the_front_of_three_objectives(third, costs_known):
    problem = Variant(estimated=True, third=third, costs_known=costs_known)
    points = list(itertools.product(*map(range, problem.space.sizes)))  # 144
    values = np.array([problem.evaluate(genes).objectives for genes in points])
    corner = values.max(0) + 1
    algorithm = create_algorithm("auto", problem.space, n_objectives=3)
    seeds = [(0,) * 5, (3, 0, 2, 5, 1)]
    outcome = run_search(problem, algorithm, Store.in_memory(), budget=60, seeds=seeds)
    found = hypervolume([trial.objectives for trial in outcome.front], corner)
    assert found >= 0.98 * hypervolume(values, corner)


def test_few_kinds_are_chosen_before_the_loop_repairs_anything():
    problem = Network(kinds=((0, 1, 2, 3),) * 8, max_kinds=2)
    algorithm = create_algorithm("auto", problem.space, n_objectives=2)
    asked = algorithm.ask()
    for _ in range(4):
        assert max(problem.space.n_kinds(genes) for genes in asked) <= 2
        algorithm.tell(asked, problem.objectives(asked))
        asked = algorithm.ask()
    kinds = {tuple(sorted(set(genes))) for genes in algorithm._told}  # private: what was measured
    assert len([pair for pair in kinds if len(pair) == 2]) >= 3  # several sets, not only one


def test_points_beyond_limits_are_not_measured_for_their_own_sake():
    problem = Network(limits=False)
    narrow = replace(problem.space, limits=(0.1, 0.6))
    algorithm = create_algorithm("auto", narrow, n_objectives=2, patience=100)
    inside = []
    for _ in range(4):
        asked = algorithm.ask()
        values = problem.objectives(asked)
        inside.append(np.mean((values <= (0.12, 0.6)).all(1)))
        algorithm.tell(asked, values)
    assert np.mean(inside[1:]) > 0.9


@pytest.mark.parametrize("name", ["nsga2", "sms-emoa", "age-moea2", "unsga3", "tpe"])
def test_algorithms_profit_from_seeds(name):
    problem = Network(seed=1)
    volumes = []
    for seeds in ([], seed_points(problem.space, 15)):
        made = create_algorithm(name, problem.space, n_objectives=2, population=20)
        outcome = run_search(problem, made, Store.in_memory(), budget=80, seeds=seeds)
        volumes.append(problem.share(outcome))
    assert volumes[1] > volumes[0] + 0.02


def test_work_of_auto_at_fifty_layers_is_little():
    problem = Network(49, 36)
    algorithm = create_algorithm("auto", problem.space, n_objectives=2)
    seeds = [(option,) * 49 for option in range(36)]
    algorithm.tell(seeds, problem.objectives(seeds))
    start, count = time.process_time(), 0
    for _ in range(4):
        asked = algorithm.ask()
        count += len(asked)
        algorithm.tell(asked, problem.objectives(asked))
    assert count == 50
    assert (time.process_time() - start) / count < 0.05  # 0.01 on a machine that does nothing else
