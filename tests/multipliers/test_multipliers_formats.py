"""AdaPT headers, TFApprox .bin and .npy files: layout, round trips, malformed input."""

import contextlib
import os
import time
import warnings

import numpy as np
import pytest
from grid import each

from axopt.errors import ArgumentError, LutFormatError, MultiplierError
from axopt.multipliers import (
    BrokenQuadrantWarning,
    Multiplier,
    MultiplierLibrary,
    TableWarning,
    export_multiplier,
    import_multiplier,
)
from axopt.multipliers.metrics import exact_table

FIGURES = {"power_mw": 0.3, "area_um2": 500.0, "delay_ns": 1.2}
SIGNED = [
    *("1KV8", "1KVA", "1KVB", "1KX2", "1KR8", "1KR6", "1KRC", "1L2H"),
    *("1KVL", "1KTY", "1L2D", "1L1G", "1KR3"),
]
SUFFIXES = [".h", ".bin", ".npy"]


def read(file, signed=True, **options):
    return import_multiplier(file, signed=signed, **FIGURES, **options)


def adapt_converter(table):
    """Do to a table what AdaPT's converter does, result in numeric order.

    It calls the C function with (i, j) or, in the upper half of an operand, with i - 256; but
    where both are in the upper half with (256 - i, 256 - j). Its arguments are 8-bit.
    """
    wrong = table.copy()
    for a in range(-128, 0):
        for w in range(-128, 0):
            a8, w8 = ((abs(x) + 128) % 256 - 128 for x in (a, w))
            wrong[a + 128, w + 128] = table[a8 + 128, w8 + 128]
    return wrong


@pytest.fixture(scope="module")
def converted(library):
    """What AdaPT's converter makes of the signed multipliers."""
    return {
        name: Multiplier.from_table(
            name, adapt_converter(library[f"mul8s_{name}"].table), signed=True, **FIGURES
        )
        for name in SIGNED
    }


def test_adapt_header_layout(tmp_path, library):
    export_multiplier(library["mul8s_1KR3"], tmp_path / "lut.h")
    text = (tmp_path / "lut.h").read_text("ascii")
    head = "#include <stdint.h>\n\nconst int16_t lut [256][256] = {{"
    assert text.startswith(head)
    assert text.endswith("}};\n")
    rows = [row.split(", ") for row in text[len(head) : -4].split("},\n{")]
    table = library["mul8s_1KR3"].table
    # two's complement: row 200 is -56; rows are the first operand
    assert int(rows[200][3]) == table[-56 + 128, 3 + 128] == -64 * 3
    assert int(rows[3][200]) == table[3 + 128, -56 + 128] == 0
    assert int(rows[200][200]) == table[-56 + 128, -56 + 128] == 64 * 56


def test_bin_layout(tmp_path, library):
    export_multiplier(library["mul8u_17KS"], tmp_path / "u.bin")
    content = (tmp_path / "u.bin").read_bytes()
    table = library["mul8u_17KS"].table
    a, w = map(int, np.argwhere(table != table.T)[0])
    offset = 2 * (a << 8 | w)
    assert int.from_bytes(content[offset : offset + 2], "little") == table[a, w]
    export_multiplier(library["mul8s_1KR3"], tmp_path / "s.bin")
    content = (tmp_path / "s.bin").read_bytes()
    offset = 2 * (200 << 8 | 3)
    assert int.from_bytes(content[offset : offset + 2], "little", signed=True) == -64 * 3


def test_npy_layout(tmp_path, library):
    for name, dtype in [("mul8s_1L2H", np.int16), ("mul8u_17KS", np.uint16)]:
        export_multiplier(library[name], tmp_path / "t.npy")
        array = np.load(tmp_path / "t.npy", allow_pickle=False)
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, library[name].table)


@pytest.mark.filterwarnings("ignore:.* is larger than that of a table of zeros")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("signed", [True, False])
def test_round_trip_of_any_16_bit_table(tmp_path, rng, suffix, signed):
    low = -32768 if signed else 0
    table = rng.integers(low, low + 65536, (256, 256))
    table[0, 0], table[255, 255] = low, low + 65535
    original = Multiplier.from_table("random", table, signed=signed, **FIGURES)
    export_multiplier(original, tmp_path / f"random{suffix}")
    copy = read(tmp_path / f"random{suffix}", signed)
    assert copy.key == "user/random"
    assert copy.digest == original.digest
    assert (copy.power_mw, copy.area_um2, copy.delay_ns) == (0.3, 500.0, 1.2)
    assert read(tmp_path / f"random{suffix}", signed, name="x", release="r").key == "r/x"


@each("name", SIGNED)
def test_right_headers_read_without_warning(tmp_path, library, name):
    multiplier = library[f"mul8s_{name}"]
    export_multiplier(multiplier, tmp_path / "right.h")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path / "right.h").digest == multiplier.digest


@each("name", SIGNED)
def test_headers_of_the_broken_converter_warn(tmp_path, converted, name):
    export_multiplier(converted[name], tmp_path / "broken.h")
    with pytest.warns(BrokenQuadrantWarning, match=r"broken\.h: .*M\(\|a\|, \|w\|\)") as caught:
        copy = read(tmp_path / "broken.h")
    assert caught[0].filename == __file__
    assert copy.digest == converted[name].digest


def test_damage_of_the_broken_converter(library, converted):
    def wrong_products(name):
        return converted[name].table != library[f"mul8s_{name}"].table

    exact = wrong_products("1KV8")
    assert np.count_nonzero(exact) == 254
    assert np.count_nonzero(exact[0]) == np.count_nonzero(exact[:, 0]) == 127
    for name, percent in [("1KVA", 14), ("1KR3", 99), ("1L1G", 99)]:
        quadrant = wrong_products(name)[:128, :128]
        assert round(100 * quadrant.mean()) == percent
        assert not wrong_products(name)[128:].any()
    # 1L2H without the row and column of -128: the mean error changes its sign
    error = converted["1L2H"].table - exact_table(True)
    right = library["mul8s_1L2H"].table - exact_table(True)
    assert right[1:, 1:].mean() == pytest.approx(0.25, abs=0.005)
    assert error[1:, 1:].mean() == pytest.approx(-31.7, abs=0.05)


@pytest.mark.parametrize("change", [(10, 20), (0, 20), (20, 0)])
def test_a_quadrant_that_is_no_complete_copy_does_not_warn(tmp_path, converted, change):
    table = converted["1L2H"].table.copy()
    table[change] += 1
    export_multiplier(Multiplier.from_table("x", table, signed=True, **FIGURES), tmp_path / "x.h")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path / "x.h")


@pytest.mark.parametrize("value", [0, 1, 5])
def test_a_constant_header_does_not_warn(tmp_path, value):
    table = np.full((256, 256), value)
    export_multiplier(Multiplier.from_table("x", table, signed=True, **FIGURES), tmp_path / "x.h")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path / "x.h").is_degenerate


def header(rows=None, *, declaration="const int16_t lut [256][256]", before="", after=""):
    rows = ["{" + ", ".join(["1"] * 256) + "}"] * 256 if rows is None else rows
    return f"{before}{declaration} = {{{','.join(rows)}}};{after}"


@pytest.mark.parametrize(
    "text",
    [
        header(before="#include <stdint.h>\n#pragma once\n\n"),
        header(before="/* int16_t\n * x { */ // it's 256\n"),
        header(declaration="static const int16_t mul8s_x[256] [256]"),
        header(declaration="int16_t\nlut\t[ 256 ][256]", after="\r\n// end"),
        header(["{" + "1," * 256 + "}"] * 256).replace("};", ",};"),
        header().replace(", ", ","),
        "\ufeff" + header(),
    ],
)
def test_headers_in_other_hands(tmp_path, text):
    (tmp_path / "x.h").write_text(text, encoding="utf-8")
    assert read(tmp_path / "x.h").table.min() == 1


ROW = "{" + ", ".join(["1"] * 256) + "}"


def with_cell(cell):
    return header([ROW.replace("1", cell, 1)] + [ROW] * 255)


@each(
    "text, message",
    [
        ("", "expected exactly one array"),
        ('int main() { system("touch owned"); }', "expected exactly one array"),
        (header(before="int x;"), "expected exactly one array"),
        (header(after="int x;"), "expected exactly one array"),
        (header(after=header()), "expected exactly one array"),
        (header(declaration="const int32_t lut[256][256]"), "expected exactly one array"),
        (header(declaration="const int16_t lut[128][128]"), "expected exactly one array"),
        (header(declaration="const int16_t lut[65536]"), "expected exactly one array"),
        (header(declaration="const uint16_t lut[256][256]"), "declares uint16_t"),
        (header()[:-2000], "expected exactly one array"),
        (header([ROW] * 255), "expected 256 rows, got 255"),
        (header([ROW] * 257), "expected 256 rows, got 257"),
        (header([ROW, "1"] + [ROW] * 254), "expected rows"),
        (header([ROW + ROW] + [ROW] * 254), "expected rows"),
        (header([ROW, "{1,2,3}"] + [ROW] * 254), "row 1: expected 256 numbers, got 3"),
        (with_cell("1,1"), "row 0: expected 256 numbers, got 257"),
        (with_cell("{1}"), "expected rows|expected exactly"),
        (with_cell("1 2"), "row 0: expected a decimal number, got '1 2'"),
        (with_cell("--1"), "expected a decimal number, got '--1'"),
        (with_cell("010"), "expected a decimal number, got '010'"),
        (with_cell(" "), "expected a decimal number, got ''"),
        (with_cell("9" * 5000), "expected a decimal number, got '9"),
        (with_cell("1.0"), "expected exactly one array"),
        (with_cell("0x10"), "expected exactly one array"),
        (with_cell("f()"), "expected exactly one array"),
        (with_cell("\u0663"), "expected exactly one array"),
        (with_cell("32768"), r"int16_t holds -32768\.\.32767, got 1\.\.32768"),
        (with_cell("-32769"), r"got -32769\.\.1"),
        ("/* " + header(), "the comment at character 0 never ends"),
        ("/* /*" * 200_000, "never ends"),
        ("x / y", "unexpected '/' at character 2"),
        (header().replace(",", "," + " " * 100), "expected at most 4194304 bytes"),
    ],
)
def test_malformed_headers(tmp_path, text, message):
    (tmp_path / "bad.h").write_text(text, encoding="utf-8")
    with pytest.raises(LutFormatError, match=message) as caught:
        read(tmp_path / "bad.h")
    assert str(tmp_path / "bad.h") in str(caught.value)
    assert not (tmp_path / "owned").exists()


def test_header_of_the_other_kind(tmp_path):
    (tmp_path / "x.h").write_text(header(declaration="uint16_t lut[256][256]"))
    assert read(tmp_path / "x.h", signed=False).table.max() == 1
    (tmp_path / "x.h").write_text(header())
    with pytest.raises(LutFormatError, match="declares int16_t, but `signed` says unsigned"):
        read(tmp_path / "x.h", signed=False)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 131071, 131073, 262144])
def test_bin_of_another_size(tmp_path, size):
    (tmp_path / "bad.bin").write_bytes(bytes(size))
    with pytest.raises(LutFormatError, match=f"bad.bin: expected 131072 bytes, got {size}"):
        read(tmp_path / "bad.bin")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((256, 255), np.int16), r"2\.\.8, got '<i2' of shape \(256, 255\)"),
        (np.zeros(65536, np.int16), r"got '<i2' of shape \(65536,\)"),
        (np.zeros((256, 256), "<f8"), "got '<f8' of shape"),
        (np.zeros((256, 256), bool), r"got '\|b1'"),
        (np.zeros((256, 256), "m8[s]"), r"got '<m8\[s\]' of shape"),
        (np.zeros((256, 256), [("x", "<i2")]), r"got '\|V2' of shape"),
        (np.full((256, 256), None), r"got '\|O'"),
        (np.zeros((), np.int16), r"got '<i2' of shape \(\)"),
        (np.full((256, 256), 32768), r"-32768\.\.32767, got 32768\.\.32768"),
        (np.full((256, 256), 2**64 - 1, np.uint64), "got 18446744073709551615"),
        (np.zeros((1024, 1024)), "expected at most 4194304 bytes"),
    ],
)
def test_malformed_npy(tmp_path, array, message):
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    with pytest.raises(LutFormatError, match=message) as caught:
        read(tmp_path / "bad.npy")
    assert str(tmp_path / "bad.npy") in str(caught.value)


@pytest.mark.parametrize("dtype", [">i2", "<i8", np.int32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_dtypes_and_orders(tmp_path, library, dtype, order):
    table = library["mul8s_1KR3"].table
    np.save(tmp_path / "x.npy", np.array(table, dtype=dtype, order=order))
    assert read(tmp_path / "x.npy").digest == library["mul8s_1KR3"].digest


OPEN = b"{'descr': '<i2', 'fortran_order': False, 'shape': (256, 256)"


def npy_file(header, version=1):
    """A ``.npy`` file of zeros with any header."""
    length = len(header).to_bytes(2 * version, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + bytes(131072)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy_file(OPEN + b" " * 4_000_000, version=2), "at most 4096 bytes, it declares 4000060"),
        (npy_file(b"{" + b" " * 4000), "header is damaged"),
        (npy_file(b"(" * 4000), "header is damaged"),
        (npy_file(b"{'descr': '<i2', 'fortran_order': False}"), "header is damaged"),
        (npy_file(b"__import__('os').system('touch owned')"), "header is damaged"),
        (npy_file(b"{'descr': '|O', 'fortran_order': False, 'shape': (256, 256)}"), r"got '\|O'"),
        (npy_file(b"{'descr': '<i2', 'fortran_order': False, 'shape': (-256, -256)}"), "-256"),
        (npy_file(b"", version=3), r"version 1\.0 or 2\.0, got 3\.0"),
    ],
)
def test_a_hostile_npy_header_is_refused_at_once(tmp_path, content, message):
    (tmp_path / "bad.npy").write_bytes(content)
    start = time.monotonic()
    with pytest.raises(LutFormatError, match=message) as caught:
        read(tmp_path / "bad.npy")
    assert time.monotonic() - start < 5
    assert str(tmp_path / "bad.npy") in str(caught.value)
    assert not (tmp_path / "owned").exists()


def test_a_npy_file_of_version_2_is_read(tmp_path):
    header = (OPEN + b"}").ljust(4000) + b"\n"
    (tmp_path / "x.npy").write_bytes(npy_file(header, version=2))
    assert read(tmp_path / "x.npy").is_degenerate


def test_truncated_npy(tmp_path, library):
    export_multiplier(library["mul8s_1L2H"], tmp_path / "x.npy")
    content = (tmp_path / "x.npy").read_bytes()
    for length in [0, 5, 8, 60, 127, 128, 5000, len(content) - 1]:
        (tmp_path / "x.npy").write_bytes(content[:length])
        with pytest.raises(LutFormatError, match="x.npy"):
            read(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(content + b"\0")
    with pytest.raises(LutFormatError, match="expected 131072 bytes of data, got 131073"):
        read(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_random_bytes_are_refused_or_read(tmp_path, rng, library, suffix):
    file = tmp_path / f"x{suffix}"
    export_multiplier(library["mul8s_1L2H"], file)
    intact = file.read_bytes()
    for _ in range(40):
        damaged = bytearray(intact[: int(rng.integers(1, 400))] if suffix == ".npy" else intact)
        for position in rng.integers(0, min(len(damaged), 300), 3):
            damaged[position] = int(rng.integers(256))
        file.write_bytes(damaged)
        with contextlib.suppress(LutFormatError):
            read(file)


def test_suffix_names_the_format(tmp_path, library):
    multiplier = library["mul8s_1L2H"]
    export_multiplier(multiplier, tmp_path / "x.NPY")
    assert read(tmp_path / "x.NPY").digest == multiplier.digest
    with pytest.raises(
        LutFormatError, match=r"x\.dat: the suffix must be one of \.bin, \.csv, \.h, \.npy"
    ):
        export_multiplier(multiplier, tmp_path / "x.dat")
    with pytest.raises(LutFormatError, match="the suffix must be"):
        read(tmp_path / "x")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(LutFormatError, match=r"nothing\.bin: cannot be read: No such file"):
        read(tmp_path / "nothing.bin")
    (tmp_path / "dir.bin").mkdir()
    with pytest.raises(LutFormatError, match=r"dir\.bin: cannot be read: Is a directory"):
        read(tmp_path / "dir.bin")


def test_a_fifo_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.bin")
    with pytest.raises(LutFormatError, match=r"x\.bin: cannot be read: not a regular file"):
        read(tmp_path / "x.bin")


@each("signed", [True, None])
@each("name", SIGNED)
def test_a_npy_table_in_the_order_of_bit_patterns_is_recognised(tmp_path, library, name, signed):
    multiplier = library[f"mul8s_{name}"]
    np.save(tmp_path / "x.npy", np.roll(multiplier.table, (128, 128), (0, 1)).astype(np.int16))
    message = r"x\.npy: rows and columns are recognised as two's-complement bit patterns"
    with pytest.warns(TableWarning, match=message) as caught:
        copy = read(tmp_path / "x.npy", signed)
    assert caught[0].filename == __file__
    assert copy.digest == multiplier.digest


@pytest.mark.parametrize("suffix", SUFFIXES)
@each("name", [*(f"mul8s_{name}" for name in SIGNED), "mul8u_2HH", "mul8u_L40"])
def test_the_kind_follows_from_the_table_where_it_is_not_given(tmp_path, library, name, suffix):
    export_multiplier(library[name], tmp_path / f"x{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy = read(tmp_path / f"x{suffix}", None)
    assert (copy.signed, copy.digest) == (library[name].signed, library[name].digest)


@pytest.mark.parametrize("missing", FIGURES)
def test_a_figure_that_neither_file_nor_caller_states_is_named(tmp_path, library, missing):
    export_multiplier(library["mul8s_1L2H"], tmp_path / "x.npy")
    given = {name: value for name, value in FIGURES.items() if name != missing}
    with pytest.raises(MultiplierError, match=rf"x\.npy: states no `{missing}`; give"):
        import_multiplier(tmp_path / "x.npy", **given)


def test_a_format_is_named_or_follows_from_the_suffix(tmp_path, library):
    export_multiplier(library["mul8s_1L2H"], tmp_path / "x.dat", format="tfapprox")
    with pytest.raises(LutFormatError, match="suffix"):
        read(tmp_path / "x.dat")
    assert read(tmp_path / "x.dat", format="tfapprox").digest == library["mul8s_1L2H"].digest
    with pytest.raises(ArgumentError, match="`format` must be a known importer, got 'tfaprox'"):
        read(tmp_path / "x.dat", format="tfaprox")


def test_file_name_that_makes_no_name(tmp_path, library):
    export_multiplier(library["mul8s_1L2H"], tmp_path / "my mult.bin")
    with pytest.raises(MultiplierError, match="`name` must be .* got 'my mult'"):
        read(tmp_path / "my mult.bin")
    assert read(tmp_path / "my mult.bin", name="mine").key == "user/mine"


def test_imported_multiplier_joins_a_library(tmp_path, library):
    export_multiplier(library["mul8u_17KS"], tmp_path / "mine.bin")
    imported = read(tmp_path / "mine.bin", signed=False)
    joined = MultiplierLibrary([*library.values(), imported])
    assert joined.aliases("mine") == ["v1/mul8u_17KS", "v2022/mul8u_17C8", "user/mine"]
    assert imported.source == "imported from mine.bin"
