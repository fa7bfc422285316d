import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import study_child
import torch
from torch.nn.functional import kl_div

import axopt
from axopt.errors import (
    ArgumentError,
    MultiplierError,
    RunExistsError,
    StoreError,
    UnknownMultiplierError,
)
from axopt.evaluation import measure, paired_drop
from axopt.multipliers import Multiplier
from axopt.study import RunFolder, options_of

NAMES = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L1G"]


def search(emulated, data, **options):
    """A small search; corrections, which take longer than all else, are asked for."""
    defaults = {
        "algorithm": "nsga2",
        "library": NAMES,
        "budget": 12,
        "population": 6,
        "seed": 3,
        "correct": False,
    }
    return axopt.search(emulated, data, **(defaults | options))


def test_run_folder_holds_what_the_result_says(emulated, data, tmp_path):
    out = tmp_path / "runs" / "x"
    source = {"model": "net", "data": "stripes"}
    result = search(emulated, data, out=out, source=source, correct=True)
    expected = {"study.sqlite", "record.json", "front.csv", "pareto.png", "report.html"}
    expected |= {"run.toml", "history.png", "search.log"}
    assert {path.name for path in out.iterdir()} == expected | {"assignments"}
    front = pd.read_csv(out / "front.csv")
    pd.testing.assert_frame_equal(result.front, front, check_exact=True, check_dtype=False)
    assert list(front.columns) == [
        "point",
        "quality",
        "quality_low",
        "quality_high",
        "rel_power",
        "rel_area",
        "delay_ns",
        "assignment",
        "split",
        "drop",
        "drop_low",
        "drop_high",
        "dominated",
        "coverage",
        "alike",
        "divergence",
        "validation_divergence",
    ]
    assert set(front["split"]) == {"test"}
    assert len(result.outcome.trials) == 12
    assert RunFolder(out).record() == result.record


@pytest.mark.parametrize(
    "how", [{"correct": False}, {"correct": True}, {"correct": True, "reestimate_samples": 100}]
)
def test_every_saved_point_gives_the_quality_of_the_front_exactly(
    emulated, data, model, tmp_path, how
):
    names = [*NAMES, "mul8s_1KR3"]
    result = search(emulated, data, library=names, out=tmp_path / "x", **how)
    fresh = axopt.prepare(model, data.train.batches(50))
    assert len(result.front) > 1
    for row in result.front.itertuples():
        axopt.assign_(fresh, axopt.Assignment.load(tmp_path / "x" / row.assignment))
        quality = axopt.evaluate(fresh, data.test)
        assert (quality.value, quality.low, quality.high) == (
            row.quality,
            row.quality_low,
            row.quality_high,
        )
        assert axopt.cost(fresh).rel_power == row.rel_power


def test_front_is_what_the_validation_split_says(emulated, data):
    """Recomputed by brute force over all 27 assignments."""
    result = search(emulated, data, budget=27, objective="error")
    assert result.outcome.stop_reason == "exhausted"
    options = options_of(NAMES, False)
    points = {}
    for trial in result.outcome.trials:
        names = (options[gene].multiplier.key for gene in trial.genes)
        axopt.assign_(emulated, dict(zip(["0", "2", "5"], names, strict=True)))
        error = 100 - axopt.evaluate(emulated, data.validation).value
        points[trial.genes] = (error, axopt.cost(emulated).rel_power)
        assert trial.objectives == points[trial.genes]
    best = {
        point
        for point in points.values()
        if not any(o != point and o[0] <= point[0] and o[1] <= point[1] for o in points.values())
    }
    assert {(100 - p.validation.value, p.rel_power) for p in result.record.front} == best
    powers = [point.rel_power for point in result.record.front]
    assert powers == sorted(powers, reverse=True)


def assign_point(emulated, point):
    names = (option.multiplier for option in point.layers)
    axopt.assign_(emulated, dict(zip(["0", "2", "5"], names, strict=True)))


def test_neighbours_that_the_test_samples_cannot_tell_apart_are_marked(emulated, data):
    names = ["mul8s_1KV8", "mul8s_1L2H", "mul8s_1KR3"]
    result = search(emulated, data, library=names, budget=27)
    line = [point for point in result.record.front if not point.dominated]
    kept = []
    for point in line:
        assign_point(emulated, point)
        kept.append(measure(emulated, data.test, "top1")[1])
    alike = []
    for ours, following, name in zip(kept, kept[1:], [p.label for p in line[1:]], strict=False):
        drop = paired_drop("top1", following, ours)
        alike.append(name if drop.low <= 0 <= drop.high else "")
    assert [point.alike for point in line] == [*alike, ""]
    assert set(alike) > {""}  # both kinds are there


@torch.no_grad()
def test_divergence_is_stated_on_validation_and_test(emulated, data):
    result = search(emulated, data, budget=27)
    seen = {trial.info["divergence"] for trial in result.outcome.front}
    assert {point.validation_divergence for point in result.record.front} == seen
    point = result.record.front[-1]
    axopt.assign_(emulated, "mul8s_1KV8")
    exact = torch.cat([emulated(inputs) for inputs, _ in data.test.batches(90)])
    assign_point(emulated, point)
    ours = torch.cat([emulated(inputs) for inputs, _ in data.test.batches(90)])
    expected = kl_div(ours.log_softmax(1), exact.log_softmax(1), log_target=True, reduction="sum")
    assert point.divergence == pytest.approx(float(expected) / 90, rel=1e-4)
    assert point.divergence > 0
    by_error = search(emulated, data, objective="error")
    assert {point.divergence for point in by_error.record.front} == {None}


def test_uniform_assignments_come_first(emulated, data):
    result = search(emulated, data)
    assert [t.genes for t in result.outcome.trials[:3]] == [(0,) * 3, (1,) * 3, (2,) * 3]
    assert [p.label for p in result.record.uniform] == [f"v1/{name}" for name in NAMES]


@pytest.mark.parametrize("algorithm", ["nsga2", "tpe", "optuna-nsga2", "random"])
def test_same_seed_same_trials_other_seed_other_trials(emulated, data, algorithm):
    first, again, other = (
        search(emulated, data, algorithm=algorithm, seed=seed).outcome.trials for seed in (1, 1, 2)
    )
    assert [(t.genes, t.objectives) for t in first] == [(t.genes, t.objectives) for t in again]
    assert [t.genes for t in first] != [t.genes for t in other]


def test_operand_order_is_a_gene_where_it_matters(emulated, data, library):
    names = ["mul8s_1L2H", "mul8s_1KVL"]
    options = options_of(names, operand_order=True)
    expected = [("v1/mul8s_1L2H", False), ("v1/mul8s_1KVL", False), ("v1/mul8s_1KVL", True)]
    assert library["mul8s_1L2H"].is_commutative
    assert [(c.multiplier.key, c.swap) for c in options] == expected
    result = search(emulated, data, library=names, operand_order=True, budget=27)
    assert len(result.outcome.trials) == 27
    assert any(option.swap for point in result.record.front for option in point.layers)


def test_multipliers_of_the_user_are_searched(emulated, data, library):
    exact = library["mul8s_1KV8"]
    mine = Multiplier.from_table(
        "mine", exact.table // 2 * 2, signed=True, power_mw=0.2, area_um2=300, delay_ns=1
    )
    result = search(emulated, data, library=["mul8s_1KV8", mine], budget=8)
    used = {option.multiplier for point in result.record.front for option in point.layers}
    assert "user/mine" in used
    assert result.record.reference == "v1/mul8s_1KV8"


def test_exact_multiplier_of_the_users_technology_is_the_reference(emulated, data, library):
    table = library["mul8s_1KV8"].table
    figures = {"signed": True, "area_um2": 10, "delay_ns": 1}
    mine = Multiplier.from_table("mine", table, power_mw=0.1, **figures)
    half = Multiplier.from_table("half", table // 4 * 4, power_mw=0.05, **figures)
    result = search(emulated, data, library=[mine, half], budget=8)
    assert result.record.reference == "user/mine"
    assert sorted({point.rel_power for point in result.record.uniform}) == [0.5, 1.0]
    other = search(emulated, data, library=[half], reference=mine, budget=1)
    assert other.record.uniform[0].rel_power == 0.5


def test_every_measurement_is_reported(emulated, data):
    trials, points = [], []
    result = search(
        emulated, data, on_trial=trials.append, on_point=lambda *done: points.append(done)
    )
    assert [trial.number for trial in trials] == list(range(12))
    assert points[-1][0] == points[-1][1] == len(points)
    assert len(points) <= len(result.front) + len(NAMES)


def test_cost_objectives(emulated, data):
    result = search(emulated, data, objectives=("rel_area", "delay_ns"))
    for trial in result.outcome.trials:
        assert len(trial.objectives) == 3
    with pytest.raises(ArgumentError, match="`objectives`.*'speed'"):
        search(emulated, data, objectives=("speed",))


def test_existing_run_is_kept_unless_forced(emulated, data, tmp_path):
    search(emulated, data, out=tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(RunExistsError, match="study.sqlite"):
        search(emulated, data, out=tmp_path)
    with pytest.raises(ArgumentError, match="`resume` and `force`"):
        search(emulated, data, out=tmp_path, resume=True, force=True)
    with pytest.raises(StoreError, match="seed"):
        search(emulated, data, out=tmp_path, resume=True, seed=4)
    with pytest.raises(StoreError, match="choices"):
        search(emulated, data, out=tmp_path, resume=True, library=NAMES[:2])
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    search(emulated, data, out=tmp_path, force=True, library=NAMES[:2], budget=4)
    record = RunFolder(tmp_path).record()
    assert len(record.uniform) == 2
    assert len(list((tmp_path / "assignments").iterdir())) == len(record.front)


def test_resume_with_a_larger_budget_extends_the_same_search(emulated, data, tmp_path):
    search(emulated, data, out=tmp_path, budget=7)
    extended = search(emulated, data, out=tmp_path, budget=14, resume=True)
    direct = search(emulated, data, budget=14)
    assert [t.genes for t in extended.outcome.trials] == [t.genes for t in direct.outcome.trials]
    pd.testing.assert_frame_equal(extended.front, direct.front, check_exact=True)
    assert extended.outcome.n_evaluated == 7


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"library": []}, ArgumentError, "at least one"),
        ({"library": "mul8s_1L2H"}, ArgumentError, "a list of multipliers"),
        ({"library": ["mul8s_1L2H", "v1/mul8s_1L2H"]}, MultiplierError, "already"),
        ({"library": ["mul8s_nope"]}, UnknownMultiplierError, "mul8s_nope"),
        ({"budget": 0}, ArgumentError, "`budget`"),
        ({"algorithm": "nsga9"}, ArgumentError, "nsga9"),
        ({"validation_samples": 61}, ArgumentError, r"`validation_samples` must be in 1..60"),
        ({"test_samples": 0}, ArgumentError, "`test_samples`"),
        ({"metric": "auc"}, ArgumentError, "auc"),
        ({"resume": True}, ArgumentError, "no search in"),
        ({"population": 1}, ArgumentError, "`population`"),
    ],
)
def test_bad_arguments_write_nothing(emulated, data, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        search(emulated, data, out=tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


def kill_search(out, mode, kill_when):
    script = Path(study_child.__file__)
    path = str(Path(axopt.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, str(script), str(out), mode],
        env={**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": path},
    )
    while process.poll() is None:
        if kill_when():
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    return process.wait(timeout=300)


def committed(out):
    wal = out / "study.sqlite-wal"
    return wal.stat().st_size if wal.exists() else 0


@pytest.mark.parametrize(
    "sizes", [[60_000], pytest.param([60_000, 120_000, 180_000], marks=pytest.mark.slow)]
)
def test_search_killed_with_signal_9_and_resumed_gives_the_same_front(tmp_path, sizes):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    study_child.search(whole, resume=False)
    for mode, size in zip(("new", "resume", "resume"), sizes, strict=False):
        code = kill_search(killed, mode, lambda size=size: committed(killed) > size)
        assert code == -signal.SIGKILL
        assert not (killed / "front.csv").exists()
    study_child.search(killed, resume=True)
    assert (killed / "front.csv").read_bytes() == (whole / "front.csv").read_bytes()
    records = [RunFolder(out).record() for out in (whole, killed)]
    assert records[0].trials == records[1].trials
    for file in (whole / "assignments").iterdir():
        assert json.loads(file.read_text()) == json.loads(
            (killed / "assignments" / file.name).read_text()
        )


def test_where_smaller_is_better_the_front_has_the_smallest(emulated, model, data, tmp_path):
    from axopt.evaluation import against, evaluate

    unlabelled = against(model, data)
    own = evaluate(model, unlabelled, "distance")
    out = tmp_path / "run"
    how = {"metric": "distance", "budget": 20, "correct": True, "out": out}
    result = search(emulated, unlabelled, float_quality=own, **how)
    assert (result.record.unit, result.record.higher_is_better) == ("%", False)
    seen = [point.validation.value for point in result.record.front]
    assert seen == sorted(seen)  # power falls along the front, the distance rises
    assert 0 < seen[0] < seen[-1] < 10
    stored = json.loads((out / result.record.front[0].assignment).read_text("utf-8"))
    assert stored["metrics"]["metric"] == "distance"
    again = search(emulated, unlabelled, **how, resume=True)
    assert again.outcome.n_evaluated == 0
