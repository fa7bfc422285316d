"""A writer of gate lists from outside the package: one file, one registration."""

from importlib import metadata

import pytest

from axopt import registry
from axopt.circuits import NETLIST_WRITERS
from axopt.cli import main

PLUGIN = '''
"""Gate lists as graphs of Graphviz."""

from axopt.circuits import register_netlist_writer


@register_netlist_writer("dot", suffixes=(".dot",), title="Graphviz")
def dot(netlist, name, header):
    lines = [f"// {line}" for line in header] + [f"digraph {name} {{"]
    for number, gate in enumerate(netlist.gates, netlist.first_gate):
        lines += [f"  {signal} -> {number};" for signal in gate.inputs]
    return "\\\\n".join([*lines, "}", ""])
'''.replace("\\\\", "\\")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package that offers the format "dot"."""
    (tmp_path / "plugin_of_dot.py").write_text(PLUGIN)
    point = metadata.EntryPoint("dot", "plugin_of_dot:dot", "axopt.netlist_writers")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == point.group else []
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    NETLIST_WRITERS.remove("dot")


def test_an_installed_writer_reaches_the_command_line(plugin, capsys):
    assert main(["multipliers", "export", "mul8x2u_0M1", "x.dot"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("v1/mul8x2u_0M1 is in x.dot; not checked: ")
    assert "nothing that is installed reads .dot" in said
    written = (plugin / "x.dot").read_text()
    assert "digraph mul8x2u_0M1 {" in written
    assert "// SPDX-License-Identifier: MIT" in written
    assert main(["multipliers", "export", "mul8x2u_0M1", "y.dot", "--check"]) == 2
