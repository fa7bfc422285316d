"""``axopt search --max-multipliers``."""

import json


def test_assignments_have_at_most_so_many_multipliers(axopt):
    words = ("--multipliers", "mul8s_1KV8,mul8s_1KR3", "--include", "fc,stem.conv")
    samples = ("--validation-samples", "20", "--test-samples", "20", "--allow-partial")
    cap = ("--max-multipliers", "1")
    done = axopt("search", *words, *samples, *cap, "--budget", "4", "--out", "run", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["evaluated"] == 2  # of four points, those with one multiplier
    other = axopt("search", "--resume", "--out", "run", "--max-multipliers", "2")
    assert other.code == 2
    assert "`--max-multipliers` is 2, but 1 in the run" in other.err


def test_a_wrong_cap_is_one_line(axopt):
    done = axopt("search", "--max-multipliers", "0")
    assert done.code == 2
    assert "--max-multipliers: must be an integer in 1..1000, got '0'" in done.err
