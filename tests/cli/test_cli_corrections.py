"""search --correct and --activation-codes, evaluate --explain."""

import json

import pytest

from axopt.cli import main

QUICK = (
    *("--multipliers", "mul8s_1KV8,mul8s_1KTY,mul8s_1L1G", "--budget", "6", "--quiet"),
    *("--validation-samples", "60", "--test-samples", "50", "--calibration-samples", "40"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Small searches with each setting."""
    folder = tmp_path_factory.mktemp("corrections")
    options = {
        "corrected": ("--correct",),
        "off": ("--no-correct",),
        "all": ("--activation-codes", "all"),
    }
    for name, words in options.items():
        assert main(["search", *QUICK, *words, "--out", str(folder / name)]) == 0
    return folder


def corrections(run):
    """Names in all assignments of a run."""
    found = set()
    for file in (run / "assignments").iterdir():
        for entry in json.loads(file.read_text("utf-8"))["quantisation"].values():
            found.update(entry.get("corrections", []))
            activation = entry["activation"]
            assert ("activation_codes" in entry.get("corrections", [])) == (
                "step" in activation or "codes" in activation
            )
    return found


def test_options_decide_what_assignments_hold(runs):
    assert {"activation_codes", "weight_codes"} <= corrections(runs / "corrected")
    assert corrections(runs / "off") == set()
    assert corrections(runs / "all")
    assert "activation_codes" not in corrections(runs / "all")


def test_correcting_is_the_default(runs, axopt):
    words = [*QUICK, "--out", str(runs / "corrected"), "--resume", "--json"]
    done = axopt("search", *words)
    assert done.code == 0, done.err
    assert json.loads(done.out)["evaluated"] == 0
    done = axopt("search", *words, "--no-correct")
    assert done.code == 2
    assert "`--correct` is False, but True in the run" in done.err


def point_with_corrections(run):
    for file in sorted((run / "assignments").iterdir(), reverse=True):
        document = json.loads(file.read_text("utf-8"))
        if any("corrections" in entry for entry in document["quantisation"].values()):
            return file, document
    raise AssertionError("no corrected point")


def test_explanations_as_json(runs, axopt):
    file, document = point_with_corrections(runs / "corrected")
    done = axopt("evaluate", "--assignment", file, "--explain", "--json", "--quiet")
    assert done.code == 0, done.err
    explained = {entry["name"]: entry for entry in json.loads(done.out)["corrections"]}
    assert explained.keys() == document["layers"].keys()
    for name, layer in document["layers"].items():
        entry = explained[name]
        assert (entry["multiplier"], entry["swap"]) == (layer["multiplier"], layer["swap"])
        assert entry["corrections"] == document["quantisation"][name].get("corrections", [])
        assert entry["error_pct"] <= entry["raw_error_pct"] * 1.0001
        errors = [other["error_pct"] for other in entry["alternatives"]]
        assert errors == sorted(errors)
        # the file's choice was the best of these
        assert entry["error_pct"] <= errors[0] * 1.0001


def test_explanations_as_text(runs, axopt):
    file, document = point_with_corrections(runs / "corrected")
    done = axopt("evaluate", "--assignment", file, "--explain", "--quiet")
    assert done.code == 0, done.err
    for heading in ("layer", "multiplier", "corrections", "error %", "without", "next best"):
        assert heading in done.out
    for name, entry in document["quantisation"].items():
        swap = ("order",) * document["layers"][name]["swap"]
        names = ", ".join((*swap, *entry.get("corrections", ()))).replace("_", " ") or "none"
        line = next(line for line in done.out.splitlines() if line.startswith(f"{name} "))
        assert names in line
    plain = axopt("evaluate", "--assignment", file, "--quiet")
    assert "next best" not in plain.out


def test_wrong_activation_codes_are_named(axopt):
    done = axopt("search", *QUICK, "--activation-codes", "some")
    assert done.code == 2
    assert "some" in done.err
