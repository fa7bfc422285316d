"""The examples in docstrings run and print what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", modules())
def test_examples_print_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples may write files
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testmod(module, optionflags=flags)
    assert found.attempted > 0
    assert found.failed == 0
