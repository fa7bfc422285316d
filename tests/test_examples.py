"""The examples in docstrings run and print what they show."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import axopt

PACKAGE = Path(__file__).resolve().parents[1] / "axopt"
NOT_IMPORTED = {"axopt.__main__"}  # it starts the command line


def modules() -> list[str]:
    """Names of all modules whose text holds an example."""
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if ">>> " in path.read_text("utf-8") and name not in NOT_IMPORTED:
            names.append(name)
    return names


class Finder(doctest.DocTestFinder):
    """Finds decorated functions too, which look to doctest as if another module had made them."""

    def _from_module(self, module, object):  # doctest offers nothing public
        return super()._from_module(module, inspect.unwrap(object))


@pytest.mark.parametrize("name", modules())
def test_examples_print_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples may write files
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in Finder().find(importlib.import_module(name), name):
        runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0


def test_examples_of_decorated_functions_are_found():
    module = importlib.import_module("axopt.model.correct")
    names = {test.name for test in Finder().find(module, "correct") if test.examples}
    assert {"correct.correct_", "correct.explain_corrections"} <= names


def has_example(value: Any) -> bool:
    """Whether the docstring of ``value`` itself, not that of a base, holds lines that run."""
    examples = doctest.DocTestParser().get_examples(value.__doc__ or "")
    return any(not example.options.get(doctest.SKIP) for example in examples)


def needs_example(value: Any) -> bool:
    """Whether ``value`` is a function or a class; what is raised or warned of needs no example."""
    if inspect.isclass(value):
        return not issubclass(value, BaseException)
    return inspect.isroutine(inspect.unwrap(value))  # a decorator may have wrapped it


def rooms() -> list[str]:
    """Names of the rooms that are not private."""
    return [room.name for room in pkgutil.iter_modules(axopt.__path__) if room.name[0] != "_"]


def public(room: str) -> Iterator[tuple[str, Any]]:
    """The names of ``__all__`` of a room; without one, what its module defines under a name."""
    module = importlib.import_module(f"axopt.{room}")
    defined = [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", None) == module.__name__
    ]
    for name in getattr(module, "__all__", defined):
        yield name, getattr(module, name)


@pytest.mark.parametrize("room", rooms())
def test_every_public_name_has_an_example(room):
    missing = [n for n, value in public(room) if needs_example(value) and not has_example(value)]
    assert not missing


def test_the_names_of_the_package_resolve_and_have_examples():
    assert set(axopt._ROOM_OF) == set(axopt.__all__)  # the lazy table has no public name
    for name in axopt.__all__:
        value = getattr(axopt, name)
        assert value is getattr(importlib.import_module(f"axopt.{axopt._ROOM_OF[name]}"), name)
        assert not needs_example(value) or has_example(value), name


def test_the_checker_sees_what_is_missing():
    class Base:
        """A base.

        >>> 1
        1
        """

    class Derived(Base):
        pass

    def skipped():
        """Do nothing.

        >>> skipped()  # doctest: +SKIP
        """

    found = [(needs_example(v), has_example(v)) for v in (Base, Derived, skipped)]
    assert found == [(True, True), (True, False), (True, False)]
    assert not any(map(needs_example, (axopt.AxoptError, UserWarning, int | str, 3)))
