"""Every format of tables that is written reads back as the same multiplier, without a hint."""

import warnings

import numpy as np
import pytest

from axopt import Multiplier, load_library
from axopt.multipliers import TABLE_WRITERS, export_multiplier, read_tables

LIBRARY = load_library(narrow=True)
NARROW = ("csv", "txt", "npz", "npy")
FULL = (*NARROW, "h", "bin")
NAMES = {
    "mul8s_1L1G": FULL,  # signed, not commutative
    "mul8u_2P7": FULL,  # not commutative, zero times x is not zero
    "v2022/mul8x2u_0AJ": NARROW,
}


@pytest.mark.parametrize("suffix", FULL)
@pytest.mark.parametrize("name", NAMES)
def test_tables_read_back(name, suffix, tmp_path):
    if suffix not in NAMES[name]:
        pytest.skip("holds tables of 8 x 8 bits only")
    multiplier = LIBRARY[name]
    file = tmp_path / f"mine.{suffix}"
    export_multiplier(multiplier, file)
    [found] = read_tables(file)
    assert (found.signed, list(found.notes)) == (multiplier.signed, [])
    assert np.array_equal(found.table, multiplier.table)


def test_a_text_matrix_tells_the_kind(tmp_path):
    """A signed table of non-negative products is not read as one of unsigned operands."""
    table = np.zeros((4, 8), np.int32)
    table[1, 2] = 3
    multiplier = Multiplier.from_table(
        "mine", table, signed=True, power_mw=1, area_um2=1, delay_ns=1
    )
    export_multiplier(multiplier, tmp_path / "mine.csv")
    lines = (tmp_path / "mine.csv").read_text().splitlines()
    assert lines[:3] == [
        ",-4,-3,-2,-1,0,1,2,3",
        "-2,0,0,0,0,0,0,0,0",
        "-1,0,0,3,0,0,0,0,0",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        [found] = read_tables(tmp_path / "mine.csv")
    assert found.signed
    assert np.array_equal(found.table, table)


@pytest.mark.parametrize("name", TABLE_WRITERS.names())
def test_equal_tables_give_equal_bytes(name):
    table = LIBRARY["mul8s_1L1G"].table
    writer = TABLE_WRITERS[name]
    assert writer.write(table, True) == writer.write(table.copy(), True)


@pytest.mark.slow  # 489 multipliers in six formats
@pytest.mark.parametrize("suffix", FULL)
def test_all_bundled_tables_read_back(suffix, tmp_path):
    for key, multiplier in LIBRARY.items():
        if suffix in ("h", "bin") and multiplier.is_narrow:
            continue
        export_multiplier(multiplier, tmp_path / f"mine.{suffix}")
        [found] = read_tables(tmp_path / f"mine.{suffix}", signed=multiplier.signed)
        assert np.array_equal(found.table, multiplier.table), key
