"""Families that add partial products: every product of every parameter set, by definition."""

import numpy as np
import pytest

from axopt.circuits import FAMILIES, generate, load_netlists, sign_magnitude
from axopt.circuits.families import Integer, KeptSet
from axopt.errors import ArgumentError, CircuitError

REDUCTIONS = ("array", "carry_save", "wallace", "dadda")
ALL, NONE = "11111111", "00000000"
ROWS_OF_SIGNED = {  # facts.md, section 2: kept bits of w for a_0, a_1, ...; the rest is kept
    "1KV8": [],
    "1KVA": ["00111111", "01111111"],
    "1KVB": ["00011111", "00111111", "01111111"],
    "1KX2": ["00001111", "00011111", "00111111", "01111111"],
    "1KR8": [NONE],
    "1KR6": [NONE, "00111111", "01111111"],
    "1KRC": [NONE, "00011111", "00111111", "01111111"],
    "1L2H": [NONE, *["01111111"] * 7],
    "1KVL": [NONE, NONE, "00011111", "00111111", "01111111"],
    "1KTY": [NONE] * 3,
    "1L2D": [NONE, NONE, *["00111111"] * 6],
    "1L1G": [NONE] * 3 + ["00011111"] * 5,
    "1KR3": [NONE] * 6,
}


def operands(bits_a, bits_w, signed):
    """All operands in numeric order, as a column and a row."""
    a, w = (np.arange(2**bits) - (2 ** (bits - 1) if signed else 0) for bits in (bits_a, bits_w))
    return a[:, None], w[None, :]


def kept_products(kept, signed):
    """Sum of the kept partial products of all operands, by definition."""
    a, w = operands(*kept.shape, signed)
    top_a, top_w = (size - 1 if signed else -1 for size in kept.shape)
    return sum(
        (-1 if (i == top_a) != (j == top_w) else 1) * ((a >> i & 1) * (w >> j & 1) << int(i + j))
        for i, j in np.argwhere(kept)
    )


@pytest.mark.parametrize("signed", [False, True])
def test_exact_multipliers_of_2_to_7_bits(signed):
    for bits_a, bits_w in np.ndindex(6, 6):
        netlist = generate("exact", bits_a=bits_a + 2, bits_w=bits_w + 2, signed=signed)
        a, w = operands(bits_a + 2, bits_w + 2, signed)
        np.testing.assert_array_equal(netlist.table(), a * w)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("signs", [{}, {"signed": True}, {"signed": True, "sign_magnitude": True}])
def test_exact_multipliers_by_every_reduction(reduction, signs):
    for bits_a, bits_w in [(2, 2), (2, 8), (3, 5), (7, 4), (8, 8)]:
        netlist = generate("exact", bits_a=bits_a, bits_w=bits_w, reduction=reduction, **signs)
        a, w = operands(bits_a, bits_w, bool(signs))
        np.testing.assert_array_equal(netlist.table(), a * w)
        assert (netlist.bits_a, netlist.bits_w, netlist.signed) == (bits_a, bits_w, bool(signs))


def test_an_array_multiplier_has_the_adders_of_the_textbook():
    counts = generate("exact", reduction="array").counts
    assert counts == {"and": 64, "fas": 48, "fac": 48, "has": 8, "hac": 8}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits_a", "bits_w"), [(4, 5), (5, 4), (3, 3), (8, 2), (1, 6), (8, 8)])
def test_truncated_cores_ignore_low_bits(bits_a, bits_w, signed):
    netlist = generate("truncated", bits_a=bits_a, bits_w=bits_w, signed=signed)
    a, w = operands(8, 8, signed)
    expected = (a & -(1 << 8 - bits_a)) * (w & -(1 << 8 - bits_w))
    np.testing.assert_array_equal(netlist.table(), expected)


@pytest.mark.parametrize("signed", [False, True])
def test_a_truncated_core_is_the_narrow_exact_multiplier(signed):
    narrow = generate("exact", bits_a=4, bits_w=5, signed=signed)
    wide = generate("truncated", bits_a=4, bits_w=5, signed=signed)
    assert wide.counts == narrow.counts
    np.testing.assert_array_equal(wide.table()[::16, ::8], narrow.table() << 7)
    slot = generate("truncated", bits_a=2, bits_w=3, slot_a=4, slot_w=6, signed=signed)
    a, w = operands(4, 6, signed)
    np.testing.assert_array_equal(slot.table(), (a & -4) * (w & -8))


@pytest.mark.parametrize("name", sorted(ROWS_OF_SIGNED))
def test_broken_arrays_are_the_signed_multipliers_of_evoapprox(name, library):
    rows = ROWS_OF_SIGNED[name] + [ALL] * (8 - len(ROWS_OF_SIGNED[name]))
    netlist = generate("broken", kept=rows, signed=True)
    np.testing.assert_array_equal(netlist.table(), library[f"v1/mul8s_{name}"].table)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(2, 2), (3, 6), (8, 4), (8, 8)])
def test_any_set_of_partial_products(shape, signed):
    rng = np.random.default_rng(sum(shape))
    for reduction, share in zip(REDUCTIONS, (0.2, 0.5, 0.8, 0.9), strict=True):
        kept = rng.random(shape) < share
        netlist = generate("broken", kept=kept, signed=signed, reduction=reduction)
        np.testing.assert_array_equal(netlist.table(), kept_products(kept, signed))


@pytest.mark.parametrize("signed", [False, True])
def test_constants_are_added(signed):
    kept = np.add.outer(np.arange(6), np.arange(5)) > 3
    for constant in (1, 5, 37, 64, *((-3, -200) if signed else ())):
        netlist = generate("broken", kept=kept, signed=signed, constant=constant)
        np.testing.assert_array_equal(netlist.table(), kept_products(kept, signed) + constant)


@pytest.mark.parametrize("signed", [False, True])
def test_the_mean_constant_removes_the_bias(signed):
    kept = np.add.outer(np.arange(8), np.arange(8)) >= 7
    a, w = operands(8, 8, signed)
    for constant in ("mean", 0):
        netlist = generate("column_truncated", columns=7, signed=signed, constant=constant)
        expected = kept_products(kept, signed)
        expected = expected + round((a * w - expected).mean()) * (constant == "mean")
        np.testing.assert_array_equal(netlist.table(), expected)
    assert (
        abs((a * w - generate("column_truncated", columns=7, signed=signed).table()).mean()) <= 0.5
    )


@pytest.mark.parametrize("signed", [False, True])
def test_break_levels(signed):
    i, j = np.ogrid[:6, :8]
    for horizontal, vertical in [(0, 0), (0, 5), (3, 6), (2, 9)]:
        levels = {"horizontal": horizontal, "vertical": vertical}
        netlist = generate("broken_array", bits_a=6, **levels, signed=signed)
        expected = kept_products((j >= horizontal) & (i + j >= vertical), signed)
        np.testing.assert_array_equal(netlist.table(), expected)


def test_an_empty_set_is_a_constant():
    assert (generate("broken", kept=["none"] * 8).table() == 0).all()
    assert (generate("broken", kept=["none"] * 8, signed=True, constant=-5).table() == -5).all()


def test_sign_magnitude_wraps_any_unsigned_multiplier():
    core = load_netlists()["v1/mul8u_2HH"]
    a, w = operands(8, 8, signed=True)
    expected = core.table()[abs(a), abs(w)] * np.where((a < 0) != (w < 0), -1, 1)
    np.testing.assert_array_equal(sign_magnitude(core).table(), expected)
    with pytest.raises(CircuitError, match="`netlist` must be unsigned"):
        sign_magnitude(load_netlists()["v1/mul8s_1L2H"])
    with pytest.raises(CircuitError, match="products below 32768 for magnitudes up to 128 and 12"):
        sign_magnitude(generate("broken", kept=["none"] * 8, constant=32768))


def test_kept_sets_are_arrays_rows_or_a_text():
    kept = KeptSet("kept", "kept partial products")
    expected = np.array([[1, 1, 1], [0, 0, 0], [0, 1, 1]], bool)
    for value in ("all,none,011", ["111", "none", "011"], expected, expected.astype(int).tolist()):
        np.testing.assert_array_equal(kept.checked(value), expected)
    assert kept.in_name(expected) == "k070006"
    assert kept.checked("all,none").shape == (2, 8)


@pytest.mark.parametrize(
    ("family", "parameters", "message"),
    [
        ("exact", {"bits_a": 9}, "`bits_a` must be an integer in 2..8, got 9."),
        ("exact", {"bits_a": 1}, "`bits_a` must be an integer in 2..8, got 1."),
        ("exact", {"bits_w": True}, "`bits_w` must be an integer in 2..8, got True."),
        ("exact", {"bits_w": "4"}, "`bits_w` must be an integer in 2..8, got '4'."),
        ("exact", {"bitsa": 4}, "exact: 'bitsa' is not a parameter; did you mean 'bits_a'?"),
        ("exact", {"colour": 4}, "exact: 'colour' is not a parameter; known are bits_a, bits_w,"),
        ("exact", {"signed": 1}, "`signed` must be True or False, got 1."),
        ("exact", {"sign_magnitude": True}, "`sign_magnitude` must be False unless `signed`"),
        ("exact", {"reduction": "tree"}, "`reduction` must be one of array, carry_save, wallace"),
        ("truncated", {"bits_a": 4}, "truncated: `bits_w` must be given: an integer in 1..8."),
        (
            "truncated",
            {"bits_a": 5, "bits_w": 2, "slot_a": 4},
            "`bits_a` must be at most `slot_a` = 4, got 5.",
        ),
        ("broken", {"kept": "all"}, "`kept` must be 2..8 rows"),
        ("broken", {"kept": "all,2"}, "`kept` must be 2..8 rows"),
        ("broken", {"kept": "010,01"}, "`kept` must be 2..8 rows"),
        ("broken", {"kept": ["all"] * 9}, "`kept` must be 2..8 rows"),
        ("broken", {"kept": [[1, 0], [1]]}, "`kept` must be 2..8 rows"),
        ("broken", {"kept": [[1, 2], [0, 1]]}, "`kept` must be 2..8 rows"),
        ("broken", {"kept": 7}, "`kept` must be 2..8 rows"),
        ("broken", {"kept": None}, "`kept` must be 2..8 rows"),
        (
            "broken",
            {"kept": "all,all", "constant": 0.5},
            "`constant` must be an integer in -65536",
        ),
        (
            "broken",
            {"kept": "all,all", "constant": "5"},
            "`constant` must be an integer in -65536",
        ),
        ("broken", {"kept": "11,11", "constant": 7}, "keep products within 0..15, got 7"),
        ("broken", {"kept": "11,11", "constant": -1}, "within 0..15, got -1, with which they are"),
        ("broken_array", {"vertical": 17}, "`vertical` must be an integer in 0..16, got 17."),
    ],
)
def test_wrong_parameters_are_refused_by_name(family, parameters, message):
    with pytest.raises(CircuitError) as caught:
        generate(family, **parameters)
    assert message in str(caught.value)


def test_unknown_families_are_refused_with_near_misses():
    with pytest.raises(ArgumentError, match="known family of multipliers, got 'truncate'; did"):
        generate("truncate", bits_a=4, bits_w=4)


def test_names_tell_the_parameters():
    name = {f: FAMILIES[f].name_of for f in FAMILIES.names()}
    assert name["truncated"]({"bits_a": 4, "bits_w": 5, "signed": True}) == "trunc4x5s"
    assert name["truncated"]({"bits_a": 4, "bits_w": 5, "slot_a": 6}) == "trunc4x5u_slot_a6"
    assert name["exact"]({"signed": True, "sign_magnitude": True}) == "exact8x8s_sign_magnitude"
    assert name["exact"]({"reduction": "array"}) == "exact8x8u_array"
    assert name["column_truncated"]({"columns": 6}) == "ctrunc8x8u_columns6"
    assert name["broken"]({"kept": "11,none", "constant": -3}) == "broken2x2u_k0300_constant-3"


def test_every_family_says_what_it_is():
    for family in map(FAMILIES.__getitem__, FAMILIES.names()):
        assert family.title
        assert family.article
        assert any(year in family.make.__doc__ for year in map(str, range(1960, 2027)))
        names = [parameter.name for parameter in family.parameters]
        assert len(set(names)) == len(names)
        assert "signed" in names
        for parameter in family.parameters:
            assert parameter.rule
            assert parameter.help
            with pytest.raises(CircuitError, match=f"`{parameter.name}` must be"):
                parameter.checked(object())


def test_texts_are_parsed_by_the_kind_of_the_parameter():
    assert Integer("n", "", low=-5, high=5).parsed("-3") == -3
    with pytest.raises(CircuitError, match=r"`n` must be an integer in -5\.\.5, got '3\.0'"):
        Integer("n", "", low=-5, high=5).parsed("3.0")
    assert KeptSet("kept", "").parsed("11,00").tolist() == [[True, True], [False, False]]


def test_inserted_operands_must_fit():
    from axopt.circuits import NetlistBuilder

    build = NetlistBuilder(4, 4, signed=False)
    with pytest.raises(CircuitError, match="`a` and `w` must be 8 and 8 signals, got 4 and 4"):
        build.insert(generate("exact"), build.a, build.w)
    product = build.insert(generate("exact", bits_a=4, bits_w=4), build.w, build.a)
    np.testing.assert_array_equal(
        build.netlist(product).table(), np.multiply.outer(np.arange(16), np.arange(16))
    )


def test_a_family_names_itself_where_it_has_no_signed_multiplier():
    with pytest.raises(CircuitError, match="drum: there is no signed multiplier of these par"):
        generate("drum", segment=2, signed=True)
