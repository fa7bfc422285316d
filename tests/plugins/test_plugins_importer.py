"""An importer and a table writer from outside the package: one file, one registration."""

import json
import sys
from importlib import metadata

import numpy as np
import pytest

import axopt
from axopt import registry
from axopt.cli import main
from axopt.errors import ArgumentError, LutFormatError, MultiplierError
from axopt.multipliers import (
    IMPORTERS,
    TABLE_WRITERS,
    Imported,
    describe_formats,
    import_multiplier,
    load_library,
    read_tables,
    register_table_writer,
)
from axopt.multipliers.metrics import exact_table

FIGURES = {"power_mw": 0.3, "area_um2": 500.0, "delay_ns": 1.2}
PLUGIN = """
import json
import numpy as np
from axopt.multipliers import Imported, read_table_file, register_importer

@register_importer("json", suffixes=(".json",), title="JSON table")
def read(path, signed):
    found = json.loads(read_table_file(path))
    return [
        Imported(np.array(found["table"]), found["signed"], found["figures"], found["notes"])
    ]
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package that offers the importer "json"."""
    (tmp_path / "plugin_of_json.py").write_text(PLUGIN)
    point = metadata.EntryPoint("json", "plugin_of_json:read", "axopt.importers")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == point.group else []
    )
    yield
    if sys.modules.pop("plugin_of_json", None):
        IMPORTERS.remove("json")


def write(path, table=None, *, figures=FIGURES, notes=()):
    table = exact_table(True) if table is None else table
    document = {"signed": True, "figures": figures, "notes": notes, "table": table.tolist()}
    path.write_text(json.dumps(document))
    return path


def test_the_importer_of_a_package_reads_table_and_figures(plugin, tmp_path):
    multiplier = import_multiplier(write(tmp_path / "x.json", figures={**FIGURES, "mae": 0.0}))
    assert multiplier.is_exact
    assert (multiplier.power_mw, multiplier.area_um2, multiplier.delay_ns) == (0.3, 500.0, 1.2)
    assert multiplier.published == {"mae": 0.0}
    assert import_multiplier(tmp_path / "x.json", power_mw=0.5).power_mw == 0.5


def test_the_command_line_knows_the_importer(plugin, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["multipliers", "import", "--help"]) == 0
    assert "json: JSON table (.json)" in " ".join(capsys.readouterr().out.split())
    write(tmp_path / "x.json", notes=["the first half is guessed"])
    assert main(["multipliers", "import", "x.json", "--to", "lib"]) == 0
    assert capsys.readouterr().err == "axopt multipliers: warning: the first half is guessed\n"
    assert load_library("lib")["user/x"].is_exact


def test_what_an_importer_returns_is_checked(plugin, tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(LutFormatError, match=r"integers of shape \(2\*\*m, 2\*\*n\), .* \(2, 2\)"):
        import_multiplier(write(path, np.zeros((2, 2), int)))
    with pytest.raises(LutFormatError, match="16-bit signed products are"):
        import_multiplier(write(path, exact_table(True) + 40000))
    with pytest.raises(LutFormatError, match="unknown figure 'speed'"):
        import_multiplier(write(path, figures={"speed": 1.0}))
    with pytest.raises(LutFormatError, match="holds a table of signed operands"):
        import_multiplier(write(path), signed=False)
    with pytest.raises(MultiplierError, match="states no `delay_ns`"):
        import_multiplier(write(path, figures={"power_mw": 1.0, "area_um2": 1.0}))


def test_a_program_registers_an_importer_of_several_tables(tmp_path):
    @axopt.register_importer("pairs", suffixes=(".pairs",))
    def read(path, signed):
        return [Imported(exact_table(kind), kind, name=path.stem) for kind in (True, False)]

    try:
        (tmp_path / "x.pairs").touch()
        assert [found.signed for found in read_tables(tmp_path / "x.pairs")] == [True, False]
        with pytest.raises(LutFormatError, match="expected one table, got 2"):
            import_multiplier(tmp_path / "x.pairs", **FIGURES)
        with pytest.raises(ArgumentError, match="new importer, got 'pairs'"):
            axopt.register_importer("pairs", suffixes=(".x",))(lambda path, signed: [])
    finally:
        IMPORTERS.remove("pairs")


@pytest.mark.parametrize("suffixes", [(), ".v", ("v",), (".V",)])
def test_suffixes_are_checked(suffixes):
    with pytest.raises(ArgumentError, match="`suffixes` must be"):
        axopt.register_importer("x", suffixes=suffixes)


def test_a_table_writer_reaches_the_command_line(tmp_path, monkeypatch, capsys):
    @register_table_writer("hex", suffixes=(".hex",), title="hexadecimal rows")
    def write_hex(table, signed):
        return b"\n".join(row.astype("<i2").tobytes().hex().encode() for row in table)

    try:
        monkeypatch.chdir(tmp_path)
        assert "hex: hexadecimal rows (.hex)" in describe_formats(TABLE_WRITERS)
        assert main(["multipliers", "export", "mul8s_1KV8", "x.hex"]) == 0
        rows = (tmp_path / "x.hex").read_bytes().split(b"\n")
        first = np.frombuffer(bytes.fromhex(rows[0].decode()), "<i2")
        np.testing.assert_array_equal(first, exact_table(True)[0])
    finally:
        TABLE_WRITERS.remove("hex")
