"""The front measured again on validation samples that the search has not seen."""

import pytest
import stripes

import axopt
from axopt.errors import ArgumentError
from axopt.exploration import non_dominated
from axopt.study import AssignmentProblem, options_of

NAMES = ["mul8s_1KV8", "mul8s_1KR6", "mul8s_1L2H", "mul8s_1KTY", "mul8s_1L1G"]


@pytest.fixture(scope="module")
def data():
    return stripes.make_data((120, 90, 60), contrast=0.25)


def search(emulated, data, **options):
    defaults = {"library": NAMES, "budget": 125, "correct": False, "validation_samples": 3}
    return axopt.search(emulated, data, **(defaults | options))


def test_points_that_are_dominated_on_further_samples_are_left_out(emulated, data, tmp_path):
    result = search(emulated, data, confirm_samples=60, out=tmp_path / "x")
    further = data.validation.take(63).select(slice(3, None))
    problem = AssignmentProblem(emulated, further, options_of(NAMES, False), correct=False)
    front = sorted(result.outcome.front, key=lambda t: -t.objectives[1])
    again = [problem.evaluate(trial.genes).objectives for trial in front]
    stays = non_dominated(again)
    assert 0 < stays.sum() < len(front)
    expected = [t.info["rel_power"] for t, stay in zip(front, stays, strict=True) if stay]
    assert [point.rel_power for point in result.record.front] == expected
    fell = len(front) - len(expected)
    (note,) = result.record.notes[-1:]
    assert f"{fell} of its {len(front)} points were dominated there" in note
    assert "on 60 validation samples that the search had not seen" in note


def test_the_search_is_the_same_with_and_without(emulated, data, tmp_path):
    plain = search(emulated, data, out=tmp_path / "x")
    again = search(emulated, data, out=tmp_path / "x", resume=True, confirm_samples=60)
    assert again.outcome.trials == plain.outcome.trials
    assert again.outcome.n_evaluated == 0
    assert len(again.record.front) < len(plain.record.front)
    repeated = search(emulated, data, confirm_samples=60)
    assert repeated.record.front == again.record.front


@pytest.mark.parametrize("options", [{}, {"validation_samples": None}])
def test_there_must_be_so_many_samples(emulated, data, tmp_path, options):
    with pytest.raises(ArgumentError, match="`confirm_samples` and `validation_samples`"):
        search(emulated, data, confirm_samples=88, out=tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()
