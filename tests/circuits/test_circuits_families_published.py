"""Families of published approximate multipliers: all products, by three-line definitions."""

import numpy as np
import pytest
from grid import each

from axopt.circuits import generate
from axopt.errors import CircuitError

WIDTHS = [(8, 8), (8, 5), (3, 6), (2, 2)]


def unsigned(bits_a, bits_w):
    return np.arange(2**bits_a)[:, None], np.arange(2**bits_w)[None, :]


def leading_one(x):
    """Position of the leading one, 0 for 0."""
    return np.floor(np.log2(np.maximum(x, 1))).astype(int)


def check(family, expected, bits_a, bits_w, **parameters):
    """Compare the unsigned multiplier, and the signed one made of it, on all operands."""
    given = {"bits_a": bits_a, "bits_w": bits_w, **parameters}
    table = generate(family, **given).table()
    np.testing.assert_array_equal(table, expected, err_msg=f"{family} {given}")
    a, w = (np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)) for bits in (bits_a, bits_w))
    products = expected[np.ix_(abs(a), abs(w))] * np.outer(
        np.where(a < 0, -1, 1), np.sign(w + 0.5)
    )
    if products.max() < 2 ** (bits_a + bits_w - 1):
        np.testing.assert_array_equal(generate(family, **given, signed=True).table(), products)


@each("bits_a, bits_w", WIDTHS)
@each("segment", [2, 3, 4, 6, 8])
def test_drum_and_dynamic_segments(bits_a, bits_w, segment):
    def cut(x):
        return np.maximum(leading_one(x) - segment + 1, 0)

    a, w = unsigned(bits_a, bits_w)
    plain = (a >> cut(a) << cut(a)) * (w >> cut(w) << cut(w))
    check("dynamic_segment", plain, bits_a, bits_w, segment=segment)
    a, w = ((x >> cut(x) | (cut(x) > 0)) << cut(x) for x in (a, w))
    check("drum", a * w, bits_a, bits_w, segment=segment)


@each("bits_a, bits_w", WIDTHS)
@each("segment", [2, 4, 5, 7])
def test_static_segments(bits_a, bits_w, segment):
    if 2 * segment < max(bits_a, bits_w):
        with pytest.raises(CircuitError, match="`segment` must be at least half of the [68] bits"):
            generate("static_segment", bits_a=bits_a, bits_w=bits_w, segment=segment)
        return
    a, w = unsigned(bits_a, bits_w)
    cut_a, cut_w = (
        max(bits - segment, 0) * (x >> segment > 0) for bits, x in ((bits_a, a), (bits_w, w))
    )
    expected = (a >> cut_a << cut_a) * (w >> cut_w << cut_w)
    check("static_segment", expected, bits_a, bits_w, segment=segment)


@each("bits_a, bits_w", WIDTHS)
@each("fraction", [1, 3, 7])
def test_mitchell(bits_a, bits_w, fraction):
    def log(x):
        return (
            leading_one(x) + np.floor((x / 2.0 ** leading_one(x) - 1) * 2**fraction) / 2**fraction
        )

    a, w = unsigned(bits_a, bits_w)
    whole, part = np.divmod(log(a) + log(w), 1)
    expected = np.where((a == 0) | (w == 0), 0, np.floor(2**whole * (1 + part))).astype(int)
    check("mitchell", expected, bits_a, bits_w, fraction_bits=fraction)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("exact_from", [0, 4, 16])
def test_recursive_blocks(bits, exact_from):
    a, w = unsigned(bits, bits)
    missing = sum(  # 9 - 7 for each pair of digits 3
        2 * ((a >> i & 3 == 3) & (w >> j & 3 == 3)).astype(int) << i + j
        for i in range(0, bits, 2)
        for j in range(0, bits, 2)
        if i + j < exact_from
    )
    check("recursive", a * w - missing, bits, bits, exact_from=exact_from)


COMPRESSORS = {
    "momeni": lambda x1, x2, x3, x4: ((x1 == x2) | (x3 == x4), (x1 | x2) & (x3 | x4)),
    "yang": lambda *x: (np.minimum(sum(x), 3) & 1, np.minimum(sum(x), 3) >> 1),
    "akbari": lambda x1, x2, x3, x4: (x1, x4),
    "venkatachalam": lambda x1, x2, x3, x4: (
        (x1 != x2) | (x3 != x4) | (x1 & x2 & x3 & x4),
        (x1 & x2) | (x3 & x4),
    ),
}
WRONG_CASES = {"momeni": 4, "yang": 1, "akbari": 10, "venkatachalam": 5}


@pytest.mark.parametrize("name", sorted(COMPRESSORS))
def test_compressors_are_wrong_as_often_as_published(name):
    x = np.arange(16) >> np.arange(4)[:, None] & 1
    low, carry = COMPRESSORS[name](*x)
    assert (low + 2 * carry != x.sum(axis=0)).sum() == WRONG_CASES[name]


@each("name", sorted(COMPRESSORS))
@each("bits_a, bits_w, columns", [(8, 8, 8), (8, 8, 11), (5, 7, 16)])
@each("signed", [False, True])
def test_compressors_in_low_columns(name, bits_a, bits_w, columns, signed):
    a, w = (np.arange(2**bits) - signed * 2 ** (bits - 1) for bits in (bits_a, bits_w))
    a, w = a[:, None], w[None, :]
    table, constant = [[] for _ in range(bits_a + bits_w)], 0
    for i, j in np.ndindex(bits_a, bits_w):
        negative = signed and (i == bits_a - 1) != (j == bits_w - 1)
        table[i + j].append((a >> i & 1) * (w >> j & 1) ^ negative)
        constant -= negative << i + j
    while any(len(column) >= 4 for column in table[:columns]):
        after = [[] for _ in table]
        for c, column in enumerate(table):
            while c < columns and len(column) >= 4:
                low, carry = COMPRESSORS[name](*column[:4])
                after[c].append(low.astype(int))
                after[c + 1].append(carry.astype(int))
                column = column[4:]
            after[c] += column
        table = after
    expected = constant + sum(bit << c for c, column in enumerate(table) for bit in column)
    sizes = {"bits_a": bits_a, "bits_w": bits_w, "columns": columns}
    netlist = generate("compressor", compressor=name, signed=signed, **sizes)
    np.testing.assert_array_equal(netlist.table(), expected)


def test_no_column_is_exact_and_signs_can_be_separate():
    a, w = unsigned(8, 8)
    table = generate("compressor", compressor="momeni", columns=0).table()
    np.testing.assert_array_equal(table, a * w)
    wrapped = {"signed": True, "sign_magnitude": True}
    signs = np.where(np.arange(-128, 128) < 0, -1, 1)
    magnitudes = abs(np.arange(-128, 128))
    given = {"compressor": "momeni", "columns": 9}
    expected = generate("compressor", **given).table()[np.ix_(magnitudes, magnitudes)]
    table = generate("compressor", **given, **wrapped).table()
    np.testing.assert_array_equal(table, expected * np.outer(signs, signs))


def test_published_properties():
    a, w = unsigned(8, 8)
    exact = a * w
    recursive = generate("recursive").table()
    assert (recursive != exact).mean() == pytest.approx(0.4673, abs=1e-4)  # Kulkarni, 8 x 8
    relative = np.abs(generate("mitchell").table() - exact)[1:, 1:] / exact[1:, 1:]
    assert relative.max() <= 1 / 9 + 1e-12  # Mitchell: at most 11.1 %
    bias = {
        f: (generate(f, segment=4).table() - exact).mean() for f in ("drum", "dynamic_segment")
    }
    assert abs(bias["drum"]) < abs(bias["dynamic_segment"]) / 10


@pytest.mark.parametrize(
    ("family", "parameters", "message"),
    [
        ("drum", {}, "drum: `segment` must be given: an integer in 2..8."),
        ("drum", {"segment": 1}, "`segment` must be an integer in 2..8, got 1."),
        ("recursive", {"bits_a": 4}, "`bits_a` and `bits_w` must both be 2, 4 or 8, got 4 and 8."),
        ("recursive", {"bits_a": 6, "bits_w": 6}, "must both be 2, 4 or 8, got 6 and 6."),
        ("mitchell", {"fraction_bits": 8}, "`fraction_bits` must be an integer in 1..7, got 8."),
        ("compressor", {"compressor": "x"}, "`compressor` must be one of momeni, yang, akbari"),
    ],
)
def test_wrong_parameters_are_refused_by_name(family, parameters, message):
    with pytest.raises(CircuitError) as caught:
        generate(family, **parameters)
    assert message in str(caught.value)
