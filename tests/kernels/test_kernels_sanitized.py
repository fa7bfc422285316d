"""The kernels of every instruction set equal the reference under AddressSanitizer and UBSan.

`make sanitize` runs all kernel tests so; this is the short version, a C program without Python.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from kernel_cases import RUN_HERE

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "build/sanitize/check_kernels"
TINY = "int main(int n, char **v) { (void)v; return n - 1; }"


def test_kernels_are_clean_and_equal_the_reference(tmp_path):
    compiler = os.environ.get("CC", "cc")
    if not shutil.which("make") or not shutil.which(compiler):
        pytest.skip(f"needs make and the C compiler {compiler}")
    tiny = tmp_path / "tiny.c"
    tiny.write_text(TINY)
    sanitizers = "-fsanitize=address,undefined", "-fopenmp"
    built = subprocess.run([compiler, *sanitizers, tiny, "-o", tmp_path / "tiny"])
    if built.returncode or subprocess.run([tmp_path / "tiny"]).returncode:
        pytest.skip(f"{compiler} has no runtime of AddressSanitizer and UBSan")
    subprocess.run(["make", "-s", "-j2", f"CC={compiler}", PROGRAM], cwd=ROOT, check=True)
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
    result = subprocess.run(
        [ROOT / PROGRAM], capture_output=True, text=True, env=environment, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    counts = dict(line.split(": ") for line in result.stdout.splitlines())
    assert {name for name, count in counts.items() if count != "0 results"} == RUN_HERE
