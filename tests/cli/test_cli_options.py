"""Options of the hardware around the multipliers: kept with a run, and never mixed up."""

import json
from pathlib import Path

import pytest

QUICK = (
    *("--multipliers", "mul8s_1KV8,mul8s_1L2H,mul8s_1KR3", "--budget", "3"),
    *("--validation-samples", "60", "--test-samples", "70", "--calibration-samples", "40"),
)
NARROW = ("--padded-taps", "skip", "--accumulator-bits", "13", "--overflow", "saturate")
POINT = "run/assignments/point-00.json"


def read(file):
    return json.loads(Path(file).read_text("utf-8"))


@pytest.fixture
def run(axopt):
    """``axopt`` in a directory with the run folder of a search with narrow accumulators."""
    done = axopt("search", *QUICK, *NARROW, "--out", "run", "--quiet")
    assert done.code == 0, done.err
    return axopt


def test_a_point_is_evaluated_under_its_options(run):
    made_for = read(POINT)["model"]
    assert made_for["padded_taps"] == "skip"
    assert (made_for["accumulator_bits"], made_for["overflow"]) == (13, "saturate")
    assert made_for["options"]["fc"] == "padded_taps=skip, accumulator=13 bits, saturate"
    done = run("evaluate", "--assignment", POINT, "--json", "--quiet")
    assert done.code == 0, done.err
    quality = json.loads(done.out)["quality"]
    assert quality == {**read(POINT)["metrics"]["test"], "metric": "top1"}
    same = run("evaluate", "--assignment", POINT, *NARROW, "--json", "--quiet")
    assert json.loads(same.out)["quality"] == quality


def test_options_change_results(axopt):
    # 4,096 is less than many sums of the network: what overflows is wrong
    values = {}
    for name, options in {"wide": (), "narrow": ("--accumulator-bits", "12")}.items():
        words = (*QUICK, *options, "--multipliers", "mul8s_1KV8", "--budget", "1")
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
            "padded_taps=skip, accumulator=13",
            "accumulator=13 bits, saturate here",
        ),
        (("--accumulator-bits", "14"), "accumulator=13 bits", "accumulator=14 bits"),
        (("--overflow", "wrap"), "13 bits, saturate there", "13 bits, wrap here"),
    ],
)
def test_other_options_than_those_of_the_file_are_refused(run, options, there, here):
    done = run("evaluate", "--assignment", POINT, *options, "--quiet")
    assert (done.code, done.out) == (2, "")
    assert "other layer options" in done.err
    assert there in done.err
    assert here in done.err
    assert done.err.count("\n") == 1


def test_a_file_without_options_is_not_evaluated_with_some(axopt):
    assert axopt("search", *QUICK, "--out", "run", "--quiet").code == 0
    document = read(POINT)
    for field in ("padded_taps", "accumulator_bits", "overflow"):  # as earlier versions wrote it
        del document["model"][field]
    Path("old.json").write_text(json.dumps(document))
    assert axopt("evaluate", "--assignment", "old.json", "--quiet").code == 0
    done = axopt("evaluate", "--assignment", "old.json", "--padded-taps", "skip", "--quiet")
    assert done.code == 2
    assert "are the usual ones there and padded_taps=skip here" in done.err


def test_a_file_that_does_not_name_its_options_needs_them_given(run):
    document = read(POINT)
    document["model"] = {"digest": document["model"]["digest"]}
    Path("bare.json").write_text(json.dumps(document))
    words = ("--assignment", "bare.json", "--model", "digits_cnn", "--data", "digits", "--quiet")
    words += ("--calibration-samples", "40") if "--calibration-samples" in words else ()
    done = run("evaluate", *words)
    assert (done.code, "made for another model" in done.err) == (2, True)
    assert run("evaluate", *words, *NARROW).code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--padded-taps", "skip"), "`options.fc` is 'padded_taps=skip, accum"),
        ((), "`options."),
        ((*NARROW, "--accumulator-bits", "20"), "13 bits, saturate' in the store"),
    ],
)
def test_a_run_is_resumed_with_its_options_only(run, options, message):
    done = run("search", *QUICK, *options, "--out", "run", "--resume", "--quiet")
    assert done.code == 2
    assert "belongs to another search" in done.err
    assert message in done.err
    assert run("search", *QUICK, *NARROW, "--out", "run", "--resume", "--quiet").code == 0


def test_retraining_goes_on_under_the_options_of_its_assignment(run):
    samples = ("--train-samples", "100", "--validation-samples", "60", "--test-samples", "70")
    words = ("--assignment", POINT, *samples, "--epochs", "1", "--checkpoint", "c.pt", "--quiet")
    done = run("retrain", *words, "--out", "a", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["before"]["value"] == read(POINT)["metrics"]["test"]["value"]
    again = run("evaluate", "--assignment", "a/assignment.json", "--json", "--quiet")
    assert json.loads(again.out)["quality"] == result["after"]
    done = run("retrain", *words, "--overflow", "wrap", "--out", "b")
    assert (done.code, "`" in done.err) == (2, True)


def test_a_checkpoint_is_of_its_options(axopt):
    words = ("--multiplier", "mul8s_1L2H", "--epochs", "1", "--train-samples", "100")
    words += ("--validation-samples", "60", "--test-samples", "60", "--calibration-samples", "40")
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
        ("accumulator_bits", "13", "`model.accumulator_bits` is malformed: '13'"),
        ("accumulator_bits", 99, "`bits` must be in 1..32"),
        ("overflow", "trap", "`overflow` must be one of wrap, saturate"),
        ("accumulator_bits", None, "`--overflow` goes with `--accumulator-bits`"),
    ],
)
def test_wrong_fields_of_a_file_are_named(run, field, value, message):
    document = read(POINT)
    document["model"][field] = value
    Path("wrong.json").write_text(json.dumps(document))
    done = run("evaluate", "--assignment", "wrong.json", "--quiet")
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize("options", [7, {"fc": ["x"]}, {"nothing": "x"}])
def test_malformed_options_of_a_file_do_not_hide_the_mismatch(run, options):
    document = read(POINT)
    document["model"]["options"] = options
    Path("odd.json").write_text(json.dumps(document))
    done = run("evaluate", "--assignment", "odd.json", "--padded-taps", "multiply", "--quiet")
    assert done.code == 2
    assert "the assignment was made" in done.err
