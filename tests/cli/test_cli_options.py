"""Options of the hardware around the multipliers: kept with a run, and never mixed up."""

import json
import shutil
from pathlib import Path

import pytest

from axopt.cli import main

SAMPLES = ("--validation-samples", "20", "--test-samples", "20")
QUICK = (
    *("--multipliers", "mul8s_1KV8,mul8s_1L2H", "--budget", "2", "--no-correct"),
    *(*SAMPLES, "--calibration-samples", "40"),
)
NARROW = ("--padded-taps", "skip", "--accumulator-bits", "17", "--overflow", "saturate")


def read(file):
    return json.loads(Path(file).read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run folder of a search with narrow accumulators."""
    out = tmp_path_factory.mktemp("options") / "run"
    assert main(["search", *QUICK, *NARROW, "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture
def point(folder):
    return folder / "assignments" / "point-00.json"


def test_a_point_is_evaluated_under_its_options(axopt, point):
    made_for = read(point)["model"]
    assert made_for["padded_taps"] == "skip"
    assert (made_for["accumulator_bits"], made_for["overflow"]) == (17, "saturate")
    assert made_for["options"]["fc"] == "padded_taps=skip, accumulator=17 bits, saturate"
    done = axopt("evaluate", "--assignment", point, "--json", "--quiet")
    assert done.code == 0, done.err
    quality = json.loads(done.out)["quality"]
    assert quality == {**read(point)["metrics"]["test"], "metric": "top1"}
    same = axopt("evaluate", "--assignment", point, *NARROW, "--json", "--quiet")
    assert json.loads(same.out)["quality"] == quality


def test_options_change_results(axopt):
    # 4,096 is less than many sums of the network: what overflows is wrong
    values = {}
    for name, options in {"wide": (), "narrow": ("--accumulator-bits", "12")}.items():
        words = (*QUICK, *options, "--multipliers", "mul8s_1KV8", "--budget", "1")
        words += ("--test-samples", "40")
        assert axopt("search", *words, "--out", name, "--quiet").code == 0
        metrics = read(f"{name}/assignments/point-00.json")["metrics"]
        values[name] = metrics["test"]["value"]
    assert values["wide"] > 95
    assert values["narrow"] < values["wide"] - 5
    assert "options" not in read("wide/assignments/point-00.json")["model"]


@pytest.mark.parametrize(
    ("options", "there", "here"),
    [
        (
            ("--padded-taps", "multiply"),
            "padded_taps=skip, accumulator=17 bits",
            "accumulator=17 bits, saturate here",
        ),
        (("--accumulator-bits", "16"), "accumulator=17 bits", "accumulator=16 bits"),
        (("--overflow", "wrap"), "17 bits, saturate there", "17 bits, wrap here"),
    ],
)
def test_other_options_than_those_of_the_file_are_refused(axopt, point, options, there, here):
    done = axopt("evaluate", "--assignment", point, *options, "--quiet")
    assert (done.code, done.out) == (2, "")
    assert "other layer options" in done.err
    assert there in done.err
    assert here in done.err
    assert done.err.count("\n") == 1


def test_a_file_without_options_is_not_evaluated_with_some(axopt):
    assert axopt("search", *QUICK, "--out", "run", "--quiet").code == 0
    document = read("run/assignments/point-00.json")
    for field in ("padded_taps", "accumulator_bits", "overflow"):  # as earlier versions wrote it
        del document["model"][field]
    Path("old.json").write_text(json.dumps(document))
    assert axopt("evaluate", "--assignment", "old.json", "--quiet").code == 0
    done = axopt("evaluate", "--assignment", "old.json", "--padded-taps", "skip", "--quiet")
    assert done.code == 2
    assert "are the defaults there and padded_taps=skip here" in done.err


def test_a_file_that_does_not_name_its_options_needs_them_given(axopt, point):
    document = read(point)
    document["model"] = {"digest": document["model"]["digest"]}
    Path("bare.json").write_text(json.dumps(document))
    words = ("--assignment", "bare.json", "--model", "digits_cnn", "--data", "digits", "--quiet")
    words += ("--samples", "20")
    done = axopt("evaluate", *words)
    assert (done.code, "made for another model" in done.err) == (2, True)
    assert axopt("evaluate", *words, *NARROW).code == 0


def test_a_run_is_resumed_with_its_options_only(axopt, folder):
    for options, message in [
        (("--padded-taps", "multiply"), "`--padded-taps` is 'multiply', but 'skip' in the run"),
        (("--accumulator-bits", "20"), "`--accumulator-bits` is 20, but 17 in the run"),
    ]:
        done = axopt("search", *options, "--out", folder, "--resume", "--quiet")
        assert done.code == 2
        assert message in done.err
    assert axopt("search", *QUICK, *NARROW, "--out", folder, "--resume", "--quiet").code == 0


def test_options_of_another_run_are_refused_without_its_settings(axopt, folder, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    (old / "run.toml").unlink()  # as runs of earlier versions
    for options, message in [
        ((), "saturate' in the store and 'absent' now"),
        ((*NARROW, "--accumulator-bits", "20"), "17 bits, saturate' in the store and"),
    ]:
        done = axopt("search", *QUICK, *options, "--out", old, "--resume", "--quiet")
        assert done.code == 2
        assert "belongs to another search" in done.err
        assert message in done.err


def test_retraining_goes_on_under_the_options_of_its_assignment(axopt, point):
    words = ("--assignment", point, "--train-samples", "64", *SAMPLES, "--epochs", "1", "--quiet")
    done = axopt("retrain", *words, "--out", "a", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["before"]["value"] == read(point)["metrics"]["test"]["value"]
    again = axopt("evaluate", "--assignment", "a/assignment.json", "--json", "--quiet")
    assert json.loads(again.out)["quality"] == result["after"]
    done = axopt("retrain", *words, "--overflow", "wrap", "--out", "b")
    assert (done.code, "17 bits, wrap here" in done.err) == (2, True)


def test_a_checkpoint_is_of_its_options(axopt):
    words = ("--multiplier", "mul8s_1L2H", "--epochs", "1", "--train-samples", "64")
    words += (*SAMPLES, "--calibration-samples", "40")
    words += ("--checkpoint", "c.pt", "--quiet")
    assert axopt("retrain", *words, "--padded-taps", "skip", "--out", "a").code == 0
    done = axopt("retrain", *words, "--resume", "--out", "b")
    assert done.code == 2
    assert "layer options" in done.err
    assert "padded_taps=skip" in done.err


@pytest.mark.parametrize("command", ["search", "retrain"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--padded-taps", "drop"), "'drop'"),
        (("--accumulator-bits", "0"), "1..32"),
        (("--accumulator-bits", "33"), "1..32"),
        (("--accumulator-bits", "wide"), "'wide'"),
        (("--accumulator-bits", "8", "--overflow", "trap"), "'trap'"),
        (("--overflow", "wrap"), "goes with `--accumulator-bits`"),
    ],
)
def test_bad_options_are_one_line_and_change_nothing(axopt, tmp_path, command, options, message):
    words = ("--multiplier", "mul8s_1L2H") if command == "retrain" else ()
    done = axopt(command, *words, *options, "--quiet")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("padded_taps", 1, "`model.padded_taps` is malformed: 1"),
        ("padded_taps", "drop", "`padded_taps` must be one of multiply, skip"),
        ("accumulator_bits", "17", "`model.accumulator_bits` is malformed: '17'"),
        ("accumulator_bits", 99, "`bits` must be in 1..32"),
        ("overflow", "trap", "`overflow` must be one of wrap, saturate"),
        ("accumulator_bits", None, "`--overflow` goes with `--accumulator-bits`"),
    ],
)
def test_wrong_fields_of_a_file_are_named(axopt, point, field, value, message):
    document = read(point)
    document["model"][field] = value
    Path("wrong.json").write_text(json.dumps(document))
    done = axopt("evaluate", "--assignment", "wrong.json", "--quiet")
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize("options", [7, {"fc": ["x"]}, {"nothing": "x"}])
def test_malformed_options_of_a_file_do_not_hide_the_mismatch(axopt, point, options):
    document = read(point)
    document["model"]["options"] = options
    Path("odd.json").write_text(json.dumps(document))
    done = axopt("evaluate", "--assignment", "odd.json", "--padded-taps", "multiply", "--quiet")
    assert done.code == 2
    assert "the assignment was made" in done.err
