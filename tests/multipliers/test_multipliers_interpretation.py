"""How importers recognise what a table holds, and what they repair."""

import warnings

import numpy as np
import pytest

from axopt.errors import LutFormatError
from axopt.multipliers import (
    BrokenQuadrantWarning,
    TableWarning,
    export_multiplier,
    import_multiplier,
    read_tables,
)
from axopt.multipliers.metrics import exact_table

FIGURES = {"power_mw": 0.3, "area_um2": 500.0, "delay_ns": 1.2}
SIGNED = [
    *("1KV8", "1KVA", "1KVB", "1KX2", "1KR8", "1KR6", "1KRC", "1L2H"),
    *("1KVL", "1KTY", "1L2D", "1L1G", "1KR3"),
]


def patterns(table):
    """A signed table in the order of bit patterns."""
    return np.roll(table, [size // 2 for size in table.shape], (0, 1))


def header(table, declaration="const int16_t lut [256][256]", comment=""):
    rows = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in table.tolist())
    return f"{comment}{declaration} = {{{rows}}};\n"


def broken(table):
    """What AdaPT's converter makes of a signed table."""
    size = np.where(np.arange(-128, 0) == -128, -128, -np.arange(-128, 0))
    wrong = table.copy()
    wrong[:128, :128] = table[np.ix_(size + 128, size + 128)]
    return wrong


def only(file, **options):
    [found] = read_tables(file, **options)
    return found


@pytest.mark.parametrize("signed", [None, True])
def test_an_exact_table_in_the_order_of_bit_patterns_is_exact(tmp_path, signed):
    np.save(tmp_path / "x.npy", patterns(exact_table(True)).astype(np.int16))
    with pytest.warns(TableWarning, match="two's-complement bit patterns .* 0 instead of 5462"):
        assert import_multiplier(tmp_path / "x.npy", signed=signed, **FIGURES).is_exact


@pytest.mark.parametrize("signed", [None, True])
def test_an_exact_bin_table_in_numeric_order_is_exact(tmp_path, signed):
    (tmp_path / "x.bin").write_bytes(exact_table(True).astype("<i2").tobytes())
    with pytest.warns(TableWarning, match=r"in numeric order, -128..127: .* 0 instead of 5462"):
        assert import_multiplier(tmp_path / "x.bin", signed=signed, **FIGURES).is_exact


@pytest.mark.parametrize("name", ["mul8s_1L2H", "mul8s_1KR3", "mul8u_17KS"])
def test_a_big_endian_bin_table_is_recognised(tmp_path, library, name):
    multiplier = library[name]
    table = patterns(multiplier.table) if multiplier.signed else multiplier.table
    (tmp_path / "x.bin").write_bytes((table & 0xFFFF).astype(">u2").tobytes())
    found = only(tmp_path / "x.bin")
    assert found.signed == multiplier.signed
    np.testing.assert_array_equal(found.table, multiplier.table)
    assert "the bytes of products are recognised as big-endian" in str(found.notes[0])


@pytest.mark.parametrize("swapped", [False, True], ids=["signed-unsigned", "unsigned-signed"])
@pytest.mark.parametrize("rolled", [False, True], ids=["numeric", "patterns"])
def test_products_of_a_signed_and_an_unsigned_operand_are_refused(tmp_path, swapped, rolled):
    table = np.multiply.outer(np.arange(-128, 128) & ~3, np.arange(256))
    table = np.roll(table, 128 * rolled, 0)
    np.save(tmp_path / "x.npy", table.T if swapped else table)
    which = "second" if swapped else "first"
    with pytest.raises(LutFormatError, match=f"the {which} operand is recognised as signed and"):
        read_tables(tmp_path / "x.npy")


@pytest.mark.parametrize("axis", [0, 1])
def test_a_table_that_is_hardly_one_of_products_is_told(tmp_path, axis):
    np.save(tmp_path / "x.npy", np.roll(exact_table(True), 64, axis).astype(np.int16))
    [found] = read_tables(tmp_path / "x.npy")
    assert "is larger than that of a table of zeros: check the kind" in str(found.notes[-1])


@pytest.mark.parametrize("name", ["mul8s_1L2H", "mul8s_1KR3", "mul8u_E9R"])
def test_the_worst_published_tables_are_read_without_a_word(tmp_path, library, name):
    np.save(tmp_path / "x.npy", library[name].table)
    assert not only(tmp_path / "x.npy", signed=library[name].signed).notes


@pytest.mark.parametrize("name", ["mul8s_1L2H", "mul8s_1KR3", "mul8s_1KX2"])
def test_a_header_in_numeric_order_is_recognised(tmp_path, library, name):
    table = library[name].table
    (tmp_path / "x.h").write_text(header(table))
    found = only(tmp_path / "x.h")
    np.testing.assert_array_equal(found.table, table)
    assert "recognised as being in numeric order, -128..127: the mean" in str(found.notes[0])


@pytest.mark.parametrize("name", ["1KV8", "1KX2", "1L1G", "1KR3"])
def test_unsigned_declarations_of_signed_multipliers_are_recognised(tmp_path, library, name):
    table = library[f"mul8s_{name}"].table
    (tmp_path / "x.h").write_text(header(patterns(table) & 0xFFFF, "const uint16_t lut[256][256]"))
    found = only(tmp_path / "x.h")
    assert found.signed
    np.testing.assert_array_equal(found.table, table)
    assert "operands are declared unsigned and recognised as signed" in str(found.notes[0])


def test_products_stored_as_bit_patterns_of_the_other_kind_are_recognised(tmp_path, library):
    signed, unsigned = library["mul8s_1L2H"].table, library["mul8u_17KS"].table
    np.save(tmp_path / "s.npy", (signed & 0xFFFF).astype(np.uint16))
    np.save(tmp_path / "u.npy", unsigned.astype(np.uint16).view(np.int16))
    for name, table in (("s", signed), ("u", unsigned)):
        found = only(tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(found.table, table)
        assert "products are recognised as" in str(found.notes[0])


def test_the_declaration_of_transaxx_is_read(tmp_path, library):
    table = library["mul8s_1L2H"].table
    text = "#ifndef X\n  #define X\n" + header(
        patterns(table), "const __device__ short lut[256][256]"
    )
    (tmp_path / "x.h").write_text(text + "#endif\n")
    found = only(tmp_path / "x.h")
    np.testing.assert_array_equal(found.table, table)
    assert not found.notes


def test_stated_figures_decide_between_readings(tmp_path, rng):
    # a table that is no good multiplier in any order: only the figure says which one is meant
    table = rng.integers(-300, 300, (256, 256))
    mae = np.abs(patterns(table) - exact_table(True)).mean()
    np.testing.assert_allclose(mae, np.abs(table - exact_table(True)).mean(), rtol=0.05)
    (tmp_path / "x.h").write_text(header(table, comment=f"// WCE = {wce(table)}\n"))
    assert wce(table) != wce(patterns(table))
    found = only(tmp_path / "x.h")
    np.testing.assert_array_equal(found.table, table)
    assert "the error figures that the file states are then right" in str(found.notes[0])


def wce(table):
    return np.abs(table - exact_table(True)).max()


@pytest.mark.parametrize("shape", [(4, 4), (256, 4), (32, 128)])
@pytest.mark.parametrize("signed", [True, False])
def test_narrow_tables_are_read_in_either_order(tmp_path, shape, signed):
    values = [np.arange(size) - (size // 2 if signed else 0) for size in shape]
    table = np.multiply.outer(*values)
    np.save(tmp_path / "x.npy", table)
    found = only(tmp_path / "x.npy")
    assert (2**found.bits_a, 2**found.bits_w, found.signed) == (*shape, signed)
    np.testing.assert_array_equal(found.table, table)
    if signed:
        np.save(tmp_path / "x.npy", patterns(table))
        np.testing.assert_array_equal(only(tmp_path / "x.npy").table, table)


def test_products_of_more_bits_than_the_operands_have_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.full((4, 8), 32))
    with pytest.raises(LutFormatError, match=r"5-bit signed products are -16\.\.15, got 32\.\.32"):
        read_tables(tmp_path / "x.npy")


@pytest.mark.parametrize("name", SIGNED)
def test_a_broken_quadrant_is_repaired(tmp_path, library, name):
    multiplier = library[f"mul8s_{name}"]
    (tmp_path / "x.h").write_text(header(patterns(broken(multiplier.table))))
    with warnings.catch_warnings():
        warnings.simplefilter("error", BrokenQuadrantWarning)
        with pytest.warns(TableWarning, match="rebuilt from the other three quadrants"):
            copy = import_multiplier(tmp_path / "x.h", repair=True, **FIGURES)
    assert copy.digest == multiplier.digest


def test_a_repair_keeps_a_constant_and_what_only_one_operand_gives(tmp_path):
    a, w = np.arange(-128, 128)[:, None], np.arange(-128, 128)
    table = (a & ~3) * (w & ~7) + 5 + (a & 4) - (w & 3)
    wrong = broken(table)
    np.save(tmp_path / "x.npy", wrong)
    found = only(tmp_path / "x.npy", signed=True, repair=True)
    np.testing.assert_array_equal(found.table, table)


def test_a_quadrant_that_the_others_do_not_determine_is_not_repaired(tmp_path, rng):
    table = exact_table(True) + rng.integers(0, 9, (256, 256))
    table[0, 0] = 16000
    (tmp_path / "x.h").write_text(header(patterns(broken(table))))
    assert any(isinstance(n, BrokenQuadrantWarning) for n in only(tmp_path / "x.h").notes)
    with pytest.raises(LutFormatError, match=r"x\.h: .* cannot be repaired: the other three"):
        read_tables(tmp_path / "x.h", repair=True)


def test_repair_leaves_a_sound_table_alone(tmp_path, library):
    export_multiplier(library["mul8s_1L2H"], tmp_path / "x.h")
    found = only(tmp_path / "x.h", repair=True)
    np.testing.assert_array_equal(found.table, library["mul8s_1L2H"].table)
    assert not found.notes
