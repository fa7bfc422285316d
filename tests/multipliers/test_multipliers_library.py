"""`MultiplierLibrary`: look-up, filters, saving, damaged directories."""

import csv
import io
import logging
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest

from axopt.errors import (
    ArgumentError,
    LutFormatError,
    MultiplierError,
    RunExistsError,
    UnknownMultiplierError,
)
from axopt.multipliers import (
    Multiplier,
    MultiplierLibrary,
    add_to_library,
    check_library,
    load_library,
)
from axopt.multipliers.metrics import exact_table


def make(name="mine", *, signed=True, table=None, power_mw=0.3, release="user"):
    table = exact_table(signed) if table is None else table
    figures = {"power_mw": power_mw, "area_um2": 500.0, "delay_ns": 1.2}
    return Multiplier.from_table(name, table, signed=signed, release=release, **figures)


def same(first, second):
    return first.key == second.key and first.digest == second.digest


@pytest.fixture
def saved(tmp_path, library):
    """A directory with two multipliers, saved."""
    library.select(names=["mul8s_1L2H", "mul8u_17KS"]).save(tmp_path / "lib")
    return tmp_path / "lib"


def test_lookup_by_name_and_key(library):
    assert library["mul8s_1L2H"] is library["v1/mul8s_1L2H"]
    assert library["mul8s_1L2J"].key == "v2022/mul8s_1L2J"
    assert "mul8s_1L2J" in library
    assert "v1/mul8s_1L2J" not in library
    assert 7 not in library
    assert library.get("nothing") is None
    assert list(library)[0] == "v1/mul8s_1KV8"
    assert load_library() is library


def test_unknown_name_lists_near_misses(library):
    with pytest.raises(
        UnknownMultiplierError, match="'mul8s_1L2G' is not .* did you mean .*mul8s_1L2H"
    ):
        library["mul8s_1L2G"]
    with pytest.raises(UnknownMultiplierError, match="mul8s_1L2J"):
        library["v1/mul8s_1L2J"]
    with pytest.raises(KeyError):
        library["zzz"]


def test_name_of_several_releases_other_than_v1_is_ambiguous():
    library = MultiplierLibrary([make(release="mine"), make(release="yours")])
    with pytest.raises(UnknownMultiplierError, match="ambiguous: say mine/mine or yours/mine"):
        library["mine"]
    assert library["yours/mine"].release == "yours"


def test_select_combines_filters(library):
    chosen = library.select(names=["mul8s_1L2H", "mul8s_1L2J", "mul8u_FTA"], signed=True)
    assert list(chosen) == ["v1/mul8s_1L2H", "v2022/mul8s_1L2J"]
    assert list(chosen.select(release="v2022")) == ["v2022/mul8s_1L2J"]
    assert not library.select(names=[])


def test_select_refuses_nonsense(library):
    with pytest.raises(ArgumentError, match="`names` must be a sequence"):
        library.select(names="mul8s_1L2H")
    with pytest.raises(UnknownMultiplierError):
        library.select(names=["mul8s_1L2H", "nothing"])
    with pytest.raises(ArgumentError, match="`release` must be one of v1, v2022, got 'v3'"):
        library.select(release="v3")
    with pytest.raises(ArgumentError, match="`pareto` must be one of mae, .* got 'power'"):
        library.select(pareto="power")


@pytest.mark.parametrize("metric", ["mae", "wce", "mre", "wcre", "ep", "mse", "bias"])
def test_pareto_equals_brute_force(library, metric):
    everything = library.select()
    chosen = library.select(pareto=metric)

    def point(multiplier):
        return multiplier.power_mw, abs(getattr(multiplier.metrics, metric))

    for key, multiplier in everything.items():
        rivals = [point(m) for m in everything.values() if m.signed == multiplier.signed]
        x, y = point(multiplier)
        beaten = any(p <= x and q <= y and (p, q) != (x, y) for p, q in rivals)
        first = library.aliases(key)[0] == key
        assert (key in list(chosen)) == (not beaten and first)


def test_pareto_keeps_different_multipliers_at_one_point():
    shifted = exact_table(True).copy()
    shifted[5, 5] += 1
    other = exact_table(True).copy()
    other[6, 6] += 1
    library = MultiplierLibrary([make("a", table=shifted), make("b", table=other)])
    assert list(library.select(pareto="mae")) == ["user/a", "user/b"]


def test_aliases_do_not_mix_signed_and_unsigned():
    zeros = np.zeros((256, 256), int)
    library = MultiplierLibrary([make("s", table=zeros), make("u", table=zeros, signed=False)])
    assert library["s"].digest == library["u"].digest
    assert library.aliases("s") == ["user/s"]


def test_exact_prefers_v1_and_falls_back_on_the_bundled_multiplier(library, caplog):
    other = MultiplierLibrary([make("e", release="a"), make("e", release="v1", power_mw=0.9)])
    assert other.exact(True).key == "v1/e"
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert other.exact(False) is library.exact(False)
    assert "no exact unsigned multiplier" in caplog.text
    assert "v1/mul8u_1JFF" in caplog.text


def test_with_multiplier_leaves_the_library_alone(library):
    larger = library.with_multiplier(make())
    assert (len(library), len(larger)) == (99, 100)
    assert larger["mine"].is_exact
    with pytest.raises(MultiplierError, match="user/mine is in the library already"):
        larger.with_multiplier(make())


def test_library_survives_pickle(library):
    twin = pickle.loads(pickle.dumps(load_library().select(names=["mul8u_FTA"])))
    assert same(twin["mul8u_FTA"], library["mul8u_FTA"])


def test_saved_library_reads_back_equal(tmp_path, library):
    larger = library.with_multiplier(make(power_mw=0.1 + 0.2))
    larger.save(tmp_path / "deep" / "lib")
    loaded = load_library(tmp_path / "deep" / "lib")
    assert list(loaded) == list(larger)
    for key, multiplier in larger.items():
        twin = loaded[key]
        assert twin.table.tobytes() == multiplier.table.tobytes()
        for field in ("signed", "power_mw", "area_um2", "delay_ns", "source", "published"):
            assert getattr(twin, field) == getattr(multiplier, field)


def test_saving_is_repeatable_and_never_replaces(tmp_path, library):
    small = library.select(names=["mul8u_FTA"])
    small.save(tmp_path / "a")
    small.save(tmp_path / "b")
    for name in ("library.csv", "library.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with pytest.raises(RunExistsError, match="holds a multiplier library already"):
        small.save(tmp_path / "a")


def test_one_digest_signed_and_unsigned_is_saved_twice(tmp_path):
    zeros = np.zeros((256, 256), int)
    MultiplierLibrary([make("s", table=zeros), make("u", table=zeros, signed=False)]).save(
        tmp_path
    )
    loaded = load_library(tmp_path)
    assert not loaded["s"].table.any()
    assert not loaded["u"].table.any()


def test_add_to_library_keeps_what_is_there(saved):
    add_to_library(make("one"), saved)
    add_to_library(make("two", signed=False), saved)
    loaded = load_library(saved)
    assert set(loaded) == {"v1/mul8s_1L2H", "v1/mul8u_17KS", "user/one", "user/two"}
    assert loaded["two"].is_exact
    before = {path: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(MultiplierError, match="user/one is in the library already"):
        add_to_library(make("one", power_mw=0.1), saved)
    assert {path: path.read_bytes() for path in saved.iterdir()} == before


def test_keys_that_look_alike_get_files_of_their_own(tmp_path):
    add_to_library(make("a-b", release="user"), tmp_path)
    add_to_library(make("b", release="user-a"), tmp_path)
    assert set(load_library(tmp_path)) == {"user/a-b", "user-a/b"}


def test_add_to_library_makes_the_directory(tmp_path):
    add_to_library(make(), tmp_path / "new" / "lib")
    assert list(load_library(tmp_path / "new" / "lib")) == ["user/mine"]


@pytest.mark.parametrize("failing", [1, 2])
def test_interrupted_add_changes_no_entry(saved, monkeypatch, failing):
    import axopt.files

    calls = []
    replace = axopt.files.os.replace

    def fail_nth(*arguments):
        calls.append(arguments)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        replace(*arguments)

    monkeypatch.setattr(axopt.files.os, "replace", fail_nth)
    with pytest.raises(OSError, match="No space left"):
        add_to_library(make("one"), saved)
    assert set(load_library(saved)) == {"v1/mul8s_1L2H", "v1/mul8u_17KS"}
    assert not list(saved.glob(".*"))
    monkeypatch.undo()
    add_to_library(make("one"), saved)
    assert load_library(saved)["one"].is_exact


def edit_csv(directory, column, value):
    file = directory / "library.csv"
    rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8"))))
    rows[0][column] = value
    with open(file, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("power_mw", "-1", r"library.csv:2: `power_mw` must be finite and >= 0, got -1.0"),
        ("power_mw", "nan", "`power_mw` must be finite"),
        ("area_um2", "1e400", "`area_um2` must be finite"),
        ("delay_ns", "", "`delay_ns` must be a number, got ''"),
        ("delay_ns", "fast", "`delay_ns` must be a number, got 'fast'"),
        ("mae", "x", "`mae` must be a number"),
        ("signed", "yes", "`signed` must be 0 or 1, got 'yes'"),
        ("name", "../x", "`name` must be"),
        ("release", "", "`release` must be"),
        ("table_sha256", "12", "64 lower-case hex digits, got '12'"),
        ("table_sha256", "Z" * 64, "64 lower-case hex digits"),
        ("name", "mul8u_17KS", "v1/mul8u_17KS occurs twice"),
    ],
)
def test_malformed_csv_names_file_line_and_field(saved, column, value, message):
    edit_csv(saved, column, value)
    with pytest.raises(LutFormatError, match=message) as caught:
        load_library(saved)
    assert "library.csv" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"release,name\nv1,x\n", b'"', b"\x00" * 100, b"a" * 200_000 + b"\n"],
)
def test_files_that_are_no_library_csv(saved, content):
    (saved / "library.csv").write_bytes(content)
    with pytest.raises(LutFormatError, match="library.csv"):
        load_library(saved)


def test_row_with_too_many_cells(saved):
    with open(saved / "library.csv", "a", encoding="utf-8") as stream:
        stream.write(",".join(["0"] * 40))
    with pytest.raises(LutFormatError, match="library.csv:4: the row has more cells"):
        load_library(saved)


def test_directories_that_are_no_library(saved, tmp_path):
    with pytest.raises(LutFormatError, match="not a directory"):
        load_library(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LutFormatError, match=r"at least one \.csv"):
        load_library(tmp_path / "empty")
    (saved / "library.npz").unlink()
    with pytest.raises(LutFormatError, match=r"expected library\.npz beside it"):
        load_library(saved)


def test_same_key_in_two_files(saved):
    for suffix in (".csv", ".npz"):
        shutil.copy(saved / f"library{suffix}", saved / f"other{suffix}")
    with pytest.raises(LutFormatError, match=r"other\.csv: v1/mul8s_1L2H occurs twice"):
        load_library(saved)


def write_member(directory, content, method=zipfile.ZIP_DEFLATED, name=None):
    digest = load_library(directory)["mul8s_1L2H"].digest
    with zipfile.ZipFile(directory / "library.npz", "w", method) as archive:
        archive.writestr(name or f"s{digest[:16]}.npy", content)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.zeros((2, 256, 256), np.uint8)), "must have digest 153bddcc"),
        (npy(np.zeros((2, 256, 256), np.int8)), "expected dtype uint8, got int8"),
        (npy(np.zeros((256, 256), np.uint8)), r"shape \(2, 256, 256\), got .* \(256, 256\)"),
        (npy(np.zeros((2, 256, 256), object)), "expected at most 135168 bytes"),
        (npy(np.array([None])), r"got '\|O' of shape \(1,\)"),
        (npy(np.zeros((2, 256, 256), np.uint8))[:-1], "expected 131072 bytes of data, got 131071"),
        (npy(np.zeros((2, 256, 256), np.uint8)) + b"x", "expected 131072 bytes of data"),
        (b"", "not a .npy file"),
        (b"\x93NUMPY\x01\x00v\x00{", "the .npy header is damaged"),
        (b"\x93NUMPY\x03\x00" + bytes(200), "not a .npy file"),
    ],
)
def test_damaged_tables_are_refused_when_read(saved, content, message):
    write_member(saved, content)
    library = load_library(saved)
    with pytest.raises(LutFormatError, match=message) as caught:
        library["mul8s_1L2H"]
    assert "library.npz" in str(caught.value)
    problems = check_library(library)
    assert len(problems["v1/mul8s_1L2H"]) == 1


def test_zip_bomb_is_not_unpacked(saved):
    write_member(saved, bytes(64 << 20))
    assert (saved / "library.npz").stat().st_size < 1 << 20
    limits = []
    unpack = zipfile.ZipExtFile.read

    def spy(self, n=-1):
        limits.append(n)
        return unpack(self, n)

    library = load_library(saved)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipExtFile, "read", spy)
        with pytest.raises(LutFormatError, match="expected at most 135168 bytes, got more"):
            library["mul8s_1L2H"]
    assert limits
    assert all(0 < n <= 135169 for n in limits)


def test_header_that_lies_about_its_size_allocates_nothing(saved):
    header = npy(np.zeros((2, 256, 256), np.uint8))
    write_member(saved, header.replace(b"(2, 256, 256)", b"(8, 9999999,)"))
    with pytest.raises(LutFormatError, match=r"got '\|u1' of shape \(8, 9999999\)"):
        load_library(saved)["mul8s_1L2H"]


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_only_deflate_is_read(saved, method):
    write_member(saved, b"x", method)
    with pytest.raises(LutFormatError, match="expected deflate"):
        load_library(saved)["mul8s_1L2H"]


def test_a_csv_that_is_no_regular_file_is_refused_and_not_waited_for(saved):
    (saved / "library.csv").unlink()
    os.mkfifo(saved / "library.csv")
    with pytest.raises(LutFormatError, match=r"library\.csv: .*not a regular file"):
        load_library(saved)


def test_missing_member(saved):
    write_member(saved, b"x", name="other.npy")
    with pytest.raises(LutFormatError, match="the table is missing"):
        load_library(saved)["mul8s_1L2H"]


def test_random_damage_to_an_archive_is_never_a_wrong_table(saved, library, rng):
    file = saved / "library.npz"
    intact = file.read_bytes()
    for _ in range(150):
        damaged = bytearray(intact)
        for position in rng.integers(0, len(intact), 3):
            damaged[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(
            damaged[: int(rng.integers(1, len(damaged)))] if rng.random() < 0.2 else damaged
        )
        for name in ("mul8s_1L2H", "mul8u_17KS"):
            try:
                table = load_library(saved)[name].table
            except LutFormatError:
                continue
            assert table.tobytes() == library[name].table.tobytes()
