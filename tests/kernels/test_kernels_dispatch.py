"""The instruction set: detected, chosen once, forced by name, never silently replaced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from axopt import _lut_gemm
from axopt.errors import IsaError
from axopt.kernels import active, available, force_isa
from axopt.kernels.dispatch import active_index

CPUINFO = Path("/proc/cpuinfo")
REPOSITORY = Path(__file__).resolve().parents[2]


def test_available_is_ordered_fastest_first():
    assert available()[-2:] == ["portable", "reference"]


@pytest.mark.skipif(not CPUINFO.exists(), reason="needs the processor flags that Linux lists")
def test_detection_agrees_with_the_kernel_of_the_system():
    flags = set(CPUINFO.read_text().split())
    assert ("avx512vbmi" in available()) == ({"avx512f", "avx512bw", "avx512vbmi"} <= flags)


def test_force_isa_nests_and_restores():
    before = active()
    with force_isa("portable"):
        with force_isa("reference"):
            assert active() == "reference"
            assert _lut_gemm.instruction_sets()[active_index()] == ("reference", True)
        assert active() == "portable"
    assert active() == before


def test_force_isa_restores_after_an_error():
    before = active()
    with pytest.raises(ZeroDivisionError), force_isa("reference"):
        raise ZeroDivisionError
    assert active() == before


def test_unknown_name_is_an_error_that_lists_the_available():
    with pytest.raises(IsaError, match=r"`name`.*'sse9' is unknown.*portable"), force_isa("sse9"):
        pass


def test_unsupported_name_is_an_error(monkeypatch):
    compiled = [(name, name != "portable") for name, _ in _lut_gemm.instruction_sets()]
    monkeypatch.setattr(_lut_gemm, "instruction_sets", lambda: compiled)
    assert "portable" not in available()
    with pytest.raises(IsaError, match="not supported by this processor"), force_isa("portable"):
        pass


def test_environment_chooses_once_or_fails():
    program = """
import os
from axopt import errors, kernels
try:
    kernels.active()
except errors.IsaError as error:
    print(error)
for name in ("portable", "reference"):
    os.environ["AXOPT_ISA"] = name
    print(kernels.active())
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "AXOPT_ISA": "avx9"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    error, *active_names = result.stdout.splitlines()
    assert error.startswith("`AXOPT_ISA`: instruction set 'avx9' is unknown; available here:")
    assert active_names == ["portable", "portable"]
