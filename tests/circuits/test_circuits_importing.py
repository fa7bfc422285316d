"""Import of folders and archives: EvoApproxLib's layout, duplicates, failures, hostile ones."""

import io
import resource
import shutil
import time
import zipfile

import numpy as np
import pytest
from circuit_printers import COMMENT, as_blif, as_c, as_verilog

from axopt.circuits import import_library, load_netlists
from axopt.circuits.formats import yosys
from axopt.errors import (
    ArgumentError,
    LutFormatError,
    MissingFigureError,
    MissingPackageError,
    MultiplierError,
)
from axopt.multipliers import export_multiplier, load_library

pytest.importorskip("pycparser", reason="needs the extra rtl: pip install 'axopt[rtl]'")


def has_yosys():
    try:
        return yosys.engine().is_prepared
    except MissingPackageError:
        return False


def evoapproxlib(folder, keys, *, verilog=True):
    """Write multipliers in the layout of EvoApproxLib."""
    for key in keys:
        netlist, name = load_netlists()[key], key.partition("/")[2]
        kind = "signed" if netlist.signed else "unsigned"
        text = as_c(netlist, name, comment=COMMENT.format(mae=0).replace("// MAE = 0\n", ""))
        for subset in ("pareto_pwr_ep", "pareto_pwr_mae"):
            path = folder / "multiplers" / f"{netlist.bits_a}x{netlist.bits_w}_{kind}" / subset
            path.mkdir(parents=True, exist_ok=True)
            (path / "README.md").write_text("# a table\n")
            (path / "fig.png").write_bytes(b"no picture")
            (path / f"{name}.c").write_text(text)
            if verilog:
                (path / f"{name}.v").write_text(as_verilog(netlist, name))
                (path / f"{name}_pdk45.v").write_text(as_verilog(netlist, name))


KEYS = ["v1/mul8s_1L2H", "v1/mul8u_17KS", "v1/mul7u_01L", "v2022/mul8x2u_079"]


def test_the_layout_of_evoapproxlib_is_read(tmp_path):
    evoapproxlib(tmp_path / "lib", KEYS)
    found = import_library(tmp_path / "lib")
    assert sorted(m.name for m in found.multipliers) == sorted(k.partition("/")[2] for k in KEYS)
    assert (found.merged, found.failures, found.notes) == (4, (), ())
    for multiplier in found.multipliers:
        key = next(k for k in KEYS if k.endswith(multiplier.name))
        np.testing.assert_array_equal(multiplier.table, load_netlists()[key].table())
        np.testing.assert_array_equal(found.netlists[multiplier.key].table(), multiplier.table)
        assert (multiplier.power_mw, multiplier.is_estimated) == (0.301, False)
    found.save(tmp_path / "out")
    saved = load_library(tmp_path / "out")
    assert {m.digest for m in saved.values()} == {m.digest for m in found.multipliers}
    assert load_netlists(tmp_path / "out").keys() == saved.keys()
    with pytest.raises(MultiplierError, match="is in the library already"):
        found.save(tmp_path / "out")


def test_an_archive_is_read_like_its_folder(tmp_path):
    evoapproxlib(tmp_path / "lib", KEYS[:2], verilog=False)
    (tmp_path / "lib" / "broken.c").write_text("int f(int A) { return A; }")
    archive = shutil.make_archive(str(tmp_path / "lib"), "zip", tmp_path / "lib")
    found = import_library(archive)
    assert [m.name for m in found.multipliers] == ["mul8s_1L2H", "mul8u_17KS"]
    assert found.failures == (f"{archive}/broken.c:1: `f` must have two parameters, got 1.",)


def test_figures_that_a_circuit_lacks_are_estimated_and_marked(tmp_path):
    netlist = load_netlists()["v1/mul8u_17KS"]
    (tmp_path / "x.blif").write_text(as_blif(netlist, "mine"))
    [multiplier] = import_library(tmp_path / "x.blif", delay_ns=1.5).multipliers
    assert multiplier.intervals.keys() == {"power_mw", "area_um2"}
    low, high = multiplier.intervals["power_mw"]
    assert low < multiplier.power_mw < high
    assert multiplier.delay_ns == 1.5
    published = load_library()["mul8u_17KS"].power_mw
    assert abs(multiplier.power_mw / published - 1) < 0.3


def test_figures_that_a_table_lacks_are_asked_for(tmp_path, library):
    (tmp_path / "lib").mkdir()
    for name in ("mul8s_1L2H", "mul8u_17KS"):
        export_multiplier(library[name], tmp_path / "lib" / f"{name}.npy")
    with pytest.raises(MissingFigureError, match=r"mul8s_1L2H\.npy: states no `power_mw` and no"):
        import_library(tmp_path / "lib" / "mul8s_1L2H.npy")
    with pytest.raises(
        LutFormatError, match="no multiplier among 2 files; the first: .*states no"
    ):
        import_library(tmp_path / "lib")
    found = import_library(tmp_path / "lib", power_mw=0.3, area_um2=500, delay_ns=1.2)
    assert [m.digest for m in found.multipliers] == [
        library[name].digest for name in ("mul8s_1L2H", "mul8u_17KS")
    ]


def test_a_circuit_counts_before_a_table_and_stands_in_for_another(tmp_path, library):
    netlist = load_netlists()["v1/mul8u_17KS"]
    export_multiplier(library["mul8u_2HH"], tmp_path / "one.npy")
    (tmp_path / "one.blif").write_text(as_blif(netlist, "one"))
    (tmp_path / "two.c").write_text("no C at all")
    (tmp_path / "two.blif").write_text(as_blif(netlist, "two"))
    (tmp_path / "three.c").write_text("no C at all")
    (tmp_path / "three.blif").write_text("no BLIF at all")
    found = import_library(tmp_path)
    assert [(m.name, m.digest) for m in found.multipliers] == [
        ("one", library["mul8u_17KS"].digest)
    ]
    assert found.merged == 1  # two has the table and the figures of one
    [failure] = found.failures
    assert failure.startswith(f"{tmp_path / 'three.c'}:1: not readable as C")


def test_equal_names_of_other_tables_get_a_number(tmp_path, library):
    for folder, name in (("a", "mul8u_17KS"), ("b", "mul8u_2HH"), ("c", "mul8u_2HH")):
        (tmp_path / folder).mkdir()
        export_multiplier(library[name], tmp_path / folder / "my mult.npy")
    found = import_library(tmp_path, power_mw=1, area_um2=1, delay_ns=1)
    assert [m.key for m in found.multipliers] == ["user/my_mult", "user/my_mult_2"]
    assert found.merged == 1


def test_a_name_is_for_one_multiplier(tmp_path, library):
    figures = {"power_mw": 1, "area_um2": 1, "delay_ns": 1}
    export_multiplier(library["mul8u_17KS"], tmp_path / "x.npy")
    [one] = import_library(tmp_path / "x.npy", name="mine", release="r", **figures).multipliers
    assert one.key == "r/mine"
    export_multiplier(library["mul8u_2HH"], tmp_path / "y.npy")
    with pytest.raises(ArgumentError, match="`name` must name one multiplier, .* has 2"):
        import_library(tmp_path, name="mine", **figures)


def test_notes_tell_the_file(tmp_path, library):
    np.save(tmp_path / "x.npy", np.roll(library["mul8s_1L2H"].table, (128, 128), (0, 1)))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "x.npy", "in/x.npy")
    found = import_library(tmp_path / "x.zip", power_mw=1, area_um2=1, delay_ns=1)
    [note] = found.notes
    assert str(note).startswith(f"{tmp_path / 'x.zip'}/in/x.npy: rows and columns are recognised")


@pytest.mark.skipif(not has_yosys(), reason="needs a Yosys that is ready")
def test_verilog_alone_is_read_together(tmp_path):
    for key in KEYS[:3]:
        name = key.partition("/")[2]
        (tmp_path / f"{name}.v").write_text(as_verilog(load_netlists()[key], name))
    (tmp_path / "a_bad_one.v").write_text("module f(")
    found = import_library(tmp_path)
    assert len(found.multipliers) == 3
    assert len(found.failures) == 1
    assert "a_bad_one.v:1: Yosys: syntax error" in found.failures[0]
    assert all(m.is_estimated for m in found.multipliers)


@pytest.mark.parametrize("name", ["mul8u_17KS", "mul8s_1KR3", "mul8x5u_1F9"])
def test_exchanged_operands_of_a_known_multiplier_are_recognised(tmp_path, name):
    known = load_library(narrow=True)
    table = known[name].table
    np.save(tmp_path / "x.npy", table.T)
    figures = {"power_mw": 1, "area_um2": 1, "delay_ns": 1}
    [note] = import_library(tmp_path / "x.npy", **figures).notes
    assert note.endswith(f"is that of {known.aliases(name)[0]} with its operands exchanged.")
    np.save(tmp_path / "x.npy", table)
    assert not import_library(tmp_path / "x.npy", **figures).notes


def test_empty_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(LutFormatError, match="no multiplier among 0 files"):
        import_library(tmp_path)
    with pytest.raises(LutFormatError, match="nothing: no such file or folder"):
        import_library(tmp_path / "nothing")
    with pytest.raises(LutFormatError, match=r"nothing\.zip: no such file or folder"):
        import_library(tmp_path / "nothing.zip")


def archive_of(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info, target


HOSTILE = {
    "no archive": (lambda: b"nothing", "damaged archive"),
    "names with ..": (
        lambda: archive_of([("../../x.c", "")]),
        "its name leads out of the archive",
    ),
    "absolute names": (
        lambda: archive_of([("/tmp/x.c", "")]),
        "its name leads out of the archive",
    ),
    "backslashes": (lambda: archive_of([("..\\x.c", "")]), "its name leads out of the archive"),
    "links": (lambda: archive_of([link("x.c", "/etc/passwd")]), "its name leads out"),
    "a bomb": (lambda: archive_of([("x.csv", bytes(1 << 26))]), "at most 4194304 bytes, got more"),
    "a bomb of many": (
        lambda: archive_of([(f"{i}.csv", bytes(4 << 20)) for i in range(257)]),
        "holds more than 1024 MiB",
    ),
    "many files": (
        lambda: archive_of([(f"{i}.c", "") for i in range(20_001)]),
        "more than 20,000 files",
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n == "a bomb of many")) for n in HOSTILE],
)
def test_hostile_archives_get_one_line_in_time(tmp_path, name):
    make, message = HOSTILE[name]
    (tmp_path / "x.zip").write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(LutFormatError, match=message) as caught:
        import_library(tmp_path / "x.zip")
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB
    assert str(caught.value).startswith(str(tmp_path / "x.zip"))
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["x.zip"]


def test_links_in_a_folder_are_read_as_files_only(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "loop").symlink_to(tmp_path / "lib")
    (tmp_path / "lib" / "x.npy").symlink_to("/dev/zero")
    with pytest.raises(
        LutFormatError, match=r"among 1 files; .*x\.npy: cannot be read: not a reg"
    ):
        import_library(tmp_path / "lib")


@pytest.mark.slow
def test_500_files_take_less_than_a_minute(tmp_path):
    keys = list(load_netlists())[:250]
    evoapproxlib(tmp_path / "lib", keys, verilog=False)
    start = time.process_time()
    found = import_library(tmp_path / "lib")
    assert time.process_time() - start < 60
    assert not found.failures
    assert len(found.multipliers) + found.merged == 500


def table_file(size):
    content = io.BytesIO()
    np.save(content, np.multiply.outer(np.arange(size), np.arange(size)))
    return content.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_members_that_cannot_be_unpacked_stop_no_other(tmp_path):
    members = ["a.npy", "a.npy", "a.npy/b.npy", "x" * 300 + ".npy", "d/" * 3000 + "a.npy"]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for size, name in zip((4, 8, 16, 32, 64), members, strict=True):
            archive.writestr(name, table_file(size))
    figures = {"power_mw": 0.1, "area_um2": 1.0, "delay_ns": 1.0}
    found = import_library(tmp_path / "x.zip", **figures)
    assert [m.bits_a for m in found.multipliers] == [2]
    assert len(found.failures) == 4
    assert all(": cannot be unpacked: " in failure for failure in found.failures)
    assert all(len(failure) < 300 for failure in found.failures)
