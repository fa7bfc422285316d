"""Commands say which share of a network is emulated, and ask before they go on with little."""

import pytest

MODEL = ["--model", "digits_cnn", "--data", "digits"]


@pytest.fixture
def search(axopt, tmp_path):
    def run(*words):
        return axopt(
            "search", *MODEL, "--budget", "3", "--multipliers", "mul8s_1KV8,mul8s_1L2D",
            "--validation-samples", "32", "--test-samples", "32", "--calibration-samples", "64",
            "--no-correct", "--out", str(tmp_path / "run"), *words,
        )  # fmt: skip

    return run


def test_the_first_lines_say_what_is_emulated(search):
    done = search()
    assert done.code == 0
    assert "emulated: 100.0 % of the multiplications, " in done.err


def test_a_network_that_is_hardly_emulated_is_refused(search, tmp_path):
    done = search("--exclude", "*.conv")
    assert done.code == 2
    assert "--allow-partial" in done.err.splitlines()[-1]
    assert ".conv'" in done.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    assert search("--exclude", "*.conv", "--allow-partial").code == 0


def test_retraining_refuses_too(axopt, tmp_path):
    words = ["retrain", *MODEL, "--multiplier", "mul8s_1L2D", "--epochs", "1"]
    words += ["--train-samples", "32", "--test-samples", "32", "--validation-samples", "32"]
    words += ["--no-correct", "--calibration-samples", "64"]
    words += ["--out", str(tmp_path / "run"), "--exclude", "*.conv"]
    done = axopt(*words)
    assert done.code == 2
    assert "--allow-partial" in done.err.splitlines()[-1]
    assert axopt(*words, "--allow-partial").code == 0
