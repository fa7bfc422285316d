import numpy as np
import pytest
from correction_cases import make_multiplier

from axopt.corrections import exact_strides
from axopt.multipliers import Multiplier

# From the partial products that each multiplier keeps: with the low p bits of the first operand
# and the low q bits of the second 0, no dropped product a_i w_j may be left.
EXPECTED = {
    "1KV8": {(1, 1)},
    "1KVA": {(1, 4), (2, 2), (4, 1)},
    "1KVB": {(1, 8), (2, 4), (4, 2), (8, 1)},
    "1KX2": {(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)},
    "1KR8": {(2, 1)},
    "1KR6": {(2, 4), (4, 2), (8, 1)},
    "1KRC": {(2, 8), (4, 4), (8, 2), (16, 1)},
    "1L2H": {(2, 2)},
    "1KVL": {(4, 8), (8, 4), (16, 2), (32, 1)},
    "1KTY": {(8, 1)},
    "1L2D": {(4, 4)},
    "1L1G": {(8, 8)},
    "1KR3": {(64, 1)},
}


def is_exact_on(multiplier, first, second):
    """Product by product."""
    origin = 128 if multiplier.signed else 0
    return all(
        multiplier.table[a + origin, w + origin] == a * w
        for a in range(-origin, 256 - origin, first)
        for w in range(-origin, 256 - origin, second)
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_strides_of_the_signed_multipliers(name, library):
    multiplier = library[f"mul8s_{name}"]
    found = exact_strides(multiplier)
    assert len(found) == len(set(found))
    assert set(found) == EXPECTED[name]
    for first, second in found:
        assert is_exact_on(multiplier, first, second)
        assert first == 1 or not is_exact_on(multiplier, first // 2, second)
        assert second == 1 or not is_exact_on(multiplier, first, second // 2)


def test_all_signed_multipliers_are_listed_here(library):
    assert {m.name for m in library.select(release="v1", signed=True).values()} == {
        f"mul8s_{name}" for name in EXPECTED
    }


def test_first_step_belongs_to_the_first_operand(library):
    table = library["mul8s_1KTY"].table
    assert exact_strides(make_multiplier(table.T, True)) == ((1, 8),)


def test_exact_unsigned_multiplier_needs_no_stride(library):
    assert exact_strides(library.exact(signed=False)) == ((1, 1),)


def test_unsigned_multiplier_that_errs_at_zero_has_no_strides(library):
    multiplier = library["mul8u_2HH"]
    assert (multiplier.table[0] != 0).any()
    assert exact_strides(multiplier) == ()


def test_one_wrong_product_of_multiples_of_64_leaves_none(library):
    table = np.array(library.exact(signed=True).table)
    table[128 + 64, 128 - 64] += 1
    assert exact_strides(make_multiplier(table, True)) == ()


@pytest.mark.parametrize("signed", [True, False])
def test_strides_of_a_narrow_multiplier_are_of_codes(signed):
    def make(f):
        return Multiplier.from_function(
            f, name="f", signed=signed, bits_a=6, bits_w=5, power_mw=1, area_um2=1, delay_ns=1
        )

    assert exact_strides(make(lambda a, w: a * w)) == ((4, 8),)
    assert exact_strides(make(lambda a, w: (a & ~3) * (w & ~1))) == ((16, 16),)
    assert exact_strides(make(lambda a, w: a * (w & ~3))) == ((4, 32),)
