"""`Multiplier` and `ErrorMetrics`: validation, derived properties, immutability."""

import copy
import dataclasses
import hashlib
import math
import pickle

import numpy as np
import pytest

from axopt.errors import MultiplierError
from axopt.multipliers import ErrorMetrics, Multiplier, check_multiplier
from axopt.multipliers.metrics import exact_table

FIGURES = {"power_mw": 0.3, "area_um2": 500.0, "delay_ns": 1.2}


def make(table=None, *, name="mine", signed=True, **figures):
    table = exact_table(signed) if table is None else table
    return Multiplier.from_table(name, table, signed=signed, **FIGURES | figures)


def test_from_table_makes_a_user_multiplier():
    multiplier = make()
    assert multiplier.key == "user/mine"
    assert (multiplier.power_mw, multiplier.area_um2, multiplier.delay_ns) == (0.3, 500.0, 1.2)
    assert multiplier.is_exact
    assert multiplier.is_commutative
    assert not multiplier.is_degenerate
    assert multiplier.rank == 1


@pytest.mark.parametrize("dtype", [np.int16, np.int64, ">i2", np.float64])
def test_table_dtypes(dtype):
    table = exact_table(True).astype(dtype)
    if dtype is np.float64:
        with pytest.raises(MultiplierError, match="integers, got dtype float64"):
            make(table)
    else:
        assert make(table).table.dtype == np.int32
        assert make(table).is_exact


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((256, 255), int), r"\(256, 256\) array, got \(256, 255\)"),
        (np.zeros(65536, int), r"got \(65536,\)"),
        (np.zeros((256, 256), bool), "got dtype bool"),
        (np.zeros((256, 256), "m8[s]"), "got dtype timedelta64"),
        (np.zeros((256, 256), object), "got dtype object"),
        ([[1], [1, 2]], "is no array"),
        (None, r"got \(\)"),
    ],
)
def test_tables_of_wrong_form(table, message):
    with pytest.raises(MultiplierError, match=message):
        Multiplier.from_table("mine", table, signed=True, **FIGURES)


@pytest.mark.parametrize(
    ("signed", "value", "fits"),
    [
        (True, -32768, True),
        (True, -32769, False),
        (True, 32767, True),
        (True, 32768, False),
        (False, 0, True),
        (False, -1, False),
        (False, 65535, True),
        (False, 65536, False),
        (False, 2**32, False),
    ],
)
def test_products_must_fit_16_bits(signed, value, fits):
    table = exact_table(signed).astype(np.int64)
    table[3, 5] = value
    if fits:
        assert make(table, signed=signed).table[3, 5] == value
    else:
        with pytest.raises(MultiplierError, match=f"user/mine.*{value}"):
            make(table, signed=signed)


@pytest.mark.parametrize("field", FIGURES)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "1", None, True])
def test_figures_must_be_finite_and_not_negative(field, value):
    with pytest.raises(MultiplierError, match=f"user/mine: `{field}` must be"):
        make(**{field: value})


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-a", "a\n", "x" * 101, 7, None])
@pytest.mark.parametrize("field", ["name", "release"])
def test_names_must_make_a_key(field, name):
    with pytest.raises(MultiplierError, match=f"`{field}` must be"):
        make(**{field: name})


def test_signed_must_be_a_bool():
    with pytest.raises(MultiplierError, match="`signed` must be a bool, got 1"):
        Multiplier("user", "mine", 1, exact_table(True), 0.3, 500.0, 1.2)


@pytest.mark.parametrize("published", [{"mae": -1.0}, {"mae": math.nan}, {"accuracy": 1.0}])
def test_published_figures_are_checked(published):
    with pytest.raises(MultiplierError, match="`published`"):
        Multiplier("user", "mine", True, exact_table(True), 0.3, 500.0, 1.2, published=published)


def test_table_is_a_read_only_copy():
    table = exact_table(True).copy()
    multiplier = make(table)
    table[:] = 0
    assert multiplier.is_exact
    with pytest.raises(ValueError, match="read-only"):
        multiplier.table[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        multiplier.power_mw = 0.0


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_stay_read_only(library, duplicate):
    multiplier = library["mul8s_1L2H"]
    twin = duplicate(multiplier)
    assert twin.digest == multiplier.digest
    assert twin.published == multiplier.published
    assert repr(twin) == repr(multiplier)
    assert not twin.table.flags.writeable


def test_digest_is_of_little_endian_16_bit_integers():
    signed = exact_table(True).astype("<i2").tobytes()
    unsigned = exact_table(False).astype("<u2").tobytes()
    assert make(signed=True).digest == hashlib.sha256(signed).hexdigest()
    assert make(signed=False).digest == hashlib.sha256(unsigned).hexdigest()


def test_metrics_equal_a_plain_loop(library):
    multiplier = library["mul8u_2HH"]
    errors, relative = [], []
    for a in range(256):
        for w in range(256):
            errors.append(int(multiplier.table[a, w]) - a * w)
            if a * w:
                relative.append(abs(errors[-1]) / (a * w))
    metrics = multiplier.metrics
    assert metrics.mae == sum(map(abs, errors)) / 65536
    assert metrics.wce == max(map(abs, errors))
    assert metrics.ep == 100 * sum(error != 0 for error in errors) / 65536
    assert metrics.mse == sum(error**2 for error in errors) / 65536
    assert metrics.bias == sum(errors) / 65536
    assert metrics.mre == pytest.approx(100 * sum(relative) / len(relative), rel=1e-12)
    assert metrics.wcre == pytest.approx(100 * max(relative), rel=1e-12)


def test_metrics_of_one_wrong_product():
    table = exact_table(True).copy()
    table[0, 127] += 8  # -128 * -1
    table[128, 7] -= 5  # 0 * x: an error without a relative error
    metrics = ErrorMetrics.of(table, True)
    assert (metrics.wce, metrics.mae, metrics.bias) == (8, 13 / 65536, 3 / 65536)
    assert metrics.mse == (64 + 25) / 65536
    assert metrics.ep == 200 / 65536
    assert metrics.wcre == 100 * 8 / 128
    assert metrics.mre == pytest.approx(100 * (8 / 128) / 255**2, rel=1e-12)


def test_metrics_of_extreme_tables_do_not_overflow():
    table = np.full((256, 256), -32768)
    assert ErrorMetrics.of(table, True).wce == 32768 + 16384
    assert make(table).is_degenerate
    assert make(np.full((256, 256), 65535), signed=False).metrics.wce == 65535


def test_check_finds_a_wrong_published_figure(library):
    right = library["mul8s_1L2H"]
    assert check_multiplier(right) == []
    for name, value in right.published.items():
        wrong = dataclasses.replace(right, published={**right.published, name: value * 1.05})
        (problem,) = check_multiplier(wrong)
        assert f"v1/mul8s_1L2H: published {name} is" in problem


def test_check_says_nothing_where_nothing_is_published():
    assert check_multiplier(make()) == []
