"""A new objective from outside the package: one file and one registration."""

import json
import sys
from importlib import metadata

import pytest

import axopt
from axopt import registry
from axopt.cli import main
from axopt.errors import ArgumentError
from axopt.study import OBJECTIVES

PLUG_IN = '''
"""How many different multipliers a network needs: each is designed and verified once."""

from axopt import register_objective


def kinds(point):
    return len({setting.multiplier.key for setting in point.candidate.layers.values()})


KINDS = register_objective("kinds", kinds, title="different multipliers", unit="")
'''


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A package that offers the objective by an entry point, as pip installs it."""
    (tmp_path / "kinds_plugin.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    point = metadata.EntryPoint("kinds", "kinds_plugin:KINDS", "axopt.objectives")
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == "axopt.objectives" else []
    )
    yield tmp_path
    if sys.modules.pop("kinds_plugin", None) is not None:
        OBJECTIVES.remove("kinds")


def test_a_search_minimises_it(installed, capsys):
    assert main(["search", "--help"]) == 0
    assert "distinct, kinds, rel_area" in " ".join(capsys.readouterr().out.split())
    words = ["search", "--multipliers", "mul8s_1KV8,mul8s_1L2H", "--no-correct", "--group", "*.*"]
    words += ["--validation-samples", "30", "--test-samples", "30", "--budget", "8"]
    out = installed / "run"
    words += ["--objectives", "rel_power,kinds", "--out", str(out), "--quiet", "--json"]
    assert main(words) == 0
    front = json.loads(capsys.readouterr().out)["front"]
    record = json.loads((out / "record.json").read_text("utf-8"))["record"]
    uniform = [p for p in record["front"] if len({o["multiplier"] for o in p["layers"]}) == 1]
    assert 0 < len(uniform) <= len(front)
    assert main(["search", "--objectives", "kind", "--out", "x"]) == 2
    assert "`objectives` must be a known objective, got 'kind'; did you mean 'kinds'" in (
        capsys.readouterr().err
    )


def test_names_are_given_once_and_functions_are_called():
    with pytest.raises(ArgumentError, match="`name` must be a new objective, got 'rel_power'"):
        axopt.register_objective("rel_power", lambda point: 0.0, title="", unit="")
    with pytest.raises(ArgumentError, match="`function` must be callable, got float"):
        axopt.register_objective("constant", 1.0, title="", unit="")


@pytest.mark.parametrize(
    ("wrong", "value"),
    [("title", 3), ("title", "a\nb"), ("unit", None), ("multiplier_figure", 3), ("check", 3)],
)
def test_an_objective_of_wrong_parts_is_refused(wrong, value):
    parts = {"title": "one", "unit": "", wrong: value}
    with pytest.raises(ArgumentError, match=f"`{wrong}` must be"):
        axopt.register_objective("wrong", lambda point: 1.0, **parts)
    assert "wrong" not in OBJECTIVES
