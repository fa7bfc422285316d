"""The loop: budgets, seeds, failures, resuming, stopping."""

import numpy as np
import pytest

from axopt.errors import ArgumentError, StoreError
from axopt.exploration import (
    Algorithm,
    InProcess,
    Outcome,
    SearchSpace,
    State,
    Store,
    create_algorithm,
    list_algorithms,
    run_search,
)
from axopt.exploration.loop import MAX_STALE_ASKS
from axopt.exploration.testing import (
    FlakyProblem,
    StagedProblem,
    TinyProblem,
    check_evaluator,
    timeless,
)

SEEDS = [(choice,) * 4 for choice in range(4)]


class Scripted(Algorithm):
    """Asks what it is given, then the last batch for ever; remembers what it is told."""

    def __init__(self, space, batches):
        super().__init__(space, n_objectives=2, seed=0, population=2)
        self.batches = list(batches)
        self.told = []

    def ask(self):
        return self.batches.pop(0) if len(self.batches) > 1 else self.batches[0]

    def tell(self, genes, objectives):
        self.told.append((list(genes), objectives.tolist()))


class Counted(TinyProblem):
    """Counts evaluations; interrupts every ``every``-th, as Ctrl-C would."""

    def __init__(self, every=None):
        super().__init__(estimated=True)
        self.every = every
        self.calls = []

    def evaluate(self, genes):
        self.calls.append(genes)
        if self.every and len(self.calls) % self.every == 0:
            raise KeyboardInterrupt
        return super().evaluate(genes)


class Returning(TinyProblem):
    """Returns whatever it is told to."""

    def __init__(self, outcome):
        super().__init__()
        self.outcome = outcome

    def evaluate(self, genes):
        return self.outcome


def search(problem, store, algorithm="nsga2", *, budget=50, seed=0, **options):
    own = {"gp": {"startup": 48}, "auto": {"patience": 100}}.get(algorithm, {})
    made = create_algorithm(
        algorithm, problem.space, n_objectives=2, seed=seed, population=8, **own
    )
    return run_search(problem, made, store, budget=budget, **options)


def scripted_search(batches, *, problem=None, budget=50, seeds=()):
    problem = problem or TinyProblem()
    algorithm = Scripted(problem.space, batches)
    outcome = run_search(problem, algorithm, Store.in_memory(), budget=budget, seeds=seeds)
    return outcome, algorithm


def test_budget_counts_distinct_points_and_numbers_run_on():
    problem = Counted()
    outcome = search(problem, Store.in_memory(), seeds=SEEDS)
    assert outcome.stop_reason == "budget"
    assert outcome.n_evaluated == 50
    assert len(set(problem.calls)) == len(problem.calls) == 50
    assert [trial.number for trial in outcome.trials] == list(range(50))
    assert [trial.genes for trial in outcome.trials] == problem.calls


def test_seeds_come_first_in_their_order_and_once():
    seeds = [SEEDS[2], SEEDS[0], SEEDS[2], SEEDS[1]]
    outcome = search(Counted(), Store.in_memory(), seeds=seeds)
    assert [trial.genes for trial in outcome.trials[:3]] == [SEEDS[2], SEEDS[0], SEEDS[1]]


def test_more_seeds_than_budget():
    outcome = search(TinyProblem(), Store.in_memory(), seeds=SEEDS, budget=3)
    assert [trial.genes for trial in outcome.trials] == SEEDS[:3]
    assert outcome.stop_reason == "budget"


def test_seeds_and_results_are_told_before_the_next_ask():
    points = [(0, 0, 0, 1), (0, 0, 0, 2)]
    problem = TinyProblem()
    outcome, algorithm = scripted_search(
        [points, [(1, 1, 1, 1)]], problem=problem, seeds=SEEDS, budget=7
    )
    expected = [
        (genes, [list(problem.evaluate(point).objectives) for point in genes])
        for genes in (SEEDS, points)
    ]
    assert algorithm.told[:3] == [*expected, ([(1, 1, 1, 1)], expected[0][1][1:2])]
    assert len(outcome.trials) == 6


def test_repeats_are_answered_without_evaluating_until_it_is_too_dull():
    problem = Counted()
    outcome, algorithm = scripted_search([[(0, 0, 0, 1)], [(0, 0, 0, 1)]], problem=problem)
    assert problem.calls == [(0, 0, 0, 1)]
    assert outcome.stop_reason == "nothing new"
    assert (outcome.n_evaluated, outcome.n_cached) == (1, MAX_STALE_ASKS)
    assert algorithm.told[1] == algorithm.told[2] != ([], [])


def test_empty_batches_end_the_search():
    outcome, _ = scripted_search([[]], seeds=SEEDS)
    assert outcome.stop_reason == "nothing new"
    assert len(outcome.trials) == 4


def test_numpy_genes_are_accepted():
    outcome, _ = scripted_search([list(np.eye(4, dtype=np.int64))], budget=4)
    assert outcome.trials[0].genes == (1, 0, 0, 0)
    assert type(outcome.trials[0].genes[0]) is int


def test_small_space_is_searched_exhaustively_with_the_true_front():
    problem = Counted()
    outcome = search(problem, Store.in_memory(), seeds=SEEDS, budget=256)
    assert outcome.stop_reason == "exhausted"
    assert len(set(problem.calls)) == outcome.n_evaluated == 256
    assert outcome.trials[4].genes == (0, 0, 0, 1)  # lexicographic after the seeds
    assert {trial.objectives for trial in outcome.front} == problem.true_front()


def test_one_point_less_than_the_space_is_not_exhaustive():
    outcome = search(TinyProblem(), Store.in_memory(), seeds=SEEDS, budget=255)
    assert outcome.stop_reason == "budget"
    assert outcome.trials[4].genes != (0, 0, 0, 1)


@pytest.mark.parametrize("name", list_algorithms())
def test_interrupted_again_and_again_ends_as_if_never_stopped(name, tmp_path):
    whole = search(TinyProblem(estimated=True), Store.in_memory(), name, seeds=SEEDS)
    problem, outcome, rounds = Counted(every=7), None, 0
    while outcome is None:
        with Store.open(tmp_path / "study.sqlite", {"seed": 0}, resume=True) as store:
            try:
                outcome = search(problem, store, name, seeds=SEEDS)
            except KeyboardInterrupt:
                rounds += 1
    assert rounds == (8 if name != "additive" else 4)  # which ends with its front
    assert timeless(outcome.trials) == timeless(whole.trials)
    assert (
        len(problem.calls) == len(whole.trials) + rounds
    )  # only what was cut short is evaluated again


def test_same_store_object_goes_on_after_an_interrupt():
    store, problem = Store.in_memory(), Counted(every=20)
    with pytest.raises(KeyboardInterrupt):
        search(problem, store)
    assert len(store.trials()) == 19
    outcome = search(TinyProblem(), store)
    assert (outcome.n_evaluated, outcome.n_cached) == (31, 19)


@pytest.mark.parametrize(("first", "second"), [(20, 60), (60, 20), (20, 256), (256, 20)])
@pytest.mark.parametrize("name", ["nsga2", "random"])
def test_another_budget_goes_on_with_the_same_sequence(name, first, second):
    store = Store.in_memory()
    before = search(TinyProblem(), store, name, budget=first, seeds=SEEDS)
    after = search(TinyProblem(), store, name, budget=second, seeds=SEEDS)
    shared = min(first, second)
    assert len(after.trials) == second
    assert timeless(after.trials)[:shared] == timeless(before.trials)[:shared]
    assert after.n_evaluated == max(0, second - first)


@pytest.mark.parametrize("name", list_algorithms())
def test_seed_decides(name):
    problem = TinyProblem(estimated=True)
    runs = [search(problem, Store.in_memory(), name, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (timeless(run.trials) for run in runs)
    assert first == again
    assert (first != other) == (name not in ("exhaustive", "additive"))


@pytest.mark.parametrize("change", ["seed", "seeds", "algorithm", "objectives"])
def test_store_of_another_search_is_refused(change):
    store = Store.in_memory()
    search(TinyProblem(), store, seeds=SEEDS, budget=30)
    problem = TinyProblem()
    options = {"seeds": SEEDS, "seed": 0, "algorithm": "nsga2"}
    options |= {"seed": {"seed": 1}, "seeds": {"seeds": SEEDS[::-1]}}.get(change, {})
    options |= {"algorithm": "random"} if change == "algorithm" else {}
    if change == "objectives":
        problem.objective_names = ("loss", "power", "area")
    with pytest.raises(StoreError, match="does not belong to this search, or is damaged: its"):
        search(problem, store, **options)
    assert len(store.trials()) == 30


def test_failures_are_data():
    problem = FlakyProblem()
    store = Store.in_memory()
    outcome = search(problem, store, budget=80, seeds=SEEDS)
    failed = [trial for trial in outcome.trials if trial.state is State.FAILED]
    assert outcome.n_failed == len(failed) > 5
    assert all(sum(trial.genes) % 5 in (2, 4) for trial in failed)
    assert not any(
        sum(trial.genes) % 5 in (2, 4) for trial in outcome.trials if trial not in failed
    )
    raised = next(trial for trial in failed if sum(trial.genes) % 5 == 2)
    assert raised.reason == f"RuntimeError('cannot evaluate {raised.genes}')"
    assert "in evaluate" in raised.info["traceback"]
    nan = next(trial for trial in failed if sum(trial.genes) % 5 == 4)
    assert nan.reason == "objective not finite: loss=nan"
    assert all(trial.state is State.COMPLETE for trial in outcome.front)
    assert timeless(store.trials()) == timeless(outcome.trials)


def test_failures_are_not_told():
    fails = {(0, 0, 0, 0), (0, 0, 0, 2)}
    _, algorithm = scripted_search(
        [[(0, 0, 0, 1), (0, 0, 0, 2)], [(0, 0, 0, 2)]],
        problem=FlakyProblem(lambda genes: genes in fails),
        seeds=[(0, 0, 0, 0)],
    )
    assert [genes for genes, _ in algorithm.told[:3]] == [[], [(0, 0, 0, 1)], []]


def test_all_failed_leaves_an_empty_front():
    outcome = search(FlakyProblem(lambda genes: True), Store.in_memory())
    assert outcome.n_failed == len(outcome.trials) == 50
    assert outcome.front == ()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome((float("inf"), 1.0)), r"objective not finite: loss=inf"),
        (Outcome((1.0, float("nan"))), r"objective not finite: power=nan"),
        (Outcome((1.0,)), r"2 objectives expected \(loss, power\), got \(1.0,\)"),
        (Outcome((1.0, 2.0, 3.0)), r"2 objectives expected"),
        (Outcome(("high", 1.0)), r"TypeError"),
        (Outcome((1.0, 1.0), {"low": float("nan")}), r"info is not JSON"),
        (Outcome((1.0, 1.0), {"model": object()}), r"info is not JSON"),
        (None, r"AttributeError"),
    ],
)
def test_one_gate_for_outcomes(outcome, reason):
    result = search(Returning(outcome), Store.in_memory(), budget=2)
    for trial in result.trials:
        assert trial.state is State.FAILED
        assert trial.objectives == ()
        with pytest.raises(ValueError, match=reason):
            raise ValueError(trial.reason)


def test_numpy_values_and_nested_info_are_stored_as_plain_ones():
    info = {"interval": (80.0, 82.5), "counts": [1, 2]}
    outcome = Outcome((np.float32(0.5), np.int64(2)), info)
    store = Store.in_memory()
    trial = search(Returning(outcome), store, budget=1).trials[0]
    assert trial.objectives == (0.5, 2.0)
    assert trial.info == {"interval": [80.0, 82.5], "counts": [1, 2]}
    assert store.trials() == [trial]


def test_reason_with_any_text_is_stored():
    def raise_odd(genes):
        raise RuntimeError("\ud800" + "x" * 10_000)

    store = Store.in_memory()
    trial = search(FlakyProblem(raise_odd), store, budget=1).trials[0]
    assert len(trial.reason) < 600
    assert store.trials() == [trial]


def test_on_trial_sees_what_this_run_committed():
    store, seen = Store.in_memory(), []

    def look(trial):
        assert store.trials()[-1] == trial  # committed before anyone hears of it
        seen.append(trial.number)

    search(TinyProblem(), store, budget=5, on_trial=look)
    search(TinyProblem(), store, budget=8, on_trial=look)
    assert seen == list(range(8))


def test_bad_arguments_are_refused():
    with pytest.raises(ArgumentError, match="`budget` must be >= 1, got 0"):
        search(TinyProblem(), Store.in_memory(), budget=0)
    with pytest.raises(ArgumentError, match=r"`seeds\[1\]` must be in the space"):
        search(TinyProblem(), Store.in_memory(), seeds=[(0, 0, 0, 0), (0, 0, 0, 4)])
    with pytest.raises(ArgumentError, match="`algorithm` must propose points of the space"):
        scripted_search([[(0, 0, 9, 0)]])


def test_space_of_one_point():
    problem = TinyProblem((1,))
    problem.space = SearchSpace(("only",), (1,))
    outcome = search(problem, Store.in_memory(), budget=1)
    assert (outcome.stop_reason, len(outcome.trials)) == ("exhausted", 1)


def test_evaluators_keep_the_contract():
    check_evaluator(InProcess)


class Backwards:
    """Evaluates the last point of a batch first, as parallel workers may."""

    def __init__(self, problem):
        self.inner = InProcess(problem)
        self.batches = []

    def evaluate(self, batch):
        self.batches.append(list(batch))
        results = {genes: next(self.inner.evaluate([genes])) for genes in reversed(batch)}
        yield from (results[genes] for genes in batch)


@pytest.mark.parametrize("name", list_algorithms())
def test_trials_do_not_depend_on_the_evaluator(name):
    problem = TinyProblem(estimated=True)
    evaluator = Backwards(problem)
    outcome = search(problem, Store.in_memory(), name, seeds=SEEDS, evaluator=evaluator)
    assert timeless(outcome.trials) == timeless(
        search(problem, Store.in_memory(), name, seeds=SEEDS).trials
    )
    assert evaluator.batches[0] == SEEDS
    assert sum(map(len, evaluator.batches)) == len(outcome.trials)


def test_an_evaluator_that_loses_results_is_an_error():
    class Lossy(InProcess):
        def evaluate(self, batch):
            return super().evaluate(list(batch)[:-1])

    problem = TinyProblem()
    with pytest.raises(ValueError, match="shorter"):
        search(problem, Store.in_memory(), seeds=SEEDS, evaluator=Lossy(problem))


def test_an_evaluator_that_lies_about_the_order_of_asking_is_found_by_the_contract():
    class Unordered(InProcess):
        def evaluate(self, batch):
            return super().evaluate(list(reversed(batch)))

    with pytest.raises(AssertionError, match="evaluator breaks a rule: it keeps the order"):
        check_evaluator(Unordered)


def test_pruned_trials_are_stored_told_and_never_in_the_front():
    store = Store.in_memory()
    problem = StagedProblem(limit=6)
    outcome, algorithm = scripted_search([SEEDS], problem=problem, budget=4)
    states = [trial.state for trial in outcome.trials]
    assert states == [State.COMPLETE, State.COMPLETE, State.PRUNED, State.PRUNED]
    assert [trial.fidelity for trial in outcome.trials] == [1.0, 1.0, 0.25, 0.25]
    assert len(algorithm.told) == 1  # the search ended with these
    outcome = search(problem, store, budget=60, seeds=SEEDS)
    assert store.trials() == list(outcome.trials)
    assert {trial.state for trial in outcome.front} == {State.COMPLETE}
    assert outcome.n_failed == 0
    again = search(problem, store, budget=60, seeds=SEEDS)
    assert again.trials == outcome.trials


@pytest.mark.parametrize("fidelity", [0.0, -1.0, 1.5, float("nan")])
def test_fidelity_is_a_share(fidelity):
    outcome = search(Returning(Outcome((1.0, 2.0), {}, fidelity)), Store.in_memory(), budget=1)
    assert outcome.trials[0].reason.startswith("fidelity must be above 0 and at most 1")


def test_an_exhaustive_search_says_so():
    problem = TinyProblem((2, 2))
    for budget, exhaustive in ((4, True), (3, False)):
        made = create_algorithm("nsga2", problem.space, n_objectives=2, population=2)
        outcome = run_search(problem, made, Store.in_memory(), budget=budget)
        assert outcome.exhaustive is exhaustive


@pytest.mark.parametrize(
    "proposals",
    [None, 3, [None], [1], ["ab"], [(0.5, 1)], [(float("nan"), 0)], [(float("inf"), 0)], [(0,)]],
)
def test_proposals_that_are_no_points_are_refused_and_not_rounded(proposals):
    problem = TinyProblem((3, 3))
    algorithm = create_algorithm("random", problem.space, n_objectives=2)
    algorithm.ask = lambda: proposals
    with pytest.raises(ArgumentError, match="`algorithm` must propose"):
        run_search(problem, algorithm, Store.in_memory(), budget=5)


def test_proposals_may_be_arrays_of_whole_numbers():
    problem = TinyProblem((3, 3))
    algorithm = create_algorithm("random", problem.space, n_objectives=2)
    algorithm.ask = lambda: np.array([[0.0, 1.0], [2.0, 2.0]])
    outcome = run_search(problem, algorithm, Store.in_memory(), budget=5)
    assert [trial.genes for trial in outcome.trials] == [(0, 1), (2, 2)]
