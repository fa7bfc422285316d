"""Text matrices and ``.npz`` archives."""

import io
import resource
import time
import zipfile

import numpy as np
import pytest

from axopt.errors import LutFormatError, MultiplierError
from axopt.multipliers import import_multiplier, read_tables

SIGNED = list(range(-128, 128))
PATTERNS = [*range(128), *range(-128, 0)]


def written(path, rows, separator=","):
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
    return path


def only(path, **options):
    [found] = read_tables(path, **options)
    return found


@pytest.mark.parametrize(
    ("separator", "name"),
    [
        *((separator, "mul8s_1KR3") for separator in (",", ";", "\t", " ", ", ", "  ")),
        (",", "mul8u_17KS"),
    ],
)
def test_a_matrix_is_read(tmp_path, library, separator, name):
    path = written(tmp_path / "x.csv", library[name].table.tolist(), separator)
    found = only(path)
    np.testing.assert_array_equal(found.table, library[name].table)
    assert (found.signed, found.notes) == (library[name].signed, ())


@pytest.mark.parametrize("corner", ["", "a\\w", "0"])
@pytest.mark.parametrize("order", [SIGNED, PATTERNS])
def test_headers_give_the_order(tmp_path, library, corner, order):
    table = library["mul8s_1KR3"].table
    places = np.array(order) + 128
    rows = [
        [a, *row] for a, row in zip(order, table[np.ix_(places, places)].tolist(), strict=True)
    ]
    found = only(written(tmp_path / "x.csv", [[corner, *order], *rows]))
    np.testing.assert_array_equal(found.table, table)
    assert (found.signed, found.notes) == (True, ())


def test_a_header_without_operands_is_ignored(tmp_path, library):
    table = library["mul8s_1KR3"].table
    header = [f"w{i}" for i in range(256)]
    for rows in ([header, *table.tolist()], [["", *header], *[["r", *r] for r in table.tolist()]]):
        np.testing.assert_array_equal(only(written(tmp_path / "x.csv", rows)).table, table)


def test_without_headers_the_order_is_recognised(tmp_path, library):
    table = library["mul8s_1KR3"].table
    found = only(written(tmp_path / "x.txt", np.roll(table, (128, 128), (0, 1)).tolist(), " "))
    np.testing.assert_array_equal(found.table, table)
    assert "two's-complement bit patterns" in str(found.notes[0])


@pytest.mark.parametrize("header", [[], [["a", "b", "p"]]])
def test_a_line_for_each_pair_is_read(tmp_path, library, rng, header):
    operands = range(-16, 16)
    table = library["mul8s_1KR3"].table[128 - 16 : 128 + 16, 128 - 16 : 128 + 16] // 64
    rows = [[a, w, table[a + 16, w + 16]] for a in operands for w in operands]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    found = only(written(tmp_path / "x.csv", header + rows))
    np.testing.assert_array_equal(found.table, table)
    narrow = [[a, w, a * w] for a in range(4) for w in range(8)]
    found = only(written(tmp_path / "x.csv", header + narrow))
    assert (found.bits_a, found.bits_w, found.mae) == (2, 3, 0)


def test_comments_state_figures(tmp_path, library):
    text = "# power_mw = 0.3\n# area = 500 um2\n# delay = 1200 ps\n\n"
    rows = "\n".join(",".join(map(str, row)) for row in library["mul8u_17KS"].table.tolist())
    (tmp_path / "x.csv").write_text(text + rows)
    multiplier = import_multiplier(tmp_path / "x.csv")
    assert (multiplier.power_mw, multiplier.area_um2, multiplier.delay_ns) == (0.3, 500, 1.2)
    assert multiplier.digest == library["mul8u_17KS"].digest


LINE = ",".join("0" * 256) + "\n"
OTHER_TEXTS = [
    ("", "expected a table, got none"),
    ("# only a comment\n", "expected a table, got none"),
    (LINE * 255, r"expected a table of shape .*, got \(255, 256\)"),
    (
        LINE * 255 + "0,0\n",
        r"x\.csv:1: expected 1 cells|x\.csv:256: expected 256 cells .* got 2",
    ),
    (LINE * 3 + LINE.replace("0,", "0.5,", 1) + LINE * 252, r"x\.csv:4: .* got '0\.5'"),
    (LINE * 255 + LINE.replace("0,", "0x1,", 1), r"x\.csv:256: .* got '0x1'"),
    (LINE * 255 + LINE.replace("0,", "9" * 5000 + ",", 1), r"got '9{40}'"),
    (LINE * 255 + LINE.replace("0,", "70000,", 1), r"-32768\.\.32767, got 0\.\.70000"),
    ("a,b,p\n" + "0,0,0\n" * 65536, "operands of 1 and 1 values"),
    ("\n".join(f"{a % 4},{a // 4 % 4},0" for a in range(15)) + "\n0,0,0", "occurs twice"),
    ("\n".join(f"{a % 4 + 7},{a // 4},0" for a in range(16)), "must start at 0"),
    ("\x00", "NUL"),
    ("," * 4_000_000, "expected"),
    (" " * (5 << 20), "at most 4194304 bytes"),
    ("0" * 4_000_000, "expected"),
]


@pytest.mark.parametrize(("text", "message"), OTHER_TEXTS, ids=range(len(OTHER_TEXTS)))
def test_other_texts_are_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    start = time.process_time()
    with pytest.raises(LutFormatError, match=message) as caught:
        read_tables(tmp_path / "x.csv")
    assert time.process_time() - start < 10
    assert str(caught.value).startswith(str(tmp_path / "x.csv"))
    assert len(str(caught.value)) < 500


def test_an_unsigned_reading_of_signed_operands_is_refused(tmp_path, library):
    table = library["mul8s_1KR3"].table
    path = written(tmp_path / "x.csv", [["", *SIGNED], *[[a, *table[a + 128]] for a in SIGNED]])
    with pytest.raises(LutFormatError, match="holds a table of signed operands"):
        read_tables(path, signed=False)


def test_an_archive_holds_several_multipliers(tmp_path, library):
    tables = {name: library[name].table for name in ("mul8s_1L2H", "mul8u_17KS")}
    np.savez_compressed(tmp_path / "x.npz", **tables, small=np.multiply.outer(range(4), range(4)))
    found = read_tables(tmp_path / "x.npz")
    assert [f.name for f in found] == [*tables, "small"]
    for imported, table in zip(found, tables.values(), strict=False):
        np.testing.assert_array_equal(imported.table, table)
    with pytest.raises(LutFormatError, match="expected one table, got 3"):
        import_multiplier(tmp_path / "x.npz")
    np.savez(tmp_path / "one.npz", table=tables["mul8s_1L2H"])
    figures = {"power_mw": 0.3, "area_um2": 1.0, "delay_ns": 1.0}
    assert import_multiplier(tmp_path / "one.npz", **figures).key == "user/one"


U8 = np.multiply.outer(np.arange(256), np.arange(256))
S4, U4 = np.arange(-8, 8), np.arange(16)


def text_of(table, separator=",", rows=None, columns=None):
    cells = table.tolist()
    if rows is not None:
        cells = [[label, *row] for label, row in zip(rows, cells, strict=True)]
    if columns is not None:
        cells.insert(0, [*([""] if rows is not None else []), *columns])
    return "\n".join(separator.join(map(str, row)) for row in cells) + "\n"


@pytest.mark.parametrize("separator", [" ", "\t", ";"])
def test_separators_in_comments_do_not_count(tmp_path, separator):
    comment = "# rows: a, columns: w\n"
    (tmp_path / "x.txt").write_text(comment + text_of(U8, separator))
    np.testing.assert_array_equal(read_tables(tmp_path / "x.txt")[0].table, U8)


MIXED = [
    text_of(np.multiply.outer(S4, U4), rows=S4, columns=U4),
    text_of(np.multiply.outer(U4, S4), rows=U4, columns=S4),
    "".join(f"{a},{w},{a * w}\n" for a in S4 for w in U4),
]


@pytest.mark.parametrize("text", MIXED, ids=["rows", "columns", "triples"])
@pytest.mark.parametrize("signed", [None, True])
def test_labels_of_a_signed_and_an_unsigned_operand_are_refused(tmp_path, text, signed):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(LutFormatError, match="one operand is signed and the other one unsigned"):
        read_tables(tmp_path / "x.csv", signed=signed)


@pytest.mark.parametrize("axis", [0, 1], ids=["row", "column"])
def test_a_row_too_many_is_no_header(tmp_path, axis):
    table = np.concatenate([U8, U8.take([7], axis)], axis)
    (tmp_path / "x.csv").write_text(text_of(table))
    line = ("row", "column")[axis]
    with pytest.raises(LutFormatError, match=f"the header {line} holds integers, but not each"):
        read_tables(tmp_path / "x.csv")


def archive(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return content.getvalue()


DAMAGED_ARCHIVES = {
    "empty": (lambda: b"", "damaged archive"),
    "cut": (lambda: b"PK\x03\x04" + b"x" * 100, "damaged archive"),
    "no array": (archive, "expected 1 to 2000 arrays, got 0"),
    "text": (lambda: archive(a=b"nothing"), r"x\.npz\[a\]: not a \.npy file"),
    "bomb": (
        lambda: archive(a=bytes(1 << 28)),
        r"x\.npz\[a\]: expected at most 4194304 bytes, got more",
    ),
    "many": (
        lambda: archive(**{f"m{i}": b"" for i in range(2001)}),
        "expected 1 to 2000 arrays, got 2001",
    ),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED_ARCHIVES.values(), ids=DAMAGED_ARCHIVES)
def test_damaged_archives_are_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "x.npz").write_bytes(content())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(LutFormatError, match=message):
        read_tables(tmp_path / "x.npz")
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB


def test_names_in_an_archive_lead_nowhere(tmp_path, library):
    np.savez(
        tmp_path / "x.npz", **{"../../y": library["mul8s_1L2H"].table, "z": np.zeros((4, 4), int)}
    )
    assert read_tables(tmp_path / "x.npz")[0].name == "../../y"
    np.savez(tmp_path / "x.npz", **{"../../y": library["mul8s_1L2H"].table})
    with pytest.raises(MultiplierError, match="`name` must be"):
        import_multiplier(tmp_path / "x.npz", name="../y", power_mw=1, area_um2=1, delay_ns=1)
