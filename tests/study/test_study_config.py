"""Settings of a search: checked once, read from TOML, kept with the run."""

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

import axopt
from axopt.cli import main
from axopt.errors import ArgumentError
from axopt.study import SearchConfig
from axopt.study.config import CORRECTIONS

FULL = SearchConfig(
    algorithm="tpe",
    algorithm_options={"startup": 5},
    budget=7,
    seed=3,
    population=4,
    operand_order=True,
    groups={"a b": "conv*", "c": ["x", "y\u00e9\"'"]},
    correct=["order", "gain"],
    reestimate_samples=9,
    objectives=["rel_area", "delay_ns"],
    metric="f1",
    validation_samples=11,
    test_samples=12,
    batch_size=13,
)


@pytest.mark.parametrize("config", [SearchConfig(), FULL, SearchConfig(groups=["a", ["b", "c"]])])
def test_what_is_written_reads_back(config, tmp_path):
    (tmp_path / "run.toml").write_text(config.to_toml(), "utf-8")
    assert SearchConfig.from_toml(tmp_path / "run.toml").settings() == config.settings()


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("budget", 0, "an integer >= 1, got 0"),
        ("budget", True, "an integer >= 1, got True"),
        ("seed", -1, "an integer >= 0, got -1"),
        ("population", 1.0, "an integer >= 2, got 1.0"),
        ("algorithm", "nsga9", "a known algorithm, got 'nsga9'; did you mean 'nsga2'"),
        ("objectives", ["speed"], "a known objective, got 'speed'; known are delay_ns"),
        ("objectives", "rel_power", "a list of texts, got 'rel_power'"),
        ("metric", "", "a printable, non-empty text, got ''"),
        ("groups", "conv*", "a list or a table of patterns, got 'conv"),
        ("correct", "yes", "true, false or a list of corrections (order, aff"),
        ("algorithm_options", {"x": None}, "a table of plain values, got {'x': None}"),
        ("correct", ["order", "gian"], "true, false or a list of corrections (order, affine, act"),
        ("batch_size", 0, "an integer >= 1, got 0"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(name, value, rule):
    with pytest.raises(ArgumentError) as raised:
        SearchConfig(**{name: value})
    assert str(raised.value).startswith(f"`{name}` must be {rule}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgt = 3", "budgt: must be a known setting, got 'budgt'; did you mean 'budget'?"),
        ("budget = '3'", "budget: must be an integer >= 1, got '3'."),
        ("budget = nan", "budget: must be an integer >= 1, got nan."),
        ("budget = 1e400", "budget: must be an integer >= 1, got inf."),
        ("budget = 3\nseed = 1\nbudget = 4", "budget: must be given once, got it again: 4."),
        ("seed = 1\nbudget = 3\nbudget = 4\n", "budget: must be given once, got it again: 4."),
        ("budget = ", "must be TOML: Invalid value (at end of document)."),
        ("budget = 3 4", "must be TOML: "),
        ("objectives = [" + "[" * 20_000, "must be TOML, got values nested too deeply."),
        ("budget = 3\n\ufeffseed = 1", "must be TOML: "),
        (
            "correct = ['order', 'gian']",
            "correct: must be true, false or a list of corrections (order, affine, "
            "activation_codes, weight_codes, mean_error, gain, order_by_power), got "
            "['order', 'gian'].",
        ),
        ("correct = 'order'", "correct: must be true, false or a list of corrections ("),
        ("metric = 1", "metric: must be a printable, non-empty text, got 1."),
        ("validation_samples = 2.0", "validation_samples: must be an integer >= 1, got 2.0."),
        ("validation_samples = 0", "validation_samples: must be an integer >= 1, got 0."),
        (b"model = '\xe9'", "must be UTF-8"),
        (b"# " + b"x" * 1_000_000, "must have at most 1000000 bytes, got more."),
        ("calibrator = 'max'", "calibrator: must be one of minmax, percentile, mse, entropy"),
        ("seed = 4294967296", "seed: must be an integer in 0..4294967295, got '4294967296'."),
        ("algorithm_options = 3", "algorithm_options: must be a table of plain values, got 3."),
        ("a." * 200_000 + "b = 1", "keys must have at most 50 parts."),
        ("budget = " + "9" * 9000, "must be TOML: Exceeds the limit"),
        ("budget = 0x" + "f" * 9000, "budget: must have integers of at most 64 bits."),
        ("algorithm_options = {x = [0x" + "f" * 9000 + "]}", "algorithm_options: must have int"),
        ("multipliers = 'a'", "multipliers: must be a list of texts, got 'a'."),
    ],
)
def test_a_wrong_file_is_one_line_with_its_name(text, message, tmp_path, capsys):
    file = tmp_path / "run.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    tracemalloc.start()
    started = time.process_time()
    assert main(["search", "--config", str(file), "--out", str(tmp_path / "run")]) == 2
    assert time.process_time() - started < 2
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    error = capsys.readouterr().err
    assert f"{file}: {message}" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, capsys):
    file = tmp_path / "run.toml"
    file.write_text("budget = 7", "utf-8-sig")
    assert file.read_bytes().startswith(b"\xef\xbb\xbfbudget")
    assert SearchConfig.from_toml(file).budget == 7
    assert main(["search", "--resume", "--out", str(tmp_path), "--seed", "3"]) == 2
    assert "`--seed` is 3, but 0 in the run" in capsys.readouterr().err


def test_the_names_of_corrections_are_those_that_there_are():
    by_power = axopt.Corrections(order="power").names[:1]
    assert axopt.Corrections().names + by_power == CORRECTIONS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("correct = ['gian']", "correct: must be true, false or a list of corrections"),
        ("metric = 'top2'", "`--metric` must be a known metric, got 'top2'; did you mean 'top"),
        ("validation_samples = 0", "validation_samples: must be an integer >= 1, got 0."),
    ],
)
def test_a_wrong_value_is_refused_before_torch_is_imported(line, message, tmp_path):
    (tmp_path / "in.toml").write_text(line)
    script = (
        "import sys; from axopt.cli import main; code = main(sys.argv[1:]); "
        "print([name for name in ('torch', 'numpy') if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "search", "--config", "in.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(axopt.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_files_are_one_line(tmp_path, capsys):
    assert main(["search", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err


@pytest.mark.parametrize("size", [3, 60, 700])
def test_texts_and_comments_may_have_many_dots(size, tmp_path):
    file = tmp_path / "run.toml"
    dots = "." * size
    file.write_text(f"# {dots}\ngroups = [\"a{dots}\", 'b{dots}']\nbudget = 3 # {dots}\n")
    assert SearchConfig.from_toml(file).groups == [f"a{dots}", f"b{dots}"]


def test_a_pipe_as_settings_file_is_refused_at_once(tmp_path, capsys):
    pipe = tmp_path / "run.toml"
    os.mkfifo(pipe)
    assert main(["search", "--config", str(pipe)]) == 2
    assert "not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("put", [Path.mkdir, lambda file: file.symlink_to("/dev/zero")])
def test_settings_of_a_run_that_cannot_be_read_are_not_replaced_by_defaults(put, tmp_path, capsys):
    (tmp_path / "study.sqlite").touch()
    put(tmp_path / "run.toml")
    assert main(["search", "--resume", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path / 'run.toml'}" in capsys.readouterr().err


def test_flags_win_over_the_file_and_the_run_keeps_both(tmp_path, capsys):
    file, out = tmp_path / "in.toml", tmp_path / "run"
    file.write_text(
        "budget = 9\nmultipliers = ['mul8s_1KV8', 'mul8s_1L2H']\ncorrect = false\n"
        "validation_samples = 30\ntest_samples = 30\ncalibration_samples = 40\n"
        f"groups = ['*.*']\nout = '{out}'\nbatch_size = 10\n"
    )
    words = ["search", "--config", str(file), "--budget", "3", "--quiet", "--json"]
    assert main(words) == 0
    kept = SearchConfig.from_toml  # the run has further settings of the command line
    with pytest.raises(ArgumentError, match="must be a known setting"):
        kept(out / "run.toml")
    text = (out / "run.toml").read_text("utf-8")
    for line in ("budget = 3", "correct = false", 'groups = ["*.*"]', "batch_size = 10"):
        assert f"{line}\n" in text
    again = tmp_path / "again"
    assert main(["search", "--config", str(out / "run.toml"), "--out", str(again), "--quiet"]) == 0
    assert (again / "front.csv").read_bytes() == (out / "front.csv").read_bytes()
