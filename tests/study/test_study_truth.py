"""What a search reports is what was measured: baselines, drops, domination, coverage, misuse."""

import numpy as np
import pytest
import stripes
import torch
from torch import nn

import axopt
from axopt.errors import ArgumentError
from axopt.evaluation import measure, paired_drop
from axopt.study import AssignmentProblem, RunFolder, options_of

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L12", "mul8s_1KTY"]


@pytest.fixture(scope="module")
def data():
    return stripes.make_data((90, 60, 120), contrast=0.1)


@pytest.fixture(scope="module")
def emulated(data):
    return axopt.prepare(stripes.trained_net(data, steps=40), data.train.batches(45))


def search(emulated, data, **options):
    options = {
        "algorithm": "nsga2",
        "library": NAMES,
        "budget": 20,
        "population": 6,
        "seed": 3,
        **options,
    }
    return axopt.search(emulated, data, **options)


def test_baseline_and_drops_are_those_of_the_same_samples(emulated, data):
    record = search(emulated, data).record
    axopt.assign_(emulated, NAMES[0])
    assert record.exact.quality == axopt.evaluate(emulated, data.test).value
    axopt.assign_(emulated, NAMES[0], correct=True)
    evaluation, samples = measure(emulated, data.test)
    assert record.baseline.quality == evaluation.value
    for point in record.uniform:
        axopt.assign_(emulated, point.label, correct=True)
        ours = measure(emulated, data.test).samples
        drop = paired_drop("top1", ours, samples)
        assert (point.drop, point.drop_low, point.drop_high) == (drop.value, drop.low, drop.high)
    assert record.exact.drop is not None
    assert any(point.drop != 0 for point in record.front)


def test_without_treatment_exact_and_baseline_are_the_same(emulated, data):
    record = search(emulated, data, correct=False, budget=5).record
    assert record.exact == record.baseline  # one point, named once
    assert not record.has_uncorrected
    other = search(emulated, data, correct=False, budget=3, library=NAMES[1:]).record
    assert other.baseline.quality == record.baseline.quality  # measured though not an option


def test_points_that_others_dominate_on_test_are_marked(emulated, data):
    found = 0
    for seed in range(3):
        front = search(emulated, data, seed=seed, validation_samples=15).record.front
        for point in front:
            better = [
                other
                for other in front
                if (other.quality, other.rel_power) != (point.quality, point.rel_power)
                and other.quality >= point.quality
                and other.rel_power <= point.rel_power
            ]
            assert point.dominated == bool(better)
            found += point.dominated
    assert found


def test_a_candidate_is_applied_measured_and_written_from_one_value(emulated, data):
    problem = AssignmentProblem(emulated, data.validation, options_of(NAMES, False))
    one, other = problem.candidate((1, 2, 3)), problem.candidate((3, 3, 0))
    first, _ = problem.measured(one, data.validation)
    assert problem.objectives(first) == problem.evaluate((1, 2, 3)).objectives
    problem.measured(other, data.validation)
    again, _ = problem.measured(one, data.validation)
    assert again.quality == first.quality
    assignment = one.assignment(emulated)
    problem.measured(other, data.validation)
    axopt.assign_(emulated, assignment)
    assert axopt.evaluate(emulated, data.validation) == first.quality
    keys = [setting.multiplier.name for setting in one.layers.values()]
    options = problem.options
    assert keys == [options[gene].multiplier.name for gene in (1, 2, 3)]


def test_power_and_area_of_single_options_are_known_before(emulated, data):
    problem = AssignmentProblem(
        emulated,
        data.validation.take(6),
        options_of(NAMES, True),
        costs=("rel_power", "delay_ns", "rel_area"),
        groups=["[02]"],
        correct=False,
    )
    known = {additive.objective: additive for additive in problem.space.additive}
    assert sorted(known) == [1, 3]
    rng = np.random.default_rng(0)
    for _ in range(5):
        genes = tuple(int(rng.integers(size)) for size in problem.space.sizes)
        objectives = problem.evaluate(genes).objectives
        for position, additive in known.items():
            assert additive.estimate(genes) == pytest.approx(objectives[position], rel=1e-12)


def interrupt_after(n):
    def on_trial(trial):
        if trial.number == n - 1:
            raise KeyboardInterrupt

    return on_trial


@pytest.mark.parametrize("how", [{}, {"correct": False}, {"reestimate_samples": 30}])
def test_an_interrupted_search_leaves_a_partial_report(emulated, data, tmp_path, how):
    with pytest.raises(KeyboardInterrupt) as raised:
        search(emulated, data, out=tmp_path, on_trial=interrupt_after(9), **how)
    assert raised.value.__notes__ == [
        f"9 of 20 evaluations are kept, {tmp_path} has table, plot and page of them",
        f"resume with: python -m axopt search --resume --out {tmp_path}",
    ]
    record = RunFolder(tmp_path).record()
    assert record.partial
    assert len(record.trials) == 9
    assert {p.split for p in (record.exact, *record.uniform, *record.front)} == {"validation"}
    whole = search(emulated, data, budget=9, **how).record
    assert [p.validation for p in record.front] == [p.validation for p in whole.front]
    assert [p.rel_area for p in record.front] == [p.rel_area for p in whole.front]
    if "reestimate_samples" not in how:
        assert [p.layers for p in record.front] == [p.layers for p in whole.front]
        for point in record.front:
            axopt.assign_(emulated, axopt.Assignment.load(tmp_path / point.assignment))
            assert axopt.evaluate(emulated, data.validation).value == point.quality
    (tmp_path / ".front.csv.abc123.axopt~").touch()  # as a killed run leaves it
    finished = search(emulated, data, out=tmp_path, resume=True, **how)
    assert not (tmp_path / ".front.csv.abc123.axopt~").exists()
    assert finished.outcome.n_evaluated == 11
    assert not RunFolder(tmp_path).record().partial


def test_an_interrupt_before_any_trial_says_how_to_resume(emulated, data, tmp_path):
    class Interrupted(AssignmentProblem):
        def begin(self, genes):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("axopt.study.run.AssignmentProblem", Interrupted)
        with pytest.raises(KeyboardInterrupt) as raised:
            search(emulated, data, out=tmp_path)
    assert len(raised.value.__notes__) == 1
    assert not (tmp_path / "record.json").exists()


def test_the_text_of_a_result_is_one_screen(emulated, data, tmp_path):
    result = search(emulated, data, out=tmp_path)
    for text in (str(result), str(result.front)):
        assert max(map(len, text.splitlines())) <= 180
        assert "rel_power" in text
        assert f"{result.front['rel_power'].iloc[-1]:.6f}" in text
        assert "..." not in text
    assert "20 trials by nsga2" in str(result)
    assert str(tmp_path) in str(result)
    part = result.front[["point", "delay_ns"]]
    assert "delay_ns" in str(part)


@pytest.mark.filterwarnings("ignore::axopt.errors.CoverageWarning")
def test_what_is_not_emulated_is_in_the_record_and_the_assignments(data, tmp_path):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(36, 8)
            self.second = nn.Linear(8, 3)

        def forward(self, x):
            return self.second(torch.relu(self.first(x.flatten(1))))

    torch.manual_seed(0)
    half = axopt.prepare(Half(), data.train.batches(45), exclude=["second"])
    result = search(half, data, budget=2, out=tmp_path)
    assert result.record.coverage == 36 * 8 / (36 * 8 + 8 * 3)
    assert [(p.name, p.multiplications) for p in result.record.left_out] == [("second", 24)]
    stored = axopt.Assignment.load(tmp_path / "assignments" / "point-00.json")
    assert stored.model["coverage"] == result.record.coverage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            lambda e, d: (e.module, d),
            "`emulated` must be a model made by `axopt.prepare`, got Seq",
        ),
        (lambda e, d: (e, d.test), "`data` must be a Dataset with the splits .*, got Split"),
        (lambda e, d: (e, d.test.batches(9)), "`data` must be a Dataset with the splits"),
        (lambda e, d: (e, torch.utils.data.DataLoader([1])), "`data` must .*, got DataLoader"),
        (lambda e, d: (e, (np.ones(3), np.ones(3))), "`data` must be a Dataset .*, got tuple"),
    ],
)
def test_misuse_is_answered_in_one_sentence(emulated, data, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        axopt.search(*arguments(emulated, data))


def test_a_run_is_not_resumed_with_a_model_that_was_prepared_otherwise(emulated, data, tmp_path):
    search(emulated, data, budget=2, out=tmp_path)
    net = emulated.module
    assert net is not None
    other = axopt.prepare(stripes.trained_net(data, steps=0, seed=5), data.train.batches(45))
    with pytest.raises(axopt.AxoptError) as raised:
        search(other, data, budget=3, out=tmp_path, resume=True)
    assert "than in the run" in str(raised.value)


def test_a_search_in_inference_mode_leaves_a_model_that_can_be_trained(emulated, data):
    with torch.inference_mode():
        search(emulated, data, budget=4)
    layer = next(iter(emulated.emulated_layers.values()))
    assert not layer.quantisation().weights.scale.is_inference()
    loss = emulated(data.train.inputs[:8]).square().sum()
    loss.backward()
    assert layer.weight.grad is not None
    emulated.zero_grad()


def test_the_first_objective_need_not_be_named_twice(emulated, data):
    for objectives, width in ((("error", "rel_power"), 2), (("rel_power",), 2)):
        result = search(emulated, data, budget=3, objective="error", objectives=objectives)
        assert {len(trial.objectives) for trial in result.outcome.trials} == {width}
    result = search(emulated, data, budget=3, objectives=("error", "rel_power"))
    assert {len(trial.objectives) for trial in result.outcome.trials} == {3}
    for objectives, message in [
        (("rel_power", "rel_power"), "must be distinct"),
        ("rel_power", "a list of texts"),
        (("power",), "did you mean 'rel_power'"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            search(emulated, data, budget=3, objectives=objectives)
