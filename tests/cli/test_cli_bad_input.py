"""Promise P4: a wrong input gives exit 2 and one line that names it, and writes nothing."""

import json
import os

import numpy as np
import pytest

FIGURES = ["--power", "0.2", "--area", "400", "--delay", "1.1"]
TRILLION = "1000000000000"

# command line -> what its one line on stderr must hold; FILES below lie in the directory
WRONG = [
    # no command, unknown words
    ([], ["<command>"]),
    (["serch"], ["'serch'"]),
    (["search", "--bugdet", "5"], ["--bugdet"]),
    (["search", "stray"], ["stray"]),
    (["multipliers"], ["<action>"]),
    (["multipliers", "lst"], ["'lst'"]),
    # numbers
    (["search", "--budget", "-1"], ["--budget", "1..", "'-1'"]),
    (["search", "--budget", "0"], ["--budget", "'0'"]),
    (["search", "--budget", TRILLION], ["--budget", f"'{TRILLION}'"]),
    (["search", "--budget", ""], ["--budget", "''"]),
    (["search", "--budget", "nan"], ["--budget", "'nan'"]),
    (["search", "--budget", "1e3"], ["--budget", "'1e3'"]),
    (["search", "--budget", "9" * 5000], ["--budget"]),
    (["search", "--budget", "\u0663"], ["--budget"]),
    (["search", "--budget"], ["--budget"]),
    (["search", "--seed", "-1"], ["--seed", "'-1'"]),
    (["search", "--seed", "4294967296"], ["--seed", "'4294967296'"]),
    (["search", "--population", "1"], ["--population", "'1'"]),
    (["search", "--threads", "0"], ["--threads", "'0'"]),
    (["search", "--threads", TRILLION], ["--threads", f"'{TRILLION}'"]),
    (["search", "--validation-samples", "0"], ["--validation-samples", "'0'"]),
    (["search", "--validation-samples", "100000"], ["--validation-samples", "359", "100000"]),
    (["search", "--test-samples", "100000"], ["--test-samples", "359", "100000"]),
    (["search", "--calibration-samples", "100000"], ["--calibration-samples", "100000"]),
    (["evaluate", "--assignment", "good.json", "--samples", "-5"], ["--samples", "'-5'"]),
    (["multipliers", "import", "good.npy", *FIGURES, "--power", "nan"], ["--power", "'nan'"]),
    (["multipliers", "import", "good.npy", *FIGURES, "--area", "-3"], ["--area", "'-3'"]),
    (["multipliers", "import", "good.npy", *FIGURES, "--delay", "1e999"], ["--delay", "'1e999'"]),
    (["multipliers", "import", "good.npy"], ["--power", "--area", "--delay"]),
    # choices
    (["search", "--algorithm", "nsga3"], ["--algorithm", "'nsga3'", "nsga2"]),
    (["search", "--calibrator", "median"], ["--calibrator", "'median'"]),
    (["search", "--weight-scales", "per-row"], ["--weight-scales", "'per-row'"]),
    (["search", "--force", "--resume"], ["--force", "--resume"]),
    (["multipliers", "list", "--pareto", "mea"], ["--pareto", "'mea'"]),
    (["multipliers", "list", "--release", "v9"], ["release", "'v9'", "v2022"]),
    # names
    (["search", "--model", "mnist_gan", "--data", "digits"], ["digits", "mnist_gan", "(1, 8, 8)"]),
    (
        ["search", "--model", "lstm_sentiment", "--data", "latents"],
        ["latents", "float32", "(42,)"],
    ),
    (["search", "--model", "resnet9"], ["'resnet9'", "resnet8"]),
    (["search", "--model", "os:getcwd", "--data", "digits"], ["'os:getcwd'", "str"]),
    (["search", "--model", "no.such:net", "--data", "digits"], ["'no.such:net'"]),
    (["search", "--model", "os:nothing", "--data", "digits"], ["'os:nothing'"]),
    (["search", "--model", "os:getcwd"], ["--data"]),
    (["search", "--model", ""], ["--model", "''"]),
    (["search", "--data", "digit"], ["'digit'", "digits"]),
    (["search", "--data", "cifar10"], ["'cifar10'", "PATH"]),
    (["search", "--data", "cifar10:missing"], ["missing"]),
    (["search", "--data", "npz:noise.bin"], ["noise.bin"]),
    (["search", "--multipliers", "mul8s_1L2X"], ["mul8s_1L2X", "mul8s_1L2"]),
    (["search", "--multipliers", "mul9*"], ["--multipliers", "'mul9*'"]),
    (["search", "--multipliers", ","], ["--multipliers", "','"]),
    (["search", "--include", "conv9"], ["'conv9'"]),
    (["search", "--exclude", "conv9"], ["'conv9'"]),
    (["multipliers", "show", "mul8s_1L2X"], ["mul8s_1L2X", "did you mean"]),
    (["multipliers", "import", "good.npy", *FIGURES, "--name", "a/b"], ["name", "'a/b'"]),
    (["multipliers", "export", "mul8s_1L2H", "table.doc"], ["table.doc", ".npy", ".v"]),
    # files
    (["search", "--weights", "missing.pt"], ["missing.pt"]),
    (["search", "--weights", "noise.bin"], ["noise.bin", ".safetensors"]),
    (["search", "--weights", "noise.pt"], ["noise.pt"]),
    (["search", "--weights", "folder"], ["folder"]),
    (["search", "--library", "missing"], ["missing"]),
    (["search", "--library", "folder"], ["folder", ".csv"]),
    (["search", "--library", "noise.bin"], ["noise.bin"]),
    (["search", "--out", ""], ["--out", "''"]),
    (["search", "--out", "noise.bin", "--budget", "2"], ["noise.bin"]),
    (["search", "--out", "none", "--resume", "--budget", "2"], ["none"]),
    (["multipliers", "import", "missing.h", *FIGURES], ["missing.h"]),
    (["multipliers", "import", "short.bin", *FIGURES], ["short.bin", "131072", "10"]),
    (["multipliers", "import", "folder", *FIGURES], ["folder"]),
    (["multipliers", "import", "good.npy", *FIGURES, "--to", "noise.bin"], ["noise.bin"]),
    (["multipliers", "export", "mul8s_1L2H", "no/where.npy"], ["no/"]),
    (["multipliers", "export", "mul8s_1L2H", "folder"], ["folder"]),
    (["evaluate"], ["--assignment"]),
    (["evaluate", "--assignment", "missing.json"], ["missing.json"]),
    (["evaluate", "--assignment", "folder"], ["folder"]),
    (["evaluate", "--assignment", "noise.bin"], ["noise.bin"]),
    (["evaluate", "--assignment", "empty.json"], ["empty.json", "JSON"]),
    (["evaluate", "--assignment", "future.json"], ["future.json", "schema", "999"]),
    (["evaluate", "--assignment", "bare.json"], ["bare.json", "model"]),
    (["evaluate", "--assignment", "odd.json"], ["odd.json", "model.calibrator", "7"]),
    (["evaluate", "--assignment", "bare.json", "--model", "digits_cnn"], ["bare.json", "--data"]),
    (["evaluate", "--assignment", "factory.json"], ["factory.json", "'os:getcwd'", "--model"]),
    (["export", "missing.json", "--out", "a.csv"], ["missing.json"]),
    (["export", "bare.json", "--out", "a.xml"], ["--out", "a.xml"]),
    (["export", "bare.json", "--out", "a.xml", "--format", "onnx"], ["--format", "'onnx'"]),
    (["export", "bare.json", "--out", "noise.csv"], ["noise.csv", "--force"]),
    (["export", "bare.json", "--out", "a.csv", "--point", "1"], ["--point", "bare.json"]),
    (["export", "folder", "--out", "a.csv"], ["--point", "folder"]),
    (["export", "folder", "--out", "a.csv", "--point", "7"], ["--point", "point-07.json"]),
    (["report", "missing"], ["missing"]),
    (["report", "folder"], ["folder"]),
    # spaces, line breaks and bytes that are no text
    (["search", "--library", "a folder\nof two lines"], ["a folder\\nof two lines"]),
    (["evaluate", "--assignment", os.fsdecode(b"\xff.json")], [".json"]),
    (["search", "--bad\noption"], ["--bad\\noption"]),
    (["evaluate", "--assignment", "nul\0.json"], ["--assignment"]),
    (["evaluate", "--assignment", "long" * 2000], ["longlong"]),
]

SOURCE = {
    "model": "os:getcwd",
    "weights": None,
    "data": "digits",
    "calibrator": "mse",
    "weight_scales": "per-channel",
    "calibration_samples": None,
    "include": [],
    "exclude": [],
}


@pytest.fixture
def files(tmp_path):
    """A directory with files that are wrong in their own ways."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    (tmp_path / "noise.pt").write_bytes(bytes(range(256)))
    (tmp_path / "noise.csv").write_text("precious")
    (tmp_path / "short.bin").write_bytes(bytes(10))
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "future.json").write_text('{"schema": 999, "layers": {}}')
    (tmp_path / "bare.json").write_text('{"schema": 1, "layers": {}}')
    odd = {"schema": 1, "layers": {}, "model": {**SOURCE, "calibrator": 7}}
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    factory = {"schema": 1, "layers": {}, "model": SOURCE}
    (tmp_path / "factory.json").write_text(json.dumps(factory))
    np.save(tmp_path / "good.npy", np.zeros((256, 256), np.int16))
    return tmp_path


def contents(directory):
    """Every file with its bytes, and every folder."""
    return {file: file.read_bytes() if file.is_file() else None for file in directory.rglob("*")}


@pytest.mark.parametrize(
    ("words", "fragments"), WRONG, ids=[" ".join(words)[:60] for words, _ in WRONG]
)
def test_wrong_input_is_one_line_and_changes_nothing(axopt, files, words, fragments):
    before = contents(files)
    done = axopt(*words, *(["--quiet"] if words and words[0] == "search" else []))
    assert done.code == 2, done.err
    assert done.out == ""
    assert done.err.startswith("axopt")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    assert "internal error" not in done.err
    for fragment in fragments:
        assert fragment in done.err
    assert contents(files) == before


def test_debug_shows_where(axopt):
    done = axopt("multipliers", "show", "nothing", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err


def test_a_bug_is_one_line_and_exit_1(axopt, monkeypatch):
    def broken(options):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("axopt.cli.multipliers.list_.run", broken)
    done = axopt("multipliers", "list")
    assert done.code == 1
    assert done.err.startswith("axopt multipliers: internal error: RuntimeError: two\\nlines")
    assert done.err.count("\n") == 1


def test_a_full_disk_is_exit_1(axopt, monkeypatch):
    def full(options):
        raise OSError(28, "No space left on device", "runs/x")

    monkeypatch.setattr("axopt.cli.multipliers.list_.run", full)
    done = axopt("multipliers", "list")
    assert (done.code, done.err) == (1, "axopt multipliers: 'runs/x': No space left on device\n")


def test_ctrl_c_is_exit_130(axopt, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("axopt.cli.multipliers.list_.run", interrupted)
    done = axopt("multipliers", "list")
    assert (done.code, done.err) == (130, "axopt multipliers: interrupted\n")
