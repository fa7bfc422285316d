"""``axopt multipliers``: list, show, import, check, export."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from axopt.multipliers import MultiplierLibrary, load_library

FIGURES = ("--power", "0.2", "--area", "400", "--delay", "1.1")


def test_list_prints_one_row_per_multiplier(axopt):
    done = axopt("multipliers", "list", "--signed", "--release", "v1")
    assert done.code == 0
    assert len(done.out.splitlines()) == 14  # a header and 13 multipliers
    assert "v1/mul8s_1L2H  signed  0.301" in done.out


def test_list_as_json_has_figures_and_metrics(axopt, library):
    done = axopt("multipliers", "list", "--pareto", "mae", "--unsigned", "--json")
    listed = {entry["multiplier"]: entry for entry in json.loads(done.out)}
    expected = library.select(signed=False, pareto="mae")
    assert list(listed) == list(expected)
    assert all(entry["metrics"]["mae"] == expected[k].metrics.mae for k, entry in listed.items())


def test_list_leaves_out_constant_multipliers_unless_asked(axopt):
    assert "v1/mul8u_E9R" not in axopt("multipliers", "list").out
    assert "v1/mul8u_E9R" in axopt("multipliers", "list", "--degenerate").out


def test_show_names_aliases_and_source(axopt):
    done = axopt("multipliers", "show", "mul8s_1L2H", "--json")
    shown = json.loads(done.out)
    assert shown["aliases"] == ["v2022/mul8s_1L2J"]
    assert shown["rank"] == 1
    assert shown["commutative"] is True
    assert "doi" in shown["source"]
    assert "v2022/mul8s_1L2J" in axopt("multipliers", "show", "mul8s_1L2H").out


@pytest.mark.parametrize("suffix", [".h", ".bin", ".npy"])
@pytest.mark.parametrize("name", ["mul8s_1L2H", "mul8u_2HH"])
def test_export_then_import_keeps_kind_and_table(axopt, library, suffix, name):
    assert axopt("multipliers", "export", name, f"mine{suffix}").code == 0
    done = axopt("multipliers", "import", f"mine{suffix}", *FIGURES, "--to", "lib", "--json")
    assert done.code == 0, done.err
    assert done.err == ""
    imported = load_library("lib")["user/mine"]
    assert imported.signed == library[name].signed
    assert imported.digest == library[name].digest == json.loads(done.out)["digest"]
    assert (imported.power_mw, imported.area_um2, imported.delay_ns) == (0.2, 400.0, 1.1)


def test_a_new_library_starts_with_the_bundled_multipliers(axopt, library):
    axopt("multipliers", "export", "mul8s_1L2H", "mine.npy")
    assert axopt("multipliers", "import", "mine.npy", *FIGURES).code == 0
    made = load_library("user_multipliers")
    assert set(made) == {*library, "user/mine"}
    assert axopt("multipliers", "import", "mine.npy", *FIGURES, "--name", "two").code == 0
    assert set(load_library("user_multipliers")) == {*made, "user/two"}


def test_the_kind_can_be_forced(axopt):
    axopt("multipliers", "export", "mul8u_2HH", "mine.bin")
    assert axopt("multipliers", "import", "mine.bin", *FIGURES, "--signed").code == 0
    assert load_library("user_multipliers")["user/mine"].signed


def test_a_header_of_the_broken_converter_warns_in_one_line(axopt, library, tmp_path):
    table = library["mul8s_1L1G"].table.copy()
    values = np.arange(-128, 0)
    mirrored = np.where(values == -128, -128, -values) + 128
    table[:128, :128] = table[np.ix_(mirrored, mirrored)]
    rows = np.roll(table, (128, 128), (0, 1))
    text = ",\n".join("{" + ",".join(map(str, row)) + "}" for row in rows.tolist())
    (tmp_path / "broken.h").write_text(f"const int16_t lut [256][256] = {{{text}}};\n")
    done = axopt("multipliers", "import", "broken.h", *FIGURES)
    assert done.code == 0
    assert done.err.startswith("axopt multipliers: warning: broken.h: ")
    assert done.err.count("\n") == 1


def test_check_passes_the_bundled_library(axopt):
    done = axopt("multipliers", "check", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"checked": 489, "problems": {}}


def test_check_finds_a_wrong_figure_and_fails(axopt, tmp_path):
    load_library().select(names=["mul8s_1L2H", "mul8s_1KV8"]).save(tmp_path / "lib")
    csv = tmp_path / "lib" / "library.csv"
    csv.write_text(csv.read_text().replace(",53.0,", ",63.0,", 1))
    done = axopt("multipliers", "check", "--library", "lib")
    assert done.code == 1
    assert "v1/mul8s_1L2H: published mae is 63" in done.out
    assert "1 of 2 multipliers agree" in done.out


def test_export_keeps_an_existing_file_unless_forced(axopt, tmp_path):
    (tmp_path / "mine.npy").write_text("precious")
    done = axopt("multipliers", "export", "mul8s_1L2H", "mine.npy")
    assert done.code == 2
    assert (tmp_path / "mine.npy").read_text() == "precious"
    assert axopt("multipliers", "export", "mul8s_1L2H", "mine.npy", "--force").code == 0
    assert np.load("mine.npy", allow_pickle=False).shape == (256, 256)


def test_narrow_multipliers_are_listed_by_width_and_shown_by_name(axopt):
    assert "mul8x4u" not in axopt("multipliers", "list").out
    chosen = ("--bits-w", "4", "--release", "v1", "--pareto", "mae")
    listed = axopt("multipliers", "list", *chosen).out
    assert re.search(r"v1/mul8x4u_2UU +unsigned 8x4 +0\.137 ", listed)
    assert "mul8x5u" not in listed
    shown = json.loads(axopt("multipliers", "show", "mul8x4u_2UU", "--json").out)
    assert (shown["bits_a"], shown["bits_w"], shown["metrics"]["mae"]) == (8, 4, 0)
    assert "intervals" not in shown
    assert axopt("multipliers", "export", "mul8x4u_2UU", "narrow.npy").code == 0
    refused = axopt("multipliers", "list", "--bits-w", "9")
    assert refused.code == 2
    assert "2..8" in refused.err or "at most 8" in refused.err


def test_estimated_figures_are_marked_with_their_intervals(axopt):
    one = load_library(narrow=True)["mul8x4u_2UU"]
    MultiplierLibrary([replace(one, intervals={"power_mw": (0.1, 0.2)})]).save("lib")
    listed = axopt("multipliers", "list", "--library", "lib").out
    assert "unsigned 8x4  0.137*  " in listed
    assert "* estimated, not published" in listed
    assert "*" not in axopt("multipliers", "list", "--release", "v1", "--signed").out
    shown = axopt("multipliers", "show", "mul8x4u_2UU", "--library", "lib").out
    assert "estimated   power_mw 0.1..0.2" in shown
    as_json = axopt("multipliers", "show", "mul8x4u_2UU", "--library", "lib", "--json").out
    assert json.loads(as_json)["intervals"] == {"power_mw": [0.1, 0.2]}


def circuit(name, body="return A * B;"):
    figures = "// PDK45_PWR = 0.3 mW\n// PDK45_AREA = 500 um2\n// PDK45_DELAY = 1.2 ns\n"
    return f"{figures}unsigned {name}(unsigned char A, unsigned char B) {{ {body} }}\n"


def test_a_folder_is_imported_in_one_command(axopt, tmp_path):
    pytest.importorskip("pycparser", reason="needs the extra rtl")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.c").write_text(circuit("one"))
    (tmp_path / "in" / "two.c").write_text(circuit("two", "return (A & ~1) * B;"))
    done = axopt("multipliers", "import", "in", "--to", "mylib")
    assert done.code == 0
    assert done.out == "2 multipliers are in mylib; search them with --library mylib\n"
    assert {"user/one", "user/two", "v1/mul8s_1L2H"} <= set(load_library("mylib"))
    assert load_library("mylib")["one"].is_exact


def test_a_folder_that_is_read_in_part_gives_1_and_names_the_rest(axopt, tmp_path):
    pytest.importorskip("pycparser", reason="needs the extra rtl")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.c").write_text(circuit("one"))
    (tmp_path / "in" / "two.c").write_text(circuit("two", "while (A) ; return B;"))
    done = axopt("multipliers", "import", "in", "--to", "mylib")
    assert done.code == 1
    first, second = done.out.splitlines()
    assert first.startswith("cannot be read: in/two.c:4: a loop is not read;")
    assert second.startswith("1 multipliers are in mylib, 1 cannot be read;")
    assert "user/one" in load_library("mylib")
    (tmp_path / "in" / "one.c").unlink()
    done = axopt("multipliers", "import", "in", "--to", "other")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_figures_from_gates_are_said_to_be_estimates(axopt, tmp_path):
    (tmp_path / "x.blif").write_text(
        ".model x\n.inputs a0 a1 b0 b1\n.outputs o0 o1 o2 o3\n.names a0 b0 o0\n11 1\n"
        ".names o1\n.names a1 b1 o2\n11 1\n.names o3\n.end\n"
    )
    done = axopt("multipliers", "import", "x.blif", "--unsigned", "--delay", "1.0")
    assert done.code == 0
    assert "(estimated: power_mw, area_um2)" in done.out
    assert load_library("user_multipliers")["user/x"].is_estimated


def test_a_broken_quadrant_is_repaired_where_that_is_asked_for(axopt, library, tmp_path):
    table = library["mul8s_1L1G"].table.copy()
    values = np.arange(-128, 0)
    mirrored = np.where(values == -128, -128, -values) + 128
    table[:128, :128] = table[np.ix_(mirrored, mirrored)]
    np.save(tmp_path / "broken.npy", table)
    done = axopt("multipliers", "import", "broken.npy", *FIGURES, "--repair")
    assert done.code == 0
    assert "rebuilt from the other three quadrants" in done.err
    made = load_library("user_multipliers")["user/broken"]
    assert made.digest == library["mul8s_1L1G"].digest
