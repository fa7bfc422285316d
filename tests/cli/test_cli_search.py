"""search, evaluate, export and report: the main job through the command line."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from axopt.cli import main
from axopt.multipliers import load_library
from axopt.study import AssignmentProblem

SAMPLES = ("--validation-samples", "60", "--test-samples", "70", "--calibration-samples", "40")
TWO = ("--multipliers", "mul8s_1KV8,mul8s_1KR3")
NSGA2 = ("--algorithm", "nsga2")  # tests here state how many evaluations it makes
QUICK = (*SAMPLES, *TWO, *NSGA2)  # corrections of each multiplier take time
FOUR = ("--multipliers", "mul8s_1KV8,mul8s_1L2H,mul8s_1KTY,mul8s_1KR3")
UNCORRECTED = (*SAMPLES, *FOUR, *NSGA2, "--no-correct")  # quicker still, where they change nothing


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small finished search."""
    out = tmp_path_factory.mktemp("search") / "run"
    assert main(["search", *QUICK, "--budget", "12", "--out", str(out), "--quiet"]) == 0
    return out


def front(run):
    with open(run / "front.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(run):
    return {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def test_a_run_folder_holds_what_is_promised(run):
    points = front(run)
    assert points
    for name in ("run.toml", "study.sqlite", "pareto.png", "report.html"):
        assert (run / name).stat().st_size > 0
    written = sorted(f"assignments/{file.name}" for file in (run / "assignments").iterdir())
    assert written == [point["assignment"] for point in points]
    assert {point["split"] for point in points} == {"test"}


def test_evaluate_gives_the_quality_and_cost_of_the_front(run, axopt):
    for point in front(run):
        done = axopt("evaluate", "--assignment", run / point["assignment"], "--json", "--quiet")
        assert (done.code, done.err) == (0, "")
        result = json.loads(done.out)
        assert result["quality"]["n"] == 70
        for figure, column in (("value", ""), ("low", "_low"), ("high", "_high")):
            assert result["quality"][figure] == float(point[f"quality{column}"])
        for figure in ("rel_power", "rel_area", "delay_ns"):
            assert result["cost"][figure] == float(point[figure])


def test_evaluate_takes_other_samples_and_metrics(run, axopt):
    file = run / "assignments" / "point-00.json"
    done = axopt("evaluate", "--assignment", file, "--samples", "30", "--metric", "top5", "--json")
    assert json.loads(done.out)["quality"]["n"] == 30
    assert json.loads(done.out)["quality"]["metric"] == "top5"
    done = axopt("evaluate", "--assignment", file, "--split", "validation")
    assert "on 60 validation samples" in done.out


def test_evaluate_fills_in_what_the_file_does_not_name(run, axopt, tmp_path):
    document = json.loads((run / "assignments" / "point-00.json").read_text("utf-8"))
    document["model"] = {"digest": document["model"]["digest"]}
    (tmp_path / "bare.json").write_text(json.dumps(document))
    words = ("--model", "digits_cnn", "--data", "digits", "--json")
    done = axopt("evaluate", "--assignment", "bare.json", *words)
    assert done.code == 0, done.err
    assert json.loads(done.out)["quality"]["value"] == float(front(run)[0]["quality"])


def test_an_existing_run_is_never_overwritten(run, axopt):
    before = contents(run)
    done = axopt("search", *QUICK, "--out", run)
    assert done.code == 2
    assert str(run) in done.err
    assert done.err.count("\n") == 1
    assert contents(run) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seed", "5"), "`--seed` is 5, but 0 in the run"),
        (("--algorithm", "tpe"), "`--algorithm` is 'tpe', but 'nsga2' in the run"),
        (("--weights", "x.pt"), "`--weights` is 'x.pt', but not set in the run"),
        (("--no-correct",), "`--correct` is False, but True in the run"),
        (("--swap",), "`--swap` is True, but False in the run"),
        (("--test-samples", "71"), "`--test-samples` is 71, but 70 in the run"),
        (("--group", "widen.*"), "`--group` is [['widen.*']], but not set in the run"),
        (("--calibrator", "minmax"), "`--calibrator` is 'minmax', but 'mse' in the run"),
        (
            ("--weight-scales", "per-tensor"),
            "`--weight-scales` is 'per-tensor', but 'per-channel' in the run",
        ),
        (("--padded-taps", "skip"), "`--padded-taps` is 'skip', but 'multiply' in the run"),
        (("--calibration-samples", "41"), "`--calibration-samples` is 41, but 40 in the run"),
        (("--accumulator-bits", "20"), "`--accumulator-bits` is 20, but not set in the run"),
    ],
)
def test_a_flag_that_contradicts_the_run_is_refused_by_its_name(run, axopt, flags, message):
    before = contents(run)
    done = axopt("search", "--out", run, "--resume", *flags, "--quiet")
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert contents(run) == before


def test_flags_that_agree_with_the_run_are_accepted(run, axopt):
    before = (run / "run.toml").read_bytes()
    words = ("--calibrator", "mse", "--weight-scales", "per-channel", "--padded-taps", "multiply")
    words += ("--activation-codes", "remapped", "--correct", "--no-swap", "--model", "digits_cnn")
    words += ("--data", "digits", "--metric", "top1", "--seed", "0", *QUICK)
    done = axopt("search", "--out", run, "--resume", *words, "--json", "--quiet")
    assert done.code == 0, done.err
    assert json.loads(done.out)["evaluated"] == 0
    assert (run / "run.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("flag", "value", "held"),
    [
        ("--calibrator", "mse", "minmax"),
        ("--padded-taps", "multiply", "skip"),
        ("--overflow", "saturate", "wrap"),
        ("--calibration-samples", 512, 511),
    ],
)
def test_flags_are_compared_with_what_the_run_holds(axopt, tmp_path, flag, value, held):
    (tmp_path / "run.toml").write_text(
        "calibrator = 'minmax'\naccumulator_bits = 24\npadded_taps = 'skip'\n"
        "calibration_samples = 511\n"
    )
    resume = ("search", "--resume", "--out", tmp_path, flag)
    assert f"`{flag}` is {value!r}, but {held!r} in the run" in axopt(*resume, value).err
    assert "there is no search in" in axopt(*resume, held).err  # the next thing to be checked


def test_resuming_needs_the_folder_alone_and_changes_nothing(axopt, tmp_path):
    run, out = tmp_path / "one", tmp_path / "two"
    assert axopt("search", *UNCORRECTED, "--budget", "12", "--out", run).code == 0
    done = axopt("search", *UNCORRECTED, "--budget", "5", "--out", out, "--json")
    (note,) = json.loads(done.out)["notes"]
    assert "All 5 trials are uniform or random assignments: nsga2 starts to learn after 40" in note
    done = axopt("search", "--resume", "--out", out, "--budget", "12", "--json")
    result = json.loads(done.out)
    assert (result["evaluated"], result["cached"] >= 5) == (7, True)
    assert (out / "front.csv").read_bytes() == (run / "front.csv").read_bytes()
    assert [str(point["quality"]) for point in result["front"]] == [
        point["quality"] for point in front(out)
    ]
    assert "budget = 12\n" in (out / "run.toml").read_text("utf-8")
    again = axopt("search", "--resume", "--out", out, "--json")  # with the settings of the flags
    assert json.loads(again.out)["evaluated"] == 0


def test_a_run_without_settings_is_resumed_by_flags(axopt, tmp_path):
    out = tmp_path / "old"
    assert axopt("search", *UNCORRECTED, "--budget", "3", "--out", out).code == 0
    (out / "run.toml").unlink()  # as runs of earlier versions
    done = axopt("search", "--resume", "--out", out)
    assert done.code == 2
    assert re.search(
        "was prepared otherwise|validation samples|`choices`|`correct|`algorithm`", done.err
    )
    assert "digest" not in done.err
    words = (*UNCORRECTED, "--calibration-samples", "41", "--budget", "3", "--out", out)
    done = axopt("search", *words, "--resume", "--quiet")
    assert "prepared otherwise (calibration samples, calibrator or weight scales)" in done.err
    assert not re.search("[0-9a-f]{16}", done.err)
    done = axopt("search", *UNCORRECTED, "--budget", "4", "--out", out, "--resume", "--json")
    assert json.loads(done.out)["evaluated"] == 1


def test_a_small_space_says_that_it_was_searched_exhaustively(axopt, tmp_path):
    words = (*UNCORRECTED, "--group", "*", "--budget", "4", "--out", "all")
    done = axopt("search", *words, "--json")
    result = json.loads(done.out)
    assert (result["algorithm"], result["stop_reason"]) == ("exhaustive", "exhausted")
    assert "The space has 4 points" in result["notes"][0]
    assert "nsga2 was asked for" in result["notes"][0]
    record = json.loads((tmp_path / "all" / "record.json").read_text("utf-8"))["record"]
    assert (record["algorithm"], record["algorithm_asked"]) == ("exhaustive", "nsga2")


def test_drops_are_against_the_exact_multiplier_with_the_same_treatment(run, axopt):
    record = json.loads((run / "record.json").read_text("utf-8"))["record"]
    uniform = {point["label"]: point for point in record["uniform"]}
    baseline = record["baseline"]
    assert baseline["quality"] == uniform["v1/mul8s_1KV8"]["quality"]
    assert baseline["drop"] == 0
    for point in [*record["front"], *uniform.values()]:
        assert point["drop"] == pytest.approx(baseline["quality"] - point["quality"])
        assert point["drop_low"] <= point["drop"] <= point["drop_high"]
    assert record["coverage"] == 1
    assert record["exact"]["label"] == "exact"


def test_force_replaces_a_run(axopt, tmp_path):
    out = tmp_path / "again"
    assert axopt("search", *UNCORRECTED, "--budget", "4", "--out", out).code == 0
    (out / "assignments" / "point-99.json").write_text("stale")
    done = axopt("search", *UNCORRECTED, "--budget", "5", "--out", out, "--force", "--json")
    assert json.loads(done.out)["evaluated"] == 5
    assert not (out / "assignments" / "point-99.json").exists()


def test_progress_goes_to_stderr_and_can_be_silenced(axopt):
    done = axopt("search", *UNCORRECTED, "--budget", "3", "--out", "one")
    assert "search: 3 of 3, " in done.err
    assert "point-00" in done.out
    done = axopt("search", *UNCORRECTED, "--budget", "3", "--out", "two", "--quiet")
    assert (done.code, done.err) == (0, "")


def test_report_is_made_again_from_the_record(run, axopt):
    before = contents(run)
    for name in ("front.csv", "pareto.png", "report.html"):
        (run / name).unlink()
    done = axopt("report", run, "--json")
    assert done.code == 0
    files = json.loads(done.out)["files"]
    assert files == [str(run / name) for name in ("front.csv", "pareto.png", "report.html")]
    after = contents(run)
    assert after.keys() == before.keys()
    assert after[run / "front.csv"] == before[run / "front.csv"]
    assert after[run / "report.html"] == before[run / "report.html"]


def test_export_as_csv_and_json(run, axopt, tmp_path):
    assert axopt("export", run, "--point", "0", "--out", "layers.csv").code == 0
    with open(tmp_path / "layers.csv", encoding="utf-8", newline="") as file:
        rows = {row["layer"]: row for row in csv.DictReader(file)}
    file = run / "assignments" / "point-00.json"
    layers = json.loads(file.read_text())["layers"]
    assert rows.keys() == layers.keys()
    assert all(rows[name]["multiplier"] == layers[name]["multiplier"] for name in layers)
    assert axopt("export", file, "--out", "point.json").code == 0
    assert json.loads((tmp_path / "point.json").read_text()) == json.loads(file.read_text())


def test_search_among_imported_multipliers(axopt, library):
    axopt("multipliers", "export", "mul8s_1L2H", "mine.npy")
    figures = ("--power", "0.1", "--area", "300", "--delay", "1")
    assert axopt("multipliers", "import", "mine.npy", *figures, "--to", "lib").code == 0
    words = (*UNCORRECTED, "--multipliers", "user/*", "--library", "lib", "--budget", "1")
    done = axopt("search", *words, "--out", "run", "--quiet")
    assert done.code == 0, done.err
    file = Path("run/assignments/point-00.json")
    layers = json.loads(file.read_text("utf-8"))["layers"].values()
    assert {layer["multiplier"] for layer in layers} == {"user/mine"}
    assert {layer["digest"] for layer in layers} == {library["mul8s_1L2H"].digest}
    done = axopt("evaluate", "--assignment", file, "--json")
    rel_power = json.loads(done.out)["cost"]["rel_power"]
    assert rel_power == float(front_row("run", "point-00")["rel_power"])
    assert rel_power == pytest.approx(0.1 / library.exact(signed=True).power_mw)


def front_row(run, point):
    with open(os.path.join(run, "front.csv"), encoding="utf-8", newline="") as file:
        return next(row for row in csv.DictReader(file) if row["point"] == point)


def test_default_multipliers_are_the_13_signed_multipliers():
    from axopt.cli.loading import choose_multipliers

    bundled = load_library()
    chosen = choose_multipliers(bundled, None)
    assert set(chosen) == set(bundled.select(release="v1", signed=True))
    assert len(chosen) == 13


def test_patterns_take_equal_tables_once():
    from axopt.cli.loading import choose_multipliers

    bundled = load_library()
    # v2022's 1L2J, 1L2L, 1L2N and 1L12 are v1's 1L2H, 1L2D, 1L1G and 1KR3 under other names
    assert set(choose_multipliers(bundled, ["mul8s_1L*"])) == {
        *("v1/mul8s_1L2H", "v1/mul8s_1L2D", "v1/mul8s_1L1G"),
        "v2022/mul8s_1L12",
    }
    assert len(choose_multipliers(bundled, ["mul8s_*"])) == 13
    assert list(choose_multipliers(bundled, ["mul8s_1KV8", "v2022/mul8s_1KV8"])) == [
        *("v1/mul8s_1KV8", "v2022/mul8s_1KV8"),
    ]
    assert "v1/mul8u_E9R" not in choose_multipliers(bundled, ["mul8u_*"])


@pytest.fixture
def own_model(tmp_path):
    """A model, weights and data of the user in the current directory."""
    (tmp_path / "own_net_for_tests.py").write_text(
        "from torch import nn\n\n\ndef make():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(),"
        " nn.Linear(64, 3))\n"
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    torch.save(model.state_dict(), tmp_path / "own.pt")
    images = np.random.default_rng(0).integers(0, 256, (90, 1, 6, 6), dtype=np.uint8)
    labels = np.arange(90) % 3
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return "own_net_for_tests:make"


def test_own_model_weights_and_data(axopt, own_model):
    words = ("--model", own_model, "--weights", "own.pt", "--data", "npz:own.npz")
    done = axopt("search", *words, *TWO, "--budget", "4", "--quiet")
    assert done.code == 0, done.err
    run = "runs/own_net_for_tests-make"
    file = f"{run}/assignments/point-00.json"
    done = axopt("evaluate", "--assignment", file, "--model", own_model, "--json")
    assert json.loads(done.out)["quality"]["value"] == float(front_row(run, "point-00")["quality"])


def test_a_file_alone_never_imports_code(axopt, own_model):
    words = ("--model", own_model, "--weights", "own.pt", "--data", "npz:own.npz")
    assert axopt("search", *words, *TWO, "--budget", "1", "--out", "run").code == 0
    sys.modules.pop("own_net_for_tests")
    done = axopt("evaluate", "--assignment", "run/assignments/point-00.json")
    assert done.code == 2
    assert "give `--model`" in done.err
    assert "own_net_for_tests" not in sys.modules


@pytest.fixture
def endless(tmp_path):
    """A search in a process of its own, once it evaluates."""
    # as from a terminal: what a shell starts in the background ignores the signal
    code = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "runpy.run_module('axopt', run_name='__main__')"
    )
    words = (*UNCORRECTED, "--budget", "10000", "--out", "run")
    command = [sys.executable, "-c", code, "search", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def when_searching(process):
    next(line for line in process.stderr if line.startswith("search: "))


SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.fixture
def signalled(axopt, monkeypatch):
    """A search in this process that gets a signal in its sixth evaluation."""

    def search(number):
        begin, calls = AssignmentProblem.begin, []

        def counted(problem, genes):
            calls.append(genes)
            if len(calls) == 6:
                signal.raise_signal(number)
            return begin(problem, genes)

        with monkeypatch.context() as patch:
            patch.setattr(AssignmentProblem, "begin", counted)
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                done = axopt("search", *UNCORRECTED, "--budget", "100", "--out", "run")
            finally:
                signal.signal(signal.SIGINT, before)
        return done.code, done.err

    return search


@pytest.fixture
def signalled_from_outside(endless):
    """A search in a process of its own that gets a signal while it evaluates."""

    def search(number):
        when_searching(endless)
        endless.send_signal(number)
        error = endless.stderr.read()
        return endless.wait(timeout=60), error

    return search


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
@pytest.mark.parametrize(
    "how", ["signalled", pytest.param("signalled_from_outside", marks=pytest.mark.slow)]
)
def test_a_signal_leaves_what_is_known_and_says_how_to_resume(
    axopt, how, number, code, word, tmp_path, request
):
    found, error = request.getfixturevalue(how)(number)
    last_line = error.splitlines()[-1]
    assert found == code
    assert last_line.startswith(f"axopt search: {word}; ")
    assert last_line.endswith("; resume with: python -m axopt search --resume --out run")
    record = json.loads((tmp_path / "run" / "record.json").read_text("utf-8"))["record"]
    assert (record["partial"], record["stop_reason"]) == (True, "interrupted")
    assert record["exact"]["split"] == "validation"
    assert "Qualities are those of the validation split" in record["notes"][-1]
    assert len(record["front"]) == len(front(tmp_path / "run")) > 0
    for name in ("pareto.png", "report.html"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    for point in record["front"]:
        assert (tmp_path / "run" / point["assignment"]).exists()
    done = axopt("search", "--out", "run", "--resume", "--budget", "12", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["cached"] >= 1
    assert {point["split"] for point in front(tmp_path / "run")} == {"test"}


def test_a_run_in_use_is_refused_at_once_and_a_second_signal_ends_it_at_once(endless, tmp_path):
    when_searching(endless)
    script = (
        "import sys; from axopt.cli import main;"
        "code = main(['search', '--resume', '--out', 'run']);"
        "print([name for name in ('torch', 'numpy', 'pandas') if name in sys.modules]);"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "[]\n")
    holder = f"process {endless.pid} on host {socket.gethostname()!r}"
    assert done.stderr.endswith(f"another search writes to it: {holder}.\n")
    endless.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    endless.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert endless.wait(timeout=60) == 143
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("axopt.cli.console", "axopt: interrupted"),
        ("axopt.cli.search", "axopt search: interrupted"),
        ("torch", "axopt search: interrupted"),
    ],
)
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path, module, line):
    code = (
        "import os, runpy, signal, sys\n"
        "class Press:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Press())\n"
        "runpy.run_module('axopt', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "search", *UNCORRECTED, "--out", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, f"{line}\n")
    assert not (tmp_path / "run").exists()


def test_groups_share_a_multiplier_and_typing_errors_are_one_line(axopt, tmp_path):
    out = tmp_path / "run"
    options = (*UNCORRECTED, "--budget", "5", "--out", out, "--quiet")
    done = axopt("search", *options, "--group", "widen.*,shrink.*", "--json")
    assert (done.code, done.err) == (0, "")
    for file in (out / "assignments").iterdir():
        layers = json.loads(file.read_text("utf-8"))["layers"]
        assert len(layers) == 7
        assert layers["widen.conv"] == layers["shrink.conv"]
    done = axopt("search", *options, "--group", "widen.*", "--group", "w*", "--force")
    assert done.code != 0
    assert "must not overlap" in done.err
    done = axopt("search", *options, "--resume", "--group", "w*")
    assert done.code == 2
    assert "`--group` is" in done.err
