"""PackedTable: layout, bounds, cache.

The private cache is replaced because the one of the process holds tables of other tests.
"""

import numpy as np
import pytest
from kernel_cases import exact_signed_table, signed_table, unsigned_table

from axopt.errors import ArgumentError
from axopt.kernels import PackedTable, table


@pytest.mark.parametrize("make_table", [signed_table, unsigned_table])
def test_layout_restores_the_table(make_table, rng):
    entries = make_table(rng)
    packed = PackedTable.of(entries)
    np.testing.assert_array_equal(packed.columns.T + np.int64(packed.bias), entries)
    low, high = packed.planes[:, 0], packed.planes[:, 1].astype(np.int64)
    np.testing.assert_array_equal((low + 256 * high).T + packed.bias, entries)


def test_arrays_are_aligned_and_read_only(rng):
    packed = PackedTable.of(signed_table(rng))
    for array in (packed.columns, packed.planes):
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable


@pytest.mark.parametrize(
    ("entry", "k_max"), [(0, 2**31 - 1), (1, 2**31 - 1), (-128, 2**24 - 1), (65535, 32768)]
)
def test_k_max_is_the_most_products_that_fit(entry, k_max):
    entries = np.zeros((256, 256), np.int32)
    entries[3, 7] = entry
    assert PackedTable.of(entries).k_max == k_max


def test_equal_tables_are_packed_once(rng):
    entries = signed_table(rng)
    packed = PackedTable.of(entries.astype(np.int16))
    assert PackedTable.of(entries.astype(">i4")) is packed
    assert PackedTable.of(np.asfortranarray(entries)) is packed
    entries[0, 0] ^= 1
    assert PackedTable.of(entries) is not packed


def test_cache_forgets_the_table_not_used_longest(rng, monkeypatch):
    monkeypatch.setattr(table, "_cache", type(table._cache)())
    monkeypatch.setattr(table, "_CACHED_TABLES", 2)
    first, second, third = (signed_table(rng) for _ in range(3))
    kept, forgotten = PackedTable.of(first), PackedTable.of(second)
    assert PackedTable.of(first) is kept
    PackedTable.of(third)
    assert PackedTable.of(first) is kept
    assert PackedTable.of(second) is not forgotten


def test_later_changes_of_the_source_do_not_matter(rng):
    entries = exact_signed_table().astype(np.int32)
    packed = PackedTable.of(entries)
    before = packed.columns.copy()
    entries[:] = 0
    np.testing.assert_array_equal(packed.columns, before)


def _with(entry, other=0):
    entries = np.zeros((256, 256), np.int64)
    entries[1, 2], entries[3, 4] = entry, other
    return entries


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((256, 255), int), r"\(256, 256\), got int64 \(256, 255\)"),
        (np.zeros(65536, int), r"\(65536,\)"),
        (np.zeros((256, 256)), "float64"),
        (np.zeros((256, 256), bool), "bool"),
        (np.zeros((256, 256), object), "object"),
        (_with(65536), "got 0..65536"),
        (_with(-32769), "got -32769..0"),
        (_with(65535, -1), "got -1..65535"),
        (_with(2**63 - 1), "got 0..9223372036854775807"),
    ],
)
def test_tables_that_do_not_fit_are_refused(bad, message):
    with pytest.raises(ArgumentError, match=message):
        PackedTable.of(bad)
