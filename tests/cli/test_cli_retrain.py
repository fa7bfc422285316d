"""retrain, and evaluate of what it wrote, through the command line."""

import json
import math
import sys

import pytest

QUICK = (
    *("--train-samples", "200", "--validation-samples", "60", "--test-samples", "80"),
    *("--epochs", "1", "--threads", "1"),
)
MULTIPLIER = ("--multiplier", "mul8s_1L1G", "--no-correct", "--calibration-samples", "64")
RETRAIN = ("retrain", *MULTIPLIER, *QUICK)


def test_evaluate_gives_the_number_of_the_retrained_model(axopt, tmp_path):
    done = axopt(*RETRAIN, "--out", "a", "--augment", "crop", "--distil", "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert result["after"]["value"] > result["before"]["value"]
    assert result["stopped"] == "epochs"
    assert [epoch["epoch"] for epoch in result["history"]] == [0, 1]
    done = axopt("evaluate", "--assignment", "a/assignment.json", "--json", "--quiet")
    assert done.code == 0
    assert json.loads(done.out)["quality"] == result["after"]
    assert json.loads(done.out)["cost"]["rel_power"] == result["cost"]["rel_power"]


def test_retraining_goes_on_from_an_assignment(axopt):
    assert axopt(*RETRAIN, "--out", "a", "--quiet").code == 0
    words = ("--assignment", "a/assignment.json", "--no-learn-steps", "--gradient", "ste")
    done = axopt("retrain", *words, *QUICK, "--out", "b", "--json", "--quiet")
    assert done.code == 0, done.err
    first = axopt("evaluate", "--assignment", "a/assignment.json", "--json", "--quiet")
    assert json.loads(done.out)["before"] == json.loads(first.out)["quality"]
    second = axopt("evaluate", "--assignment", "b/assignment.json", "--json", "--quiet")
    assert json.loads(second.out)["quality"] == json.loads(done.out)["after"]


def test_a_resumed_run_is_the_same(axopt):
    words = (*RETRAIN, "--epochs", "2", "--json", "--quiet")
    whole = axopt(*words, "--out", "a", "--checkpoint", "c.pt")
    assert whole.code == 0
    again = axopt(*words, "--out", "b", "--checkpoint", "c.pt", "--resume")
    assert again.code == 0, again.err
    first, second = json.loads(whole.out), json.loads(again.out)
    assert (first["history"], first["after"]) == (second["history"], second["after"])
    done = axopt(*words, "--out", "d", "--checkpoint", "c.pt")
    assert (done.code, done.out) == (2, "")
    assert "c.pt exists" in done.err


def test_text_and_progress(axopt):
    done = axopt(*RETRAIN)
    assert done.code == 0
    assert "written to runs/digits_cnn-retrained/assignment.json" in done.out
    assert "epoch 1 of 1: loss" in done.err
    assert "steps: 2 of 2" in done.err
    done = axopt(*RETRAIN)
    assert done.code == 2
    assert "exists" in done.err
    assert axopt(*RETRAIN, "--force").code == 0


def test_a_loss_that_leaves_the_numbers_ends_with_1(axopt, monkeypatch):
    from axopt.retraining import losses

    with monkeypatch.context() as patch:
        patch.setattr(
            losses.functional, "cross_entropy", lambda logits, targets: logits.sum() * math.nan
        )
        done = axopt(*RETRAIN, "--out", "a")
    assert done.code == 1
    assert "not finite, the last good state is kept" in done.out
    assert axopt("evaluate", "--assignment", "a/assignment.json").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--resume",), "`--resume` needs"),
        (("--checkpoint", "c.pt", "--resume"), "no checkpoint"),
        (("--swap", "--lr", "0"), "`lr` must be"),
        (("--epochs", "0"), "must be an integer"),
        (("--gradient", "exact"), "invalid choice"),
        (("--assignment", "x.json"), "not allowed with"),
    ],
)
def test_bad_input_is_one_line_and_2(axopt, tmp_path, words, message):
    done = axopt(*RETRAIN, *words, "--quiet")
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_swap_needs_a_multiplier(axopt, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    done = axopt("retrain", "--assignment", "a.json", "--swap")
    assert (done.code, "`--swap`" in done.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("--calibrator", "mse"),
        ("--calibration-samples", "64"),
        ("--weight-scales", "per-tensor"),
        ("--include", "fc"),
        ("--exclude", "fc"),
    ],
    ids=lambda words: words[0],
)
def test_quantisation_of_an_assignment_is_its_own(axopt, tmp_path, words):
    done = axopt("retrain", "--assignment", tmp_path / "none.json", *words)
    assert done.code == 2
    assert f"`{words[0]}` goes with `--multiplier`" in done.err


def test_choices_are_those_of_the_library():
    from axopt.cli import retrain
    from axopt.data import AUGMENTATIONS
    from axopt.layers import GRADIENTS

    assert set(retrain.GRADIENTS) == set(GRADIENTS)
    assert set(retrain.AUGMENTATIONS) == set(AUGMENTATIONS)


COUNTED = """
import axopt

made = []


def build():
    net = axopt.create_model("digits_cnn")
    net.register_forward_pre_hook(lambda module, inputs: module.seen.append(len(inputs[0])))
    net.seen = []  # a copy has its own
    made.append(net)
    return net
"""


def test_the_float_model_runs_once_over_data_that_it_labels(axopt, tmp_path, monkeypatch):
    (tmp_path / "counted_model.py").write_text(COUNTED, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--model", "counted_model:build", "--data", "digits", "--metric", "distance"]
    words += ["--multiplier", "mul8s_1KV8", "--epochs", "1", "--train-samples", "40"]
    words += ["--validation-samples", "20", "--test-samples", "20"]
    done = axopt("retrain", *words)
    (net,) = sys.modules.pop("counted_model").made
    assert done.code == 0, done.err
    assert sum(net.seen) == 1797 + 1  # all digits, and the one that tells whether they fit
