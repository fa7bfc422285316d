"""The bundled library against what its authors publish, and every trap of its names and tables."""

import csv
import shutil
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from grid import each

from axopt.errors import LutFormatError
from axopt.multipliers import check_library, load_library
from axopt.multipliers.metrics import PUBLISHED_NAMES, exact_table

BUNDLED = Path(__file__).resolve().parents[2] / "multiplier_lib"
with open(BUNDLED / "evoapprox8b.csv", encoding="utf-8", newline="") as _file:
    ROWS = {f"{row['release']}/{row['name']}": row for row in csv.DictReader(_file)}

# Distance of a figure from the recomputed one, in units of its last printed digit, by cause.
ROUNDED = 0.5 + 1e-9
TRUNCATED = 1.0
TRUNCATED_FIGURES = {("v1/mul8s_1KRC", "mae"), ("v2022/mul8s_1KVQ", "mae")}
# mae_pct computed from the printed, not from the exact mean absolute error
FROM_PRINTED_MAE = {"v1/mul8s_1KVA", "v2022/mul8s_1KV8", "v1/mul8s_1KVB", "v2022/mul8s_1KV9"}

# Kept partial products of the signed multipliers: for bit i of the first operand, the bits
# j = 0..7 of the second, from the left; all for every i not listed. "*" repeats the last for the
# rest.
NONE = "00000000"
KEPT = {
    ("1KV8", "1KV6"): [],
    ("1KVA", "1KV8"): ["00111111", "01111111"],
    ("1KVB", "1KV9"): ["00011111", "00111111", "01111111"],
    ("1KX2", "1KVA"): ["00001111", "00011111", "00111111", "01111111"],
    ("1KR8", "1KVM"): [NONE],
    ("1KR6", "1KVP"): [NONE, "00111111", "01111111"],
    ("1KRC", "1KVQ"): [NONE, "00011111", "00111111", "01111111"],
    ("1L2H", "1L2J"): [NONE, "01111111", "*"],
    ("1KVL", "1KX5"): [NONE, NONE, "00011111", "00111111", "01111111"],
    ("1KTY", "1KXF"): [NONE] * 3,
    ("1L2D", "1L2L"): [NONE, NONE, "00111111", "*"],
    ("1L1G", "1L2N"): [NONE] * 3 + ["00011111", "*"],
    ("1KR3", "1L12"): [NONE] * 6,
}


def kept_rows(rows):
    """Expand a line of KEPT to eight rows of bits."""
    if rows and rows[-1] == "*":
        rows = rows[:-1] + [rows[-2]] * (9 - len(rows))
    return rows + ["11111111"] * (8 - len(rows))


def broken_array(rows):
    """Sum the kept partial products a_i w_j 2^i 2^j; bit 7 weighs -128."""
    values = np.arange(-128, 128)
    weights = np.array([1, 2, 4, 8, 16, 32, 64, -128])
    bits = (values[:, None] >> np.arange(8) & 1) * weights
    kept = np.array([[int(bit) for bit in row] for row in rows])
    return bits @ kept @ bits.T


def test_library_has_99_entries_and_64_tables(library):
    assert len(library) == 99
    assert len({multiplier.digest for multiplier in library.values()}) == 64
    for release, signed, count in [
        ("v1", True, 13),
        ("v1", False, 36),
        ("v2022", True, 13),
        ("v2022", False, 37),
    ]:
        assert len(library.select(release=release, signed=signed, degenerate=True)) == count


@each("key", ROWS)
def test_entry_equals_its_row_and_digest(library, key):
    multiplier, row = library[key], ROWS[key]
    assert multiplier.key == key
    assert multiplier.digest == row["table_sha256"]
    assert multiplier.signed == (row["signed"] == "1")
    for column in ("power_mw", "area_um2", "delay_ns"):
        assert getattr(multiplier, column) == float(row[column])
    assert multiplier.source == row["source"]
    assert multiplier.published == {name: float(row[name]) for name in PUBLISHED_NAMES}


@each("key", ROWS)
def test_published_figures_follow_from_the_table(library, key):
    recomputed = library[key].metrics.published_figures()
    for name in PUBLISHED_NAMES:
        printed = Decimal(ROWS[key][name])
        unit = float(Decimal(1).scaleb(printed.as_tuple().exponent))
        expected = recomputed[name]
        if name == "mae_pct" and key in FROM_PRINTED_MAE:
            expected = 100 * float(ROWS[key]["mae"]) / 65536
        allowed = TRUNCATED if (key, name) in TRUNCATED_FIGURES else ROUNDED
        assert abs(expected - float(printed)) <= allowed * unit, name


def test_check_finds_the_bundled_library_fine(library):
    problems = check_library(library)
    assert list(problems) == list(library)
    assert not any(problems.values())


def test_mre_is_over_pairs_with_a_nonzero_product(library):
    # 2P7 errs where an operand is 0: counted, they would make the largest relative error 200 %
    multiplier = library["mul8u_2P7"]
    assert multiplier.table[0].any() or multiplier.table[:, 0].any()
    assert multiplier.metrics.wcre == 100.0


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1KVA", "mul8u_17C8"])
def test_names_collide_between_releases(library, name):
    first, second = library[f"v1/{name}"], library[f"v2022/{name}"]
    assert first.digest != second.digest
    assert library[name].key == f"v1/{name}"


def test_the_exact_name_of_v1_is_an_approximate_one_in_v2022(library):
    assert library["v1/mul8s_1KV8"].is_exact
    assert library["v2022/mul8s_1KV8"].metrics.mae == 1.25
    assert not library["v2022/mul8s_1KV8"].is_exact


@each("first, second", KEPT)
def test_signed_multipliers_are_the_same_functions_renamed(library, first, second):
    keys = [f"v1/mul8s_{first}", f"v2022/mul8s_{second}"]
    assert library.aliases(keys[0]) == keys
    assert library[keys[0]].digest == library[keys[1]].digest


@each("names", KEPT)
def test_signed_multipliers_are_sums_of_kept_partial_products(library, names):
    table = broken_array(kept_rows(KEPT[names]))
    np.testing.assert_array_equal(library[f"v1/mul8s_{names[0]}"].table, table)


@pytest.mark.parametrize("name", ["1L2H", "1L2D", "1L1G"])
def test_multipliers_declared_unsigned_are_reinterpreted(library, name):
    multiplier = library[f"mul8s_{name}"]
    assert ROWS[multiplier.key]["c_declares_unsigned"] == "1"
    # Taken literally, operands and result would be numbers 0..65535 of the same bits.
    literal = np.roll(multiplier.table & 0xFFFF, (128, 128), axis=(0, 1))
    garbage = np.abs(literal - exact_table(False)).mean()
    assert garbage > 20 * multiplier.metrics.mae
    assert multiplier.table.min() < 0


def test_six_multipliers_are_declared_unsigned():
    declared = {key for key, row in ROWS.items() if row["c_declares_unsigned"] == "1"}
    assert declared == {
        *("v1/mul8s_1L2H", "v1/mul8s_1L2D", "v1/mul8s_1L1G"),
        *("v2022/mul8s_1L2J", "v2022/mul8s_1L2L", "v2022/mul8s_1L2N"),
    }


@pytest.mark.parametrize(
    ("release", "signed", "count"),
    [("v1", True, 6), ("v2022", True, 6), ("v1", False, 32), ("v2022", False, 32)],
)
def test_how_many_multipliers_are_not_commutative(library, release, signed, count):
    chosen = library.select(release=release, signed=signed, degenerate=True)
    assert sum(not multiplier.is_commutative for multiplier in chosen.values()) == count


def test_row_is_the_first_positional_argument(library):
    # 1KR3 keeps bits 6 and 7 of its first operand, and every bit of the second.
    table = library["mul8s_1KR3"].table
    assert len(np.unique(table, axis=0)) == 4
    assert len(np.unique(table, axis=1)[0]) == 256


def test_multipliers_whose_product_with_zero_is_not_zero(library):
    def errs_at_zero(multiplier):
        zero = 128 if multiplier.signed else 0
        return multiplier.table[zero].any() or multiplier.table[:, zero].any()

    assert {key for key, multiplier in library.items() if errs_at_zero(multiplier)} == {
        *(f"v1/mul8u_{name}" for name in ("2AC", "2HH", "2P7")),
        *(f"v2022/mul8u_{name}" for name in ("0AB", "1SX", "27Y", "2V0")),
    }


def test_constant_multipliers_are_left_out_unless_named(library):
    constant = {"v1/mul8u_E9R", "v2022/mul8u_TD3"}
    assert {key for key, multiplier in library.items() if multiplier.is_degenerate} == constant
    assert set(library) - set(library.select()) == constant
    assert set(library.select(degenerate=True)) == set(library)
    assert list(library.select(names=["mul8u_E9R"])) == ["v1/mul8u_E9R"]
    assert all(library[key].power_mw == 0 and not library[key].table.any() for key in constant)


@pytest.mark.parametrize(("signed", "power_mw"), [(True, 0.425), (False, 0.391)])
def test_power_of_the_exact_multipliers(library, signed, power_mw):
    exact = library.exact(signed)
    assert exact.power_mw == power_mw
    assert exact.release == "v1"
    np.testing.assert_array_equal(exact.table, exact_table(signed))
    assert exact.power_mw == max(m.power_mw for m in library.select(signed=signed).values())


@pytest.mark.parametrize(("name", "rank"), [("1JFF", 1), ("Y48", 2), ("FTA", 17), ("13QR", 4)])
def test_rank_of_unsigned_multipliers(library, name, rank):
    assert library[f"mul8u_{name}"].rank == rank


def test_bundled_files_are_small():
    assert sum(path.stat().st_size for path in BUNDLED.glob("evoapprox8b.*")) < 2_000_000
    assert sum(path.stat().st_size for path in BUNDLED.iterdir() if path.is_file()) < 3_000_000


def test_bundled_library_is_the_raw_one(shared_data, library):
    raw = shared_data / "evoapprox8b" / "tables.npz"
    if not raw.is_file():
        pytest.skip(f"needs {raw}")
    with np.load(raw, allow_pickle=False) as tables:
        for multiplier in library.values():
            np.testing.assert_array_equal(tables[multiplier.digest[:16]], multiplier.table)


def test_loading_and_filtering_by_name_read_no_table(tmp_path):
    shutil.copy(BUNDLED / "evoapprox8b.csv", tmp_path)
    (tmp_path / "evoapprox8b.npz").write_bytes(b"no archive")
    fresh = load_library(tmp_path)
    assert "mul8s_1L2H" in fresh
    assert len(fresh.select(names=["mul8s_1L2H"], signed=True, release="v1")) == 1
    assert fresh.aliases("mul8s_1KVA") == ["v1/mul8s_1KVA", "v2022/mul8s_1KV8"]
    with pytest.raises(LutFormatError, match="damaged archive"):
        fresh["mul8s_1L2H"]
