"""A new search algorithm from outside the package: one file and one registration."""

import json
import sys
from importlib import metadata

import pytest

from axopt import registry
from axopt.cli import main
from axopt.exploration import ALGORITHMS
from axopt.exploration.testing import check_algorithm

PLUG_IN = '''
"""Proposes the cheapest unseen neighbours of what it was told; uses what the space knows."""

from axopt.errors import ArgumentError
from axopt.exploration import Algorithm, register_algorithm


@register_algorithm("greedy-power")
class GreedyPower(Algorithm):
    def __init__(self, space, *, n_objectives, seed, population, batch: int = 5):
        super().__init__(space, n_objectives=n_objectives, seed=seed, population=population)
        if batch < 1:
            raise ArgumentError(f"`batch` must be >= 1, got {batch}.")
        self.batch = batch
        self.power = next((known for known in space.additive if known.exact), None)
        self.told = []

    def ask(self):
        points = []
        for start in sorted(self.told, key=self.cost)[: self.batch]:
            point = self.unseen.near(start)
            points += [] if point is None else [point]
        return points or [p for p in [self.unseen.draw()] if p is not None]

    def cost(self, genes):
        return (self.power.estimate(genes) if self.power else sum(genes), genes)

    def tell(self, genes, objectives):
        for point in genes:
            self.unseen.mark(point)
            self.told.append(point)
'''


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A package that offers the algorithm by an entry point, as pip installs it."""
    (tmp_path / "greedy_power_plugin.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    point = metadata.EntryPoint(
        "greedy-power", "greedy_power_plugin:GreedyPower", "axopt.algorithms"
    )
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == "axopt.algorithms" else []
    )
    yield tmp_path
    if sys.modules.pop("greedy_power_plugin", None) is not None:
        ALGORITHMS.remove("greedy-power")


@pytest.mark.usefixtures("installed")
def test_it_keeps_the_contract():
    check_algorithm("greedy-power")
    check_algorithm("greedy-power", batch=2)


def test_the_command_line_knows_it_and_its_options(installed, capsys):
    assert main(["search", "--help"]) == 0
    assert "greedy-power" in capsys.readouterr().out
    words = ["search", "--multipliers", "mul8s_1KV8,mul8s_1L2H", "--no-correct"]
    words += ["--validation-samples", "30", "--test-samples", "30", "--budget", "6"]
    out = installed / "run"
    words += ["--algorithm", "greedy-power", "--out", str(out), "--quiet", "--json"]
    assert main([*words, "--algorithm-option", "batch=3"]) == 0
    assert json.loads(capsys.readouterr().out)["evaluated"] == 6
    record = json.loads((out / "record.json").read_text("utf-8"))["record"]
    assert (record["algorithm"], record["options"]) == ("greedy-power", {"batch": 3})
    resume = ["search", "--resume", "--out", str(out), "--quiet", "--json"]
    assert main([*resume, "--algorithm-option", "batch=3", "--budget", "7"]) == 0
    assert json.loads(capsys.readouterr().out)["evaluated"] == 1
    for value, message in [
        ("batch=4", "`--algorithm-option` is {'batch': 4}, but {'batch': 3} in the run"),
        ("batch=two", "must be of type int, got 'two'"),
        ("bach=2", "got 'bach'; did you mean 'batch'?"),
        ("batch", "must be name=value, got 'batch'"),
    ]:
        assert main([*resume, "--algorithm-option", value]) == 2
        assert message in capsys.readouterr().err
