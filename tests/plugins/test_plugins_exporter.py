"""An exporter from outside the package: one file, one registration.

As CONTRIBUTING.md, "A new exporter", tells it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from axopt.model import Assignment
from axopt.model.assignment import LayerAssignment

ROOT = Path(__file__).resolve().parents[2]

PLUGIN = """
from axopt import register_exporter


@register_exporter("markdown", suffix=".md", summary="the layers as a Markdown table")
def markdown(given):
    rows = [f"| {name} | {layer.multiplier} |" for name, layer in given.assignment.layers.items()]
    return "\\n".join(["| layer | multiplier |", "| --- | --- |", *rows, ""])
"""


@pytest.fixture
def installed(tmp_path):
    """A folder as pip leaves it: a module, and the metadata of a package that offers it."""
    (tmp_path / "axopt_markdown.py").write_text(PLUGIN, "utf-8")
    info = tmp_path / "axopt_markdown-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: axopt-markdown\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[axopt.exporters]\nmarkdown = axopt_markdown:markdown\n"
    )
    assignment = Assignment({"conv1": LayerAssignment("v1/mul8s_1L2H", "ab")})
    assignment.save(tmp_path / "point.json")
    return tmp_path


CALLS = """
import contextlib, io, json, sys
from axopt.cli import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def axopt(folder, *calls):
    """Run the calls, one after the other, in a process that finds the installed package."""
    path = os.pathsep.join([str(ROOT), str(folder)])
    done = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps([call.split() for call in calls])],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_installed_exporter_reaches_the_command_line(installed):
    ((code, out, err),) = axopt(installed, "export point.json --out layers.md --json")
    assert code == 0, err
    assert json.loads(out)["format"] == "markdown"
    text = (installed / "layers.md").read_text("utf-8")
    assert text == "| layer | multiplier |\n| --- | --- |\n| conv1 | v1/mul8s_1L2H |\n"


def test_help_lists_it_without_importing_it(installed):
    (installed / "axopt_markdown.py").write_text("raise RuntimeError('imported')", "utf-8")
    done = axopt(
        installed,
        "export --help",
        "export point.json --out a.csv --format csv",
        "export point.json --out b.csv",  # by its suffix
        "export point.json --out a.md",
    )
    assert [code for code, _, _ in done] == [0, 0, 0, 2], done
    assert "csv,json,markdown" in done[0][1]
    assert "axopt_markdown:markdown" in done[3][2]
