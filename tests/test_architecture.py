"""The rules of docs/architecture.md that a program can check, read from the sources with ast."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "axopt"
MAX_LINES = 500
MAX_FUNCTION_LINES = 50
"""Of code: signature, docstring, comments and blank lines do not count."""

_BASE = {"errors", "files", "lazy", "npy", "registry", "renamed"}
_EMULATION = _BASE | {"multipliers", "kernels", "layers", "corrections", "modules", "model"}
_ALL_BUT_CLI = _EMULATION | {
    "circuits",
    "data",
    "zoo",
    "evaluation",
    "design",
    "exploration",
    "report",
    "export",
}
_SEARCH = {"problem", "sensitivities", "study"}
MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "lazy": set(),
    "npy": set(),
    "registry": {"errors"},
    "renamed": set(),
    "multipliers": _BASE,
    "circuits": _BASE | {"multipliers"},
    "_lut_gemm": {"errors"},
    "kernels": _BASE | {"multipliers", "_lut_gemm"},
    "modules": _BASE | {"kernels"},  # the gates of an LSTM are a native pass
    "layers": _BASE | {"modules", "multipliers", "circuits", "kernels"},  # power under data
    "corrections": _BASE | {"multipliers", "kernels", "layers"},
    "model": _EMULATION - {"model"},
    "data": _BASE,
    "zoo": _BASE,
    "bench": _EMULATION | {"zoo"},
    "evaluation": _EMULATION | {"data", "zoo"},
    "retraining": _EMULATION | {"data", "zoo", "evaluation"},
    "exploration": _BASE,  # knows genes, objectives and the store, never models
    "design": _EMULATION | {"circuits", "data", "evaluation", "exploration"},
    "report": _BASE,
    "export": _BASE | {"report", "model", "multipliers", "circuits"},
    "problem": _EMULATION | {"circuits", "data", "evaluation", "exploration"},
    "sensitivities": _EMULATION | {"circuits", "data", "evaluation", "exploration", "problem"},
    "study": _ALL_BUT_CLI - {"export"} | {"problem", "sensitivities"},
    "cli": _ALL_BUT_CLI
    | {"problem", "sensitivities", "bench", "retraining", "study", "axopt", "_lut_gemm"},
    "__init__": _ALL_BUT_CLI | {"retraining", "problem", "sensitivities", "study"},
    "__main__": {"cli"},
}
"""What each room may import besides itself; "axopt" stands for the names of the package."""

MODULES = sorted(PACKAGE.rglob("*.py"))


@functools.cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def room_of(path: Path) -> str:
    """The room a file belongs to: the first part of its path inside the package."""
    return Path(path.relative_to(PACKAGE).parts[0]).stem


def imported_rooms(source: str, package: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Rooms of axopt that ``source`` imports, deferred imports included, with line numbers.

    Args:
        source: Python text.
        package: The package that the module is in, as ("axopt", "cli"); resolves leading dots.
    """
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *(node.module.split(".") if node.module else ())))
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "axopt":
                inside = len(parts) > 1 and parts[1] in MAY_IMPORT
                yield parts[1] if inside else "axopt", node.lineno


def dangers(source: str) -> Iterator[str]:
    """What could run code from data, or print from the library, in ``source``."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names]
            modules.append(getattr(node, "module", None) or "")
            for name in {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}:
                if name in modules:
                    yield f"line {node.lineno}: imports {name}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in {"eval", "exec", "compile", "__import__"}:
            yield f"line {node.lineno}: calls {called}"
        if given.get("allow_pickle", "False") != "False":
            yield f"line {node.lineno}: allow_pickle={given['allow_pickle']}"
        if called == "torch.load" and given.get("weights_only") != "True":
            yield f"line {node.lineno}: torch.load without weights_only=True"


def test_rooms_import_only_from_their_left():
    wrong = []
    for path in MODULES:
        room = room_of(path)
        assert room in MAY_IMPORT, f"{room} is a new room: give it a place in docs/architecture.md"
        package = ("axopt", *path.relative_to(PACKAGE).parent.parts)
        allowed = MAY_IMPORT[room] | {room}
        for other, line in imported_rooms(path.read_text("utf-8"), package):
            if other not in allowed:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line}: {room} imports {other}")
    assert not wrong


def test_no_code_runs_from_data():
    sources = {path.relative_to(PACKAGE): path.read_text("utf-8") for path in MODULES}
    assert not [f"{path}: {what}" for path, text in sources.items() for what in dangers(text)]


def test_only_the_command_line_prints():
    prints = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in MODULES
        if room_of(path) != "cli"
        for node in ast.walk(parsed(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    }
    assert not prints


def test_modules_stay_short():
    sources = [*MODULES, *PACKAGE.glob("*.p[yx][xd]"), *PACKAGE.glob("csrc/*.[chi]*")]
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in sources}
    assert not {str(path): n for path, n in lines.items() if n > MAX_LINES}


def python_functions(source: str) -> Iterator[tuple[str, int]]:
    """Functions in ``source`` and the lines of code of their bodies."""
    lines = source.splitlines()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            text = lines[body[0].lineno - 1 : node.end_lineno] if body else []
            yield node.name, sum(bool(line.strip()) and line.strip()[0] != "#" for line in text)


def c_functions(source: str) -> Iterator[tuple[str, int]]:
    """The same in C, where the braces of a function stand in the first column."""
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    for found in re.finditer(
        r"(\w+)\([^;{}()]*\)\n\{\n(.*?)^\}", source, re.DOTALL | re.MULTILINE
    ):
        yield found[1], sum(bool(line.strip()) for line in found[2].splitlines())


def test_functions_stay_short():
    found = set()
    for path in (*MODULES, *PACKAGE.glob("csrc/*.[chi]*")):
        functions = python_functions if path.suffix == ".py" else c_functions
        for name, lines in functions(path.read_text("utf-8")):
            if lines > MAX_FUNCTION_LINES:
                found.add(f"{path.relative_to(PACKAGE)}: {name}")
    assert not found


def test_the_checker_counts_lines_of_code():
    python = 'def f(a):\n    """Doc.\n\n    More.\n    """\n    # why\n    b = a\n\n    return b\n'
    c = "static int f(int a)\n{\n    /* why\n     * not */\n    if (a) {\n        a = 1;\n    }\n"
    c += "\n    return a;\n}\n"
    assert list(python_functions(python)) == [("f", 2)]
    assert list(c_functions(c)) == [("f", 4)]
    assert "choose_band" in dict(c_functions((PACKAGE / "csrc/driver.c").read_text("utf-8")))


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import axopt.model.cost", ["model"]),
        ("from axopt.model import cost", ["model"]),
        ("from axopt import model", ["model"]),
        ("from axopt import prepare", ["axopt"]),
        ("from ..model import cost", ["model"]),
        ("from .. import model", ["model"]),
        ("from . import main", ["cli"]),
        ("def f():\n    from axopt.study import search", ["study"]),
        ("import json, numpy", []),
    ],
)
def test_the_checker_sees_every_form_of_import(source, rooms):
    assert [room for room, _ in imported_rooms(source, ("axopt", "cli"))] == rooms


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "eval('1')",
        "exec(text)",
        "numpy.load(f, allow_pickle=True)",
        "numpy.load(f, allow_pickle=trusted)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
    ],
)
def test_the_checker_sees_every_danger(source):
    assert list(dangers(source))


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "torch.load(f, weights_only=True)", "np.load(f, allow_pickle=False)"],
)
def test_the_checker_lets_the_harmless_pass(source):
    assert not list(dangers(source))
