"""Names registered by a program, by axopt's own modules and by installed packages."""

import sys
from importlib import metadata

import pytest

from axopt import registry
from axopt.errors import ArgumentError
from axopt.registry import Registry


@pytest.fixture
def numbers() -> Registry[int]:
    return Registry("number", group="axopt.numbers")


@pytest.fixture
def offered(monkeypatch, tmp_path):
    """Let an installed package offer entry points; returns the folder of its modules."""
    points = [
        metadata.EntryPoint("seven", "plugin_of_numbers:SEVEN", "axopt.numbers"),
        metadata.EntryPoint("broken", "plugin_that_fails:X", "axopt.numbers"),
    ]
    (tmp_path / "plugin_of_numbers.py").write_text("SEVEN = 7\n")
    (tmp_path / "plugin_that_fails.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [p for p in points if p.group == group]
    )
    yield
    sys.modules.pop("plugin_of_numbers", None)


def test_added_values_are_found_and_listed(numbers):
    numbers.add("two", 2)
    numbers.register("one")(1)
    assert numbers["two"] == 2
    assert numbers.names() == ["one", "two"]
    assert "one" in numbers
    assert "three" not in numbers


def test_a_name_is_given_once(numbers):
    value = object()
    numbers.add("x", value)
    numbers.add("x", value)  # a module that is imported twice
    with pytest.raises(ArgumentError, match="new number, got 'x'"):
        numbers.add("x", object())
    with pytest.raises(ArgumentError, match="non-empty"):
        numbers.add("", 1)


def test_an_unknown_name_is_answered_with_near_misses(numbers):
    numbers.add("three", 3)
    with pytest.raises(ArgumentError, match="'thre'; did you mean 'three'"):
        numbers["thre"]
    with pytest.raises(ArgumentError, match="known are three"):
        numbers["xyz"]
    with pytest.raises(ArgumentError, match="'xyz'"):
        numbers.remove("xyz")


def test_a_removed_name_is_free_again(numbers):
    numbers.add("x", 1)
    numbers.remove("x")
    numbers.add("x", 2)
    assert numbers["x"] == 2


def test_an_entry_point_is_imported_when_its_name_is_asked_for(numbers, offered):
    assert numbers.names() == ["broken", "seven"]
    assert "plugin_of_numbers" not in sys.modules
    assert numbers["seven"] == 7


def test_a_plug_in_that_fails_is_named_with_its_reason(numbers, offered):
    with pytest.raises(ArgumentError, match=r"'broken'.*plugin_that_fails.*no licence"):
        numbers["broken"]


def test_built_in_names_are_listed_without_importing_their_module(monkeypatch, tmp_path):
    (tmp_path / "module_of_eight.py").write_text(
        "from test_registry import eights\neights.add('eight', 8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "test_registry", sys.modules[__name__])
    global eights
    eights = Registry("number", group="axopt.numbers", built_in={"eight": "module_of_eight"})
    assert eights.names() == ["eight"]
    assert "module_of_eight" not in sys.modules
    with pytest.raises(ArgumentError, match="new number, got 'eight'"):
        eights.add("eight", 9)
    assert eights["eight"] == 8
    sys.modules.pop("module_of_eight")


def test_an_entry_point_of_another_kind_or_that_exits_is_named(offered, tmp_path):
    checked = Registry("number", group="axopt.numbers", kind=str)
    with pytest.raises(ArgumentError, match="'seven' .* must name a str .*, got 7"):
        checked["seven"]
    (tmp_path / "plugin_that_fails.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(ArgumentError, match="'broken' .* cannot be imported: SystemExit: 3"):
        checked["broken"]
