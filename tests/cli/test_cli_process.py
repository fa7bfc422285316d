"""The command line as a process of its own: what it imports, pipes, signals, doctor."""

import argparse
import importlib
import json
import os
import subprocess
import sys

import pytest

from axopt.cli import COMMANDS

HEAVY = ("torch", "numpy", "pandas", "pymoo", "optuna", "matplotlib", "sklearn")
SHOW_IMPORTS = f"""
import sys
from axopt.cli import main
code = main(sys.argv[1:])
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def run(*command, **options):
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command):
    done = run("-c", SHOW_IMPORTS, *filter(None, [command]), "--help")
    assert done.returncode == 0
    assert "usage: axopt" in done.stdout
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("flag", ["--budget=0", "--objectives=speed", "--resume"])
def test_bad_input_imports_nothing_heavy(flag, tmp_path):
    done = run("-c", SHOW_IMPORTS, "search", flag, "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.endswith("[]\n")


def test_module_runs_and_names_its_version():
    from axopt import __version__

    done = run("-m", "axopt", "--version")
    assert (done.returncode, done.stdout) == (0, f"axopt {__version__}\n")


def test_doctor_finds_this_installation_sound():
    done = run("-m", "axopt", "doctor", "--json", "--quiet")
    result = json.loads(done.stdout)
    assert [c for c in result["checks"] if not c["ok"]] == []
    names = {"cache", "kernels", "library", "threads", "models", "verilog"}
    assert {c["name"] for c in result["checks"]} == names
    assert (done.returncode, result["ok"], done.stderr) == (0, True, "")


DOCTOR_AND_SEARCH = """
import sys
from axopt.cli import main
print("doctor ends with", main(["doctor", "--quiet"]))
sys.exit(main(["search", "--budget", "1", "--quiet"]))
"""


def test_an_unknown_instruction_set_fails_the_doctor_and_is_bad_input_elsewhere(tmp_path):
    """One process for both: it takes longer to start than they do."""
    path = os.pathsep.join(sys.path)
    env = {**os.environ, "AXOPT_ISA": "abacus", "PYTHONPATH": path}
    done = run("-c", DOCTOR_AND_SEARCH, cwd=tmp_path, env=env)
    assert "FAIL  kernels: IsaError: `AXOPT_ISA`: instruction set 'abacus'" in done.stdout
    assert "doctor ends with 1\n" in done.stdout
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'abacus'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_reader_that_stops_early_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "axopt", "multipliers", "list", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_closed_stdout_is_no_error():
    command = f"exec '{sys.executable}' -m axopt multipliers list >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


def test_output_survives_an_ascii_terminal(tmp_path):
    name = os.fsdecode(b"caf\xc3\xa9 \xff.npy")
    done = run(
        *("-m", "axopt", "multipliers", "export", "mul8s_1L2H", name),
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [os.fsencode(file.name) for file in tmp_path.iterdir()] == [os.fsencode(name)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    parser = argparse.ArgumentParser()
    importlib.import_module(f"axopt.cli.{command}").add_arguments(parser)
    pending, silent = [parser], []
    while pending:
        for action in pending.pop()._actions:  # argparse lists them nowhere else
            if isinstance(action, argparse._SubParsersAction):
                pending += action.choices.values()
            elif not (action.help or "").split("(default")[0].strip():
                silent.append(action.dest)
    assert not silent
