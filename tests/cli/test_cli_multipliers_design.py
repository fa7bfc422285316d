"""``axopt multipliers design``."""

import json

import pytest

from axopt.multipliers import load_library


def test_designs_for_the_network_of_a_run(axopt):
    few = ("--multipliers", "mul8s_1KV8,mul8s_1KR3", "--test-samples", "20", "--include", "fc")
    words = (*few, "--budget", "2", "--validation-samples", "20", "--allow-partial")
    made = axopt("search", *words, "--out", "run")
    assert made.code == 0, made.err
    words = ("--run", "run", "--count", "2", "--power", "0.2", "--samples", "20")
    done = axopt("multipliers", "design", *words, "--to", "mylib", "--json", "--quiet")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    names = [row["multiplier"] for row in result["multipliers"]]
    library = load_library("mylib")
    assert list(library) == ["v1/mul8s_1KV8", *(f"designed/{name}" for name in names)]
    assert {row["origin"] for row in result["comparison"]} == {"designed", "EvoApprox8b"}
    again = axopt("multipliers", "design", *words, "--to", "mylib")
    assert again.code == 2
    assert "mylib: holds a library already" in again.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "`--run` or `--model` must be given"),
        (("--run", "nothing"), "`--run`: there is no assignment in nothing/assignments"),
        (("--run", "r", "--calibrator", "mse"), "`--calibrator` goes with `--model`"),
        (("--model", "digits_cnn", "--power", "0"), "--power: must be above 0 and at most 1"),
        (("--model", "digits_cnn", "--count", "17"), "--count: must be an integer in 1..16"),
        (("--model", "digits_cnn", "--samples", "9999"), "`--samples` must be at most"),
        (("--model", "nothing"), "nothing"),
    ],
)
def test_wrong_options_are_one_line(axopt, words, message):
    done = axopt("multipliers", "design", *words, "--to", "mylib")
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) <= 2  # one may tell what is emulated
