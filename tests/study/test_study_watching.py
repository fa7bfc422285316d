"""What a search tells while it runs: hypervolume, speed, savings, the log."""

import json
import re
import sqlite3

import pytest

import axopt
from axopt.evaluation import Metric
from axopt.exploration import State, Store, Trial, hypervolume
from axopt.study import AssignmentProblem, options_of
from axopt.study.watching import Watch, corner_of

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L1G"]


def search(emulated, data, **options):
    defaults = {
        "algorithm": "nsga2",
        "library": NAMES,
        "budget": 12,
        "population": 6,
        "seed": 3,
        "correct": False,
    }
    return axopt.search(emulated, data, **(defaults | options))


def problem_of(emulated, data, **options):
    return AssignmentProblem(
        emulated, data.validation, options_of(NAMES, False), correct=False, **options
    )


def trial(number, objectives, genes=(0, 0, 0), state=State.COMPLETE, quality=90.0):
    info = {"quality": {"value": quality}, "rel_power": objectives[1] if objectives else 0.0}
    return Trial(number, genes, state, objectives, info, None, 0.1)


def test_record_has_the_hypervolume_after_each_trial(emulated, data, tmp_path):
    result = search(emulated, data, out=tmp_path / "x")
    record = result.record
    assert record.objectives == ("divergence", "rel_power")
    uniform = [t.objectives[0] for t in result.outcome.trials[:3]]
    assert record.corner == (min(0.2, max(uniform)), 1.0)
    assert len(record.hypervolumes) == len(result.outcome.trials)
    complete = [t.objectives for t in result.outcome.trials]
    assert record.hypervolumes[-1] == pytest.approx(hypervolume(complete, record.corner))
    with sqlite3.connect(tmp_path / "x" / "study.sqlite") as connection:
        query = "SELECT value FROM meta WHERE key = 'reference point of the hypervolume'"
        assert json.loads(connection.execute(query).fetchone()[0]) == list(record.corner)
    assert "<h2>Search</h2>" in (tmp_path / "x" / "report.html").read_text()


def test_the_reference_point_is_that_of_the_first_run(emulated, data, tmp_path):
    out = tmp_path / "x"
    first = search(emulated, data, out=out, budget=6)
    resumed = search(emulated, data, out=out, budget=12, resume=True)
    whole = search(emulated, data, budget=12)
    assert first.record.corner == resumed.record.corner == whole.record.corner
    assert resumed.record.hypervolumes == whole.record.hypervolumes
    assert resumed.record.hypervolumes[:6] == first.record.hypervolumes


def test_without_all_seeds_there_is_no_hypervolume(emulated, data):
    record = search(emulated, data, budget=2).record
    assert (record.corner, record.hypervolumes) == ((), ())


@pytest.mark.parametrize(
    ("options", "seeds", "corner"),
    [
        ({}, [(0.0, 1.0), (0.05, 0.8), (0.1, 0.3)], (0.1, 1.0)),
        ({}, [(0.0, 1.0), (0.05, 0.8), (3.0, 0.3)], (0.2, 1.0)),
        ({"objective": "error"}, [(7.0, 1.0), (9.0, 0.8), (60.0, 0.3)], (17.0, 1.0)),
        ({"costs": ("delay_ns",)}, [(0.0, 1.5), (0.05, 2.0), (0.1, 1.0)], (0.1, 2.2)),
        ({"costs": ("distinct",)}, [(0.0, 1.0), (0.05, 1.0), (0.1, 1.0)], (0.1, 4.0)),
    ],
)
def test_the_corner_is_the_worst_of_interest(emulated, data, options, seeds, corner):
    problem = problem_of(emulated, data, **options)
    trials = [trial(i, objectives) for i, objectives in enumerate(seeds)]
    assert corner_of(problem, trials, 3) == pytest.approx(corner)
    assert corner_of(problem, trials, 4) is None
    assert corner_of(problem, [trial(0, (), state=State.FAILED)], 1) is None


def test_progress_states_budget_speed_and_savings(emulated, data):
    seen = []
    result = search(emulated, data, on_progress=seen.append)
    assert [(p.number, p.budget) for p in seen] == [(n, 12) for n in range(1, 13)]
    assert [p.trial for p in seen] == list(result.outcome.trials)
    assert [p.hypervolume for p in seen[:2]] == [None, None]
    assert [p.hypervolume for p in seen[2:]] == list(result.record.hypervolumes[2:])
    assert seen[0].per_second is None
    assert seen[-1].seconds >= seen[-2].seconds > 0
    assert seen[-1].seconds_left == 0
    exact = result.outcome.trials[0].info["quality"]["value"]
    complete = [t for t in result.outcome.trials if t.state is State.COMPLETE]
    allowed = [t for t in complete if exact - t.info["quality"]["value"] <= 1.0]
    assert seen[-1].best_saving == 1 - min(t.info["rel_power"] for t in allowed)
    assert "% saved at a drop <= 1" in str(seen[-1])


def test_savings_count_from_the_trial_of_the_exact_network(emulated, data):
    """Qualities of earlier trials are compared as soon as the exact network's is known."""
    seen = []
    problem = problem_of(emulated, data)
    watch = Watch(problem, Store.in_memory(), 9, 3, max_drop=2.0, listeners=[seen.append])
    exact = next(g for g, o in problem.uniform().items() if o.multiplier.key.endswith("1KV8"))
    watch(trial(0, (0.1, 0.4), (1, 1, 1), quality=88.0))
    watch(trial(1, (0.1, 0.2), (2, 2, 2), quality=87.9))
    assert seen[-1].best_saving is None
    watch(trial(2, (0.0, 1.0), exact, quality=90.0))
    assert seen[-1].best_saving == pytest.approx(0.6)


def test_a_metric_without_percentages_has_no_usual_drop(emulated, data):
    seen = []
    own = Metric(
        name="own",
        of_samples=lambda outputs, targets: (outputs.argmax(1) == targets).double(),
        higher_is_better=True,
    )
    search(emulated, data, metric=own, budget=3, on_progress=seen.append)
    assert {(p.max_drop, p.best_saving) for p in seen} == {(None, None)}
    assert "saved" not in str(seen[-1])


def test_the_log_holds_the_lines_of_progress(emulated, data, tmp_path):
    out = tmp_path / "x"
    seen = []
    search(emulated, data, out=out, budget=6, on_progress=seen.append)
    first = (out / "search.log").read_text()
    assert first.splitlines()[-1].endswith(f"  {seen[-1]}")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d  ", first)
    search(emulated, data, out=out, budget=12, resume=True)
    second = (out / "search.log").read_text()
    assert second.startswith(first)
    assert "  12 of 12" in second
    search(emulated, data, out=out, budget=3, force=True)
    assert "12 of 12" not in (out / "search.log").read_text()


def test_a_log_that_cannot_be_written_does_not_stop_the_search(emulated, data, tmp_path, caplog):
    (tmp_path / "x" / "search.log").mkdir(parents=True)
    result = search(emulated, data, out=tmp_path / "x", budget=3)
    assert len(result.outcome.trials) == 3
    assert "search.log: cannot be written" in caplog.text
