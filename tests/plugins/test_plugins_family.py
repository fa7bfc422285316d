"""A family of multipliers from outside the package: one file, one registration."""

import re
import sys
from importlib import metadata

import numpy as np
import pytest

from axopt import registry
from axopt.circuits import FAMILIES, generate, register_family
from axopt.circuits.families import Flag
from axopt.cli import main
from axopt.errors import ArgumentError, CircuitError, PluginError
from axopt.multipliers import load_library

PLUGIN = '''
"""The smaller of the operands times a power of two."""

from axopt.circuits import NetlistBuilder, register_family
from axopt.circuits.families import Integer


@register_family(
    "shift",
    title="a * 2 ** by",
    parameters=[Integer("by", "distance", low=0, high=3), Integer("bits", "width", 4, low=2)],
)
def shift(by, bits):
    build = NetlistBuilder(bits, bits, signed=False)
    return build.netlist([0] * by + build.a)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package that offers the family "shift"."""
    (tmp_path / "plugin_of_shift.py").write_text(PLUGIN)
    point = metadata.EntryPoint("shift", "plugin_of_shift:shift", "axopt.families")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == point.group else []
    )
    yield
    if sys.modules.pop("plugin_of_shift", None):
        FAMILIES.remove("shift")


def test_it_generates_and_gets_signed_multipliers_for_free(plugin):
    assert "shift" in FAMILIES.names()
    a = np.arange(16)[:, None] + np.zeros(16, int)
    np.testing.assert_array_equal(generate("shift", by=2).table(), 4 * a)
    a, w = np.arange(-8, 8)[:, None], np.arange(-8, 8)
    expected = 4 * abs(a) * np.where((a < 0) != (w < 0), -1, 1)
    np.testing.assert_array_equal(generate("shift", by=2, signed=True).table(), expected)
    with pytest.raises(CircuitError, match=r"`by` must be an integer in 0\.\.3, got 4"):
        generate("shift", by=4)


def test_it_has_flags_on_the_command_line(plugin, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load_library().select(names=["mul8s_1KV8"]).save("mylib")
    words = ["multipliers", "generate", "shift", "--by", "1-2", "--to", "mylib"]
    assert main([*words, "--power", "0.01", "--area", "1", "--delay", "0"]) == 0
    made = load_library("mylib")
    assert made["shiftu_by1"].table[3, 3] == 6
    assert made["shiftu_by2"].source.startswith("generated: shift, by 2, bits 4")
    assert main(["multipliers", "generate", "--list"]) == 0
    assert "shift: a * 2 ** by" in capsys.readouterr().out


def test_a_broken_plug_in_is_one_line(tmp_path, monkeypatch, capsys):
    point = metadata.EntryPoint("gone", "no_such_module:gone", "axopt.families")
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == point.group else []
    )
    assert main(["multipliers", "generate", "gone", "--to", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "comes from the entry point 'no_such_module:gone', which cannot be imported" in error


def fails():
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (fails, PluginError, "family of multipliers 'own': failed with RuntimeError: boom"),
        (lambda: 5, CircuitError, "own: the function must return an unsigned Netlist, got int 5"),
        (
            lambda: generate("exact", signed=True),
            CircuitError,
            "own: the function must return an unsigned Netlist, got Netlist",
        ),
        (lambda size: size, PluginError, "'own': failed with TypeError"),
    ],
)
def test_what_fails_in_a_family_is_named(make, error, message):
    register_family("own", title="", parameters=[])(make)
    try:
        with pytest.raises(error, match=re.escape(message)):
            generate("own")
    finally:
        FAMILIES.remove("own")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"title": 5}, "`title` must be a printable text, got int 5"),
        ({"article": "a\nb"}, "`article` must be a printable text"),
        ({"signed": True}, "`signed` must be 'own' or 'sign_magnitude', got bool True"),
        ({"parameters": [5]}, "`parameters` must be Parameters, got int 5"),
        ({"parameters": [Flag("signed", "")]}, "different names in lower case, .*, got 'signed'"),
        ({"parameters": [Flag("A b", "")]}, "different names in lower case, .*, got 'A b'"),
        ({"parameters": [Flag("to", "")]}, "different names in lower case, .*, got 'to'"),
        (
            {"parameters": [Flag("x", ""), Flag("x", "")]},
            "different names in lower case, .*, got 'x'",
        ),
    ],
)
def test_what_is_registered_is_checked(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        register_family("own", **{"title": "", "parameters": [], **arguments})
    with pytest.raises(ArgumentError, match="a family must be a function, got int 5"):
        register_family("own", title="", parameters=[])(5)
    assert "own" not in FAMILIES


def test_names_are_given_once():
    with pytest.raises(ArgumentError, match="`name` must be a new family of multipliers, got 'dr"):
        register_family("drum", title="", parameters=[])(lambda: None)
