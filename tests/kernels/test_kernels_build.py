"""The compilers that setup.py accepts, and its messages about others."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def build():
    """The module setup.py."""
    spec = importlib.util.spec_from_file_location("axopt_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GCC = "#define __GNUC__ {}\n#define F(x) x ## 1\n#define EMPTY \n#define NOTHING\n"
CLANG = "#define __clang__ 1\n#define __GNUC__ 4\n#define __clang_major__ {}\n"


@pytest.mark.parametrize("macros", [GCC.format(11), GCC.format(15), CLANG.format(14)])
def test_supported_compilers(build, macros):
    assert build.unfit(macros) is None


@pytest.mark.parametrize(
    ("macros", "found"),
    [
        (GCC.format(10), "This is GCC 10."),
        (CLANG.format(13), "This is Clang 13."),
        ("#define _MSC_VER 1930\n", "This compiler is neither."),
        ("", "This compiler is neither."),
    ],
)
def test_other_compilers_are_refused_in_the_words_of_the_readme(build, macros, found):
    assert build.unfit(macros) == f"{build.COMPILERS} {found}"
    readme = re.sub(r"\s+", " ", (ROOT / "README.md").read_text("utf-8"))
    assert build.COMPILERS in readme


@pytest.mark.skipif(not shutil.which("cc"), reason="no compiler is called cc")
def test_the_compiler_of_this_machine(build):
    command = ["cc", "-dM", "-E", "-x", "c", "/dev/null"]
    assert build.unfit(subprocess.run(command, capture_output=True, text=True).stdout) is None


def test_the_build_stops_before_it_compiles(tmp_path, monkeypatch):
    compiler = tmp_path / "old-gcc"
    compiler.write_text("#!/bin/sh\necho '#define __GNUC__ 10'\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    command = ["setup.py", "-q", "build_ext", "--force", "--build-lib", str(tmp_path / "lib")]
    result = subprocess.run(
        [sys.executable, *command, "--build-temp", str(tmp_path / "temp")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.strip().endswith("Clang 14 or later with libomp. This is GCC 10.")
    assert not (tmp_path / "temp").exists()
