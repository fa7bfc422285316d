"""``axopt search --fix`` and ``--candidates``."""

import json
from pathlib import Path

import pytest

WORDS = ("--multipliers", "mul8s_1KV8,mul8s_1L2H,mul8s_1KR3", "--include", "fc,stem.conv")
SAMPLES = ("--validation-samples", "20", "--test-samples", "20", "--allow-partial")


def test_layers_keep_what_flags_say_and_a_resumed_run_too(axopt):
    given = ("--fix", "fc=mul8s_1L2D", "--candidates", "stem.*=exact,mul8s_1K*")
    given += ("--max-drop", "50", "--max-power", "0.9", "--max-delay", "1.5")
    done = axopt("search", *WORDS, *SAMPLES, *given, "--budget", "4", "--out", "run", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["evaluated"] == 2
    kept = Path("run/run.toml").read_text()
    assert 'fixed = {"fc" = "mul8s_1L2D"}' in kept
    assert 'candidates = {"stem.*" = ["exact", "mul8s_1K*"]}' in kept
    assert "max_drop = 50.0\nmax_power = 0.9\nmax_delay_ns = 1.5" in kept
    again = axopt("search", "--resume", "--out", "run", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["cached"] == 2
    other = axopt("search", "--resume", "--out", "run", "--fix", "fc=exact")
    assert other.code == 2
    assert "`--fix` is {'fc': 'exact'}, but {'fc': 'mul8s_1L2D'} in the run" in other.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fix", "fc"), "--fix: must be name=value, got 'fc'"),
        (("--fix", "fc=mul8s_X"), "`--fix` of 'fc': 'mul8s_X' is not in the library"),
        (("--max-drop", "-1"), "--max-drop: must be a finite number >= 0, got '-1'"),
        (("--max-power", "0"), "--max-power: must be a finite number > 0, got '0'"),
        (("--max-delay", "fast"), "--max-delay: must be a finite number >= 0, got 'fast'"),
        (("--candidates", "fc=,"), "--candidates: must be names with commas between them"),
        (("--candidates", "fc=mul8s_X"), "`--candidates` of 'fc': 'mul8s_X' is not in the"),
    ],
)
def test_wrong_constraints_are_one_line(axopt, words, message):
    done = axopt("search", *WORDS, *SAMPLES, *words, "--budget", "4", "--out", "run")
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
