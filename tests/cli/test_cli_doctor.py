"""`axopt doctor`: the library's narrow tables, and programs for Verilog."""

import pytest

from axopt.circuits.formats.yosys import engine
from axopt.cli import doctor


@pytest.fixture(autouse=True)
def fresh():
    engine.cache_clear()
    yield
    engine.cache_clear()


def test_narrow_tables_are_read_too():
    assert doctor.check_library(None).detail == "bundled: 489 multipliers, 263 tables"


def test_the_yosys_that_is_found_is_named(monkeypatch, tmp_path):
    program = tmp_path / "yosys"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("AXOPT_YOSYS", str(program))
    found = doctor.check_verilog()
    assert found.ok
    assert found.detail.startswith(f"Verilog files are read by {program}; exported ones are ")


def test_a_yosys_that_is_asked_for_and_missing_fails(monkeypatch):
    monkeypatch.setenv("AXOPT_YOSYS", "/nowhere/yosys")
    found = doctor.check_verilog()
    assert (found.ok, found.detail) == (
        False,
        "AXOPT_YOSYS is '/nowhere/yosys', which is no program",
    )


def test_no_yosys_is_no_failure(monkeypatch):
    monkeypatch.delenv("AXOPT_YOSYS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    found = doctor.check_verilog()
    assert found.ok
    assert found.detail == (
        "no Yosys, so that Verilog files cannot be read: pip install 'axopt[rtl]'; "
        "exported ones are read back, without Icarus Verilog"
    )


def test_the_cache_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("AXOPT_CACHE", str(tmp_path / "new"))
    assert doctor.check_cache().detail == str(tmp_path / "new")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AXOPT_CACHE", str(tmp_path / "file"))
    assert doctor.check_cache().detail.endswith("which cannot be written")
    monkeypatch.setenv("AXOPT_CACHE", "off")
    assert doctor.check_cache() == doctor.Check("cache", True, "switched off by AXOPT_CACHE")
