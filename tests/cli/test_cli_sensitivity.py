"""``axopt sensitivity``."""

import json

import pytest

from axopt.sensitivities import Sensitivity

WORDS = ["sensitivity", "--multipliers", "mul8s_1KV8,mul8s_1L2D,mul8s_1KR3", "--samples", "32"]
FEW = ["--calibration-samples", "64", "--threads", "1"]


def test_layers_are_ranked_and_files_written(axopt, tmp_path):
    done = axopt(*WORDS, *FEW, "--out", "found")
    assert done.code == 0, done.err
    found = Sensitivity.load(tmp_path / "found")
    assert found.samples == 32
    header, first, *_ = done.out.splitlines()
    assert header.split()[:3] == ["layer", "mean", "divergence"]
    assert first.split()[0] == found.most_sensitive(1)[0]
    assert found.summary() in done.out
    assert "one change at a time" in done.out
    assert "sensitivity: 1" in done.err or "sensitivity: " in done.err
    names = {path.name for path in (tmp_path / "found").iterdir()}
    assert names == {
        "sensitivity.json",
        "sensitivity.csv",
        "sensitivity.png",
        "sensitivity-layers.png",
    }
    for name in ("sensitivity.png", "sensitivity-layers.png"):
        assert (tmp_path / "found" / name).read_bytes().startswith(b"\x89PNG")


def test_json_of_an_estimate_around_a_multiplier(axopt):
    done = axopt(
        *WORDS, *FEW, "--method", "gradient", "--around", "mul8s_1L2D", "--json", "--quiet"
    )
    assert done.code == 0, done.err
    found = Sensitivity.from_json(json.loads(done.out))
    assert found.around == "v1/mul8s_1L2D"
    assert found.method == "gradient"
    assert found.checked > 0
    assert done.err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--around", "mul8s_1L1G"], "`around` must be 'exact', 'uniform' or a multiplier"),
        (["--around", "missing.json"], "'missing.json': No such file"),
        (["--samples", "0"], "--samples: must be an integer in 1.."),
        (["--method", "guess"], "--method: invalid choice: 'guess'"),
        (["--method", "gradient", "--objective", "error"], "estimates the divergence"),
        (["--objective", "eror"], "eror"),
        (["--group", "nothing*"], "nothing*"),
        (["--metric", "top2"], "top2"),
    ],
)
def test_wrong_input_is_told_in_a_line(axopt, words, message):
    done = axopt(*WORDS, *FEW, "--quiet", *words)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""
