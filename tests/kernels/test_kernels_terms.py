"""find_terms: every decomposition is exact, and as short as the structure of the table allows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import examples, signed_table, unsigned_table

from axopt.errors import ArgumentError
from axopt.kernels import terms as terms_module
from axopt.kernels.factorise import coefficients, factorisations, interaction_rank
from axopt.kernels.terms import Terms, find_terms

CODES = np.arange(256)
VALUES = CODES - 128
ORDERS = {"as is": lambda table: table, "swapped": lambda table: table.T}
BITS = st.integers(0, 255)
EXACT = {False: np.multiply.outer(CODES, CODES), True: np.multiply.outer(VALUES, VALUES)}

# Bits of the first operand that share a kept set of the second, and the same with the roles
# swapped: read off the list of kept partial products in the description of the circuits.
SIGNED_MASKS = {
    "mul8s_1KV8": ([0xFF], [0xFF]),
    "mul8s_1KVA": ([0x01, 0x02, 0xFC], [0x01, 0x02, 0xFC]),
    "mul8s_1KVB": ([0x01, 0x02, 0x04, 0xF8], [0x01, 0x02, 0x04, 0xF8]),
    "mul8s_1KX2": ([0x01, 0x02, 0x04, 0x08, 0xF0], [0x01, 0x02, 0x04, 0x08, 0xF0]),
    "mul8s_1KR8": ([0xFE], [0xFF]),
    "mul8s_1KR6": ([0x02, 0x04, 0xF8], [0x01, 0x02, 0xFC]),
    "mul8s_1KRC": ([0x02, 0x04, 0x08, 0xF0], [0x01, 0x02, 0x04, 0xF8]),
    "mul8s_1L2H": ([0xFE], [0xFE]),
    "mul8s_1KVL": ([0x04, 0x08, 0x10, 0xE0], [0x01, 0x02, 0x04, 0xF8]),
    "mul8s_1KTY": ([0xF8], [0xFF]),
    "mul8s_1L2D": ([0xFC], [0xFC]),
    "mul8s_1L1G": ([0xF8], [0xF8]),
    "mul8s_1KR3": ([0xC0], [0xFF]),
}

# Terms as is and swapped of the unsigned multipliers that have at most eight. A shorter
# decomposition is welcome: change the number.
UNSIGNED_COUNTS = {
    "v1/mul8u_1JFF": (1, 1),
    "v1/mul8u_Y48": (2, 2),
    "v1/mul8u_1446": (2, 2),
    "v1/mul8u_2P7": (7, 7),
    "v1/mul8u_125K": (5, 5),
    "v1/mul8u_LM7": (5, 5),
    "v1/mul8u_JQQ": (4, 4),
    "v1/mul8u_GS2": (8, 8),
    "v1/mul8u_18DU": (7, 7),
    "v1/mul8u_13QR": (6, 6),
    "v1/mul8u_17C8": (4, 4),
    "v1/mul8u_17QU": (5, None),
    "v1/mul8u_E9R": (0, 0),
    "v2022/mul8u_27Y": (3, 3),
    "v2022/mul8u_12YX": (4, 4),
    "v2022/mul8u_17MJ": (5, 5),
    "v2022/mul8u_1SX": (2, 3),
}


def rebuilt(terms):
    """The sum that the class promises, written independently of it."""
    total = np.zeros((256, 256), np.int64)
    for f, g in zip(terms.activation.tolist(), terms.weight.tolist(), strict=True):
        total += np.multiply.outer(f, g)
    total += np.array(terms.weight_offset, np.int64)[None, :]
    total += int(terms.activation_scale) * (CODES & terms.activation_mask)[:, None]
    return total


def broken_array(kept, signed):
    """Sum of the partial products whose entry of ``kept``, (8, 8), is 1."""
    values = VALUES if signed else CODES
    weights = 2 ** np.arange(8)
    if signed:
        weights[7] *= -1
    bits = (values[:, None] >> np.arange(8) & 1) * weights
    return bits @ kept @ bits.T


def distinct(rows):
    """How many of the rows differ, those of zeros not counted."""
    return len({tuple(row) for row in rows.tolist() if any(row)})


def assert_proven(terms, table, max_terms=8):
    assert len(terms.weight) == len(terms.activation) <= max_terms
    np.testing.assert_array_equal(rebuilt(terms), table)
    np.testing.assert_array_equal(terms.table(), table)


@pytest.mark.parametrize("name", SIGNED_MASKS)
@pytest.mark.parametrize("order", ORDERS)
def test_signed_multipliers_are_masked_products(library, name, order):
    table = ORDERS[order](library[name].table)
    terms = find_terms(table)
    assert_proven(terms, table)
    assert sorted(terms.masks) == SIGNED_MASKS[name][order == "swapped"]
    assert (terms.activation_scale, terms.activation_mask) == (0, 0)
    for factor in terms.weight:
        np.testing.assert_array_equal(factor, VALUES & int(factor[VALUES == -1][0]))


@pytest.mark.parametrize("order", ORDERS)
def test_unsigned_multipliers(library, order):
    counts = {}
    for key, multiplier in library.select(signed=False, degenerate=True).items():
        table = ORDERS[order](multiplier.table)
        terms = find_terms(table)
        if terms is not None:
            assert_proven(terms, table)
            counts[key] = len(terms.weight)
    position = list(ORDERS).index(order)
    expected = {key: both[position] for key, both in UNSIGNED_COUNTS.items()}
    for key in counts:  # the releases share tables
        expected.setdefault(key, expected.get(library.aliases(key)[0]))
    assert counts == {key: count for key, count in expected.items() if count is not None}


def test_exact_unsigned_product_takes_one_term_and_a_scaled_index():
    terms = find_terms(EXACT[False])
    assert terms.masks == (0xFF,)
    assert (terms.activation_scale, terms.activation_mask) == (128, 0xFF)
    np.testing.assert_array_equal(terms.weight[0], VALUES)
    assert not terms.weight_offset.any()


@settings(max_examples=examples(20), deadline=None)
@given(
    kept=st.lists(BITS, min_size=1, max_size=4),
    rows=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    signed=st.booleans(),
    swapped=st.booleans(),
)
def test_broken_arrays_take_a_term_per_distinct_row_or_column(kept, rows, signed, swapped):
    sets = np.array([kept[row % len(kept)] for row in rows])
    matrix = sets[:, None] >> np.arange(8) & 1
    if swapped:
        matrix = matrix.T
    table = broken_array(matrix, signed)
    assert_proven(find_terms(table), table, min(distinct(matrix), distinct(matrix.T)))


@settings(max_examples=examples(20), deadline=None)
@given(kept=st.lists(BITS, min_size=8, max_size=8), signed=st.booleans())
def test_any_broken_array_is_found(kept, signed):
    matrix = np.array(kept)[:, None] >> np.arange(8) & 1
    table = broken_array(matrix, signed)
    assert_proven(find_terms(table), table, min(distinct(matrix), distinct(matrix.T)))


@pytest.mark.parametrize("signed", [False, True])
def test_rows_that_are_halves_of_sums_of_others_take_their_own_term(signed):
    triples = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    kept = np.zeros((8, 8), np.int64)
    kept[:4, :3], kept[4:7, 3:7] = triples, triples.T
    table = broken_array(kept, signed)
    assert_proven(find_terms(table), table, 7)


@pytest.mark.parametrize("signed", [False, True])
def test_a_function_of_the_weight_costs_nothing(rng, signed):
    kept = np.tril(np.ones((8, 8), np.int64), 4)
    added = rng.integers(0, 256, 256)
    for table, count in ((EXACT[signed], 1), (broken_array(kept, signed), distinct(kept))):
        assert len(find_terms(table).weight) == count
        assert_proven(find_terms(table + added), table + added, count)


def test_a_masked_index_costs_nothing_beside_small_products():
    table = np.multiply.outer(CODES & 0x0F, CODES & 0x07) + 5 * (CODES & 0x30)[:, None]
    terms = find_terms(table)
    assert_proven(terms, table, 1)
    assert (terms.activation_scale, terms.activation_mask) == (5, 0x30)


def test_any_function_of_the_activation_takes_a_term():
    table = np.tile(3 * (CODES**2 % 101)[:, None], 256)
    assert_proven(find_terms(table), table, 1)
    assert find_terms(table, max_terms=0) is None


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("a_bits", "w_bits"), [(0x03, 0x03), (0xC0, 0x81), (0x18, 0xFF)])
def test_a_compressor_adds_one_term(signed, a_bits, w_bits):
    fires = np.multiply.outer((CODES & a_bits) == a_bits, (CODES & w_bits) == w_bits)
    table = EXACT[signed] - 64 * fires
    assert_proven(find_terms(table), table, 2)


def test_a_row_changed_by_a_compressor_is_reduced_by_the_others():
    # Row 6 is 64 w + (w & 8) - (w & 1): alone, it would need a factor of 16 bits.
    change = (CODES & 8) - (CODES & 1)
    table = EXACT[False] + np.multiply.outer(CODES >> 6 & 1, change)
    assert_proven(find_terms(table), table, 2)


@pytest.mark.parametrize("product", [256, 4099, 28912, 33024, 57121])
def test_products_beyond_one_term_are_cut(product):
    table = product * np.multiply.outer(CODES >> 7, CODES >> 7)
    assert_proven(find_terms(table), table, 4)


@pytest.mark.parametrize("make_table", [signed_table, unsigned_table])
def test_random_tables_have_none(make_table, rng):
    assert find_terms(make_table(rng)) is None


def test_factors_of_enormous_coefficients_are_handled():
    # The polynomial of the parity has coefficients up to 2**7, all subsets of bits occur.
    parity = np.array([code.bit_count() % 2 for code in range(256)])
    for table, max_terms in (
        (60000 * np.multiply.outer(parity, parity), 4),
        (np.multiply.outer(parity * 200, np.where(parity, -100, 27)), 2),
        (np.multiply.outer(200 * parity, CODES), 2),
        (np.multiply.outer(CODES**2 % 97, 100 * parity), 2),
    ):
        assert_proven(find_terms(table), table, max_terms)


@settings(max_examples=examples(20), deadline=None)
@given(a=BITS, w=BITS, entry=st.integers(-(2**15), 2**16 - 1), signed=st.booleans())
def test_one_changed_entry_never_gives_wrong_terms(a, w, entry, signed):
    table = EXACT[signed].copy()
    table[a, w] = entry
    terms = find_terms(table)
    if terms is not None:
        assert_proven(terms, table)


@settings(max_examples=examples(20), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(1, 9), max_terms=st.integers(0, 9))
def test_random_factors_never_give_wrong_terms(seed, rank, max_terms):
    rng = np.random.default_rng(seed)
    left = rng.integers(0, 256 // rank, (rank, 256))
    right = rng.integers(-128, 128, (rank, 256))
    table = left.T @ right
    terms = find_terms(table, max_terms=max_terms)
    if terms is not None:
        assert_proven(terms, table, max_terms)


def test_what_is_not_proven_is_not_returned(monkeypatch):
    def wrong(coefficient):
        for activation, weight in factorisations(coefficient):
            yield activation, weight + (CODES == 200)

    monkeypatch.setattr(terms_module, "factorisations", wrong)
    assert find_terms(EXACT[True]) is None


def test_interaction_rank_counts_up_to_its_limit(library, rng):
    staircase = coefficients(library["mul8s_1KX2"].table.astype(np.int64))
    assert [interaction_rank(staircase, limit) for limit in (3, 4, 5, 8)] == [4, 5, 5, 5]
    assert interaction_rank(coefficients(signed_table(rng)), 8) == 9
    one_operand = np.add.outer(rng.integers(0, 99, 256), rng.integers(0, 99, 256))
    assert interaction_rank(coefficients(one_operand), 8) == 0


def test_max_terms_is_respected(library):
    table = library["mul8s_1KX2"].table
    assert find_terms(table, max_terms=4) is None
    assert_proven(find_terms(table, max_terms=5), table, 5)
    table = library["v1/mul8u_18DU"].table  # five factors that must be cut into seven terms
    assert find_terms(table, max_terms=6) is None
    assert_proven(find_terms(table, max_terms=7), table, 7)


def test_constant_tables_take_no_term():
    terms = find_terms(np.full((256, 256), -7))
    assert terms.activation.shape == terms.weight.shape == (0, 256)
    assert_proven(terms, np.full((256, 256), -7), 0)


def test_the_result_depends_on_the_entries_alone(library):
    table = library["v1/mul8u_2P7"].table
    first = find_terms(table)
    for same in (table, table.astype(np.uint16), table.astype(">i8"), np.asfortranarray(table)):
        again = find_terms(same)
        for name in ("activation", "weight", "weight_offset"):
            np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
        assert again.activation_scale == first.activation_scale
        assert again.activation_mask == first.activation_mask


def test_arrays_have_the_promised_types_and_are_read_only():
    terms = find_terms(EXACT[True])
    assert terms.activation.dtype == np.uint8
    assert terms.weight.dtype == np.int8
    assert terms.weight_offset.dtype == np.int32
    assert terms.table().dtype == np.int32
    for array in (terms.activation, terms.weight, terms.weight_offset):
        assert array.flags.c_contiguous
        assert not array.flags.writeable


def test_masks_name_the_masked_codes_only():
    factors = np.array([CODES & 0x5A, CODES, 0 * CODES, CODES >> 1], np.uint8)
    changed = (CODES & 0xF0).astype(np.uint8)
    changed[17] += 1
    activation = np.vstack([factors, changed])
    zeros = np.zeros(activation.shape, np.int8)
    terms = Terms(activation, zeros, np.zeros(256, np.int32), 0, 0)
    assert terms.masks == (0x5A, 0xFF, 0, None, None)


def test_table_adds_every_part(rng):
    terms = Terms(
        rng.integers(0, 256, (3, 256), np.uint8),
        rng.integers(-128, 128, (3, 256), np.int8),
        rng.integers(-1000, 1000, 256, np.int32),
        -77,
        0x6C,
    )
    np.testing.assert_array_equal(terms.table(), rebuilt(terms))


@pytest.mark.parametrize(
    "table",
    [
        np.zeros((255, 256), np.int32),
        np.zeros((256, 256)),
        np.zeros((256, 256), bool),
        np.full((256, 256), 65536),
        np.full((256, 256), -32769),
    ],
)
def test_what_is_no_table_is_refused(table):
    with pytest.raises(ArgumentError, match="`table` must"):
        find_terms(table)


@pytest.mark.parametrize("max_terms", [-1, 1.0, True, "8", None])
def test_wrong_max_terms_is_refused(max_terms):
    with pytest.raises(ArgumentError, match="`max_terms` must be an integer >= 0"):
        find_terms(EXACT[True], max_terms=max_terms)
