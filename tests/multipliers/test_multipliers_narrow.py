"""Multipliers of 2 to 8 bits a side, estimated figures, and the narrow bundled ones."""

import csv
import pickle
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from axopt.circuits import load_netlists
from axopt.errors import ArgumentError, LutFormatError, MultiplierError, UnknownMultiplierError
from axopt.kernels import lut_gemm
from axopt.multipliers import (
    Multiplier,
    MultiplierLibrary,
    check_library,
    export_multiplier,
    import_multiplier,
    load_library,
)

FIGURES = {"power_mw": 0.1, "area_um2": 200.0, "delay_ns": 1.0}
WIDTHS = [(2, 2), (3, 5), (4, 4), (8, 3), (2, 8), (7, 7)]


def narrow(bits_a, bits_w, *, signed, name="mine", seed=0, **options):
    """A multiplier with random products."""
    bits = bits_a + bits_w
    low = -(2 ** (bits - 1)) if signed else 0
    table = np.random.default_rng(seed).integers(low, low + 2**bits, (2**bits_a, 2**bits_w))
    return Multiplier.from_table(name, table, signed=signed, **FIGURES, **options)


def operand(number, bits, signed):
    return number - 2 ** (bits - 1) if signed else number


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("bits_a", "bits_w"), WIDTHS)
def test_code_table_holds_the_products_at_the_codes_of_the_operands(bits_a, bits_w, signed):
    multiplier = narrow(bits_a, bits_w, signed=signed)
    assert (multiplier.bits_a, multiplier.bits_w) == (bits_a, bits_w)
    assert multiplier.strides == (2 ** (8 - bits_a), 2 ** (8 - bits_w))
    table = multiplier.code_table
    assert table.shape == (256, 256)
    assert table.dtype == np.int32
    assert not table.flags.writeable
    scale = 2 ** (16 - bits_a - bits_w)
    zero = 128 if signed else 0
    for a in range(2**bits_a):
        for w in range(2**bits_w):
            codes = [
                zero + (operand(number, bits, signed) << (8 - bits))
                for number, bits in ((a, bits_a), (w, bits_w))
            ]
            assert table[tuple(codes)] == multiplier.table[a, w] * scale
    below = [np.arange(256) // stride * stride for stride in multiplier.strides]
    np.testing.assert_array_equal(table, table[np.ix_(*below)])


def test_table_of_8_x_8_bits_is_its_own_code_table(library):
    multiplier = library["mul8u_2HH"]
    assert multiplier.code_table is multiplier.table
    assert multiplier.strides == (1, 1)
    assert not multiplier.is_narrow


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("bits_a", "bits_w"), WIDTHS)
def test_exact_products_of_narrow_operands_are_exact(bits_a, bits_w, signed):
    exact = Multiplier.from_function(
        lambda a, w: a * w, name="x", signed=signed, bits_a=bits_a, bits_w=bits_w, **FIGURES
    )
    assert exact.is_exact
    assert exact.rank == 1
    assert exact.metrics.mae == exact.metrics.bias == exact.metrics.ep == 0
    assert exact.is_commutative == (bits_a == bits_w)
    table = exact.table.copy()
    table[1, 2] += 1
    changed = replace(exact, table=table)
    assert not changed.is_exact
    assert changed.metrics.wce == 1
    assert changed.metrics.ep == 100 / table.size


def test_digests_tell_shapes_apart():
    shapes = [(16, 64), (64, 16), (32, 32), (8, 128)]
    same_bytes = [
        Multiplier.from_table("z", np.zeros(shape, int), signed=False, **FIGURES)
        for shape in shapes
    ]
    assert len({multiplier.digest for multiplier in same_bytes}) == len(shapes)


@pytest.mark.parametrize("shape", [(512, 256), (256, 512), (2, 4), (16, 15), (16,), (4, 4, 4)])
def test_other_widths_are_refused_with_the_rule(shape):
    with pytest.raises(MultiplierError, match=r"user/w: .* operands of 2 to 8 bits.*got \("):
        Multiplier.from_table("w", np.zeros(shape, int), signed=False, **FIGURES)


@pytest.mark.parametrize(
    ("signed", "value", "fits"),
    [(True, -64, True), (True, -65, False), (True, 64, False), (False, 127, True),
     (False, 128, False), (False, -1, False)],
)  # fmt: skip
def test_products_must_fit_the_bits_of_both_operands(signed, value, fits):
    table = np.zeros((8, 16), int)
    table[3, 3] = value
    if fits:
        assert Multiplier.from_table("x", table, signed=signed, **FIGURES).table[3, 3] == value
    else:
        with pytest.raises(MultiplierError, match=f"of 3 x 4 bits must hold .*{value}"):
            Multiplier.from_table("x", table, signed=signed, **FIGURES)


def test_copies_and_pickles_are_equal():
    multiplier = narrow(4, 6, signed=True, intervals={"power_mw": (0.05, 0.2)})
    for twin in (pickle.loads(pickle.dumps(multiplier)), deepcopy(multiplier)):
        assert (twin.bits_a, twin.bits_w, twin.digest) == (4, 6, multiplier.digest)
        assert twin.intervals == {"power_mw": (0.05, 0.2)}
        assert not twin.table.flags.writeable


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("bits_a", "bits_w"), WIDTHS)
def test_lut_gemm_sums_products_of_narrow_operands(bits_a, bits_w, signed, rng):
    multiplier = narrow(bits_a, bits_w, signed=signed)
    first, second = (0, 0) if not signed else (2 ** (bits_a - 1), 2 ** (bits_w - 1))
    a = rng.integers(0, 2**bits_a, (5, 7)) - first
    w = rng.integers(0, 2**bits_w, (7, 3)) - second
    table = multiplier.table.astype(np.int64)
    expected = table[a[:, :, None] + first, w[None] + second].sum(1)
    np.testing.assert_array_equal(lut_gemm(a, w, multiplier), expected)
    with pytest.raises(ArgumentError, match=f"multiplier of {bits_a} bits, got"):
        lut_gemm(a + 2**bits_a, w, multiplier)


# --- functions


def truncated(a, w):
    return (a & ~3) * (w & ~1)


def leading_one(a, w):
    """Refuses arrays: they have no `bit_length`."""
    return (1 << max(a.bit_length() - 1, 0)) * w if a else 0


@pytest.mark.parametrize("f", [truncated, leading_one])
@pytest.mark.parametrize(("bits_a", "bits_w"), [(3, 5), (8, 2)])
def test_function_is_evaluated_at_every_pair(f, bits_a, bits_w):
    multiplier = Multiplier.from_function(
        f, name="f", signed=False, bits_a=bits_a, bits_w=bits_w, source="me", **FIGURES
    )
    expected = [[f(a, w) for w in range(2**bits_w)] for a in range(2**bits_a)]
    assert multiplier.table.tolist() == expected
    assert (multiplier.key, multiplier.source, multiplier.power_mw) == ("user/f", "me", 0.1)


def test_function_of_signed_operands_gets_their_values():
    multiplier = Multiplier.from_function(
        truncated, name="f", signed=True, bits_a=4, bits_w=3, **FIGURES
    )
    assert multiplier.table[0, 0] == 32  # -8 * -4
    assert multiplier.table[15, 7] == 8  # 7 -> 4, 3 -> 2
    assert Multiplier.from_function(truncated, name="f", signed=True, **FIGURES).bits_a == 8


def shrunk(a, w):
    return (a * w)[:1]


def divided(a, w):
    raise ZeroDivisionError("no") if isinstance(a, int) and a == 3 else TypeError("one at a time")


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda a, w: a * w / 2, "integers, got dtype float64"),
        (lambda a, w: a == w, "integers, got dtype bool"),
        (lambda a, w: int(a) * w / 2, r"integers, got 0.0 for the operands \(0, 0\)"),
        (lambda a, w: int(a) == w, r"integers, got True for the operands \(0, 0\)"),
        (lambda a, w: 0, r"an array of that shape, got int 0"),
        (lambda a, w: None, r"an array of that shape, got NoneType None"),
        (shrunk, r"shape \(16, 16\) .* got \(1, 16\)"),
        (lambda a, w: a * w + 40, r"must hold 0..255, got 40..265"),
        (lambda a, w: int(a) * 10**40, r"must hold 0..255, got 0..2147483648"),
        (lambda a, w: int(a) // int(w), r"ZeroDivisionError for the operands \(0, 0\)"),
        (lambda a: a, "TypeError for the operands"),
        ("a * w", "must be a function, got str"),
    ],
)
def test_functions_of_other_results_are_refused(f, message):
    with pytest.raises(MultiplierError, match=f"user/f: .*{message}"):
        Multiplier.from_function(f, name="f", signed=False, bits_a=4, bits_w=4, **FIGURES)


@pytest.mark.parametrize("bits", [1, 9, 4.0, "4", True])
def test_widths_of_functions_are_2_to_8_bits(bits):
    with pytest.raises(MultiplierError, match=r"`bits_w` must be in 2\.\.8, got"):
        Multiplier.from_function(truncated, name="f", signed=False, bits_w=bits, **FIGURES)


# --- estimates


def test_figure_with_an_interval_is_an_estimate():
    known = narrow(4, 4, signed=True)
    assert not known.is_estimated
    assert replace(known, intervals={"area_um2": (150, 250)}).is_estimated


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ({"energy": (0, 1)}, "must be of power_mw, area_um2, delay_ns, got 'energy'"),
        ({"power_mw": 0.1}, "must be a pair"),
        ({"power_mw": (0.1, 0.2, 0.3)}, "must be a pair"),
        ({"power_mw": (-1, 1)}, "finite and >= 0"),
        ({"power_mw": (0.2, 0.3)}, "must hold the figure 0.1, got 0.2..0.3"),
        ({"power_mw": (0.3, 0.05)}, "must hold the figure"),
        ([("power_mw", (0, 1))], "must be a mapping"),
    ],
)
def test_intervals_are_checked(intervals, message):
    with pytest.raises(MultiplierError, match=f"user/mine: `intervals`.* {message}"):
        narrow(4, 4, signed=True, intervals=intervals)


# --- libraries


def test_saved_library_of_all_widths_loads_equal(tmp_path):
    multipliers = [
        narrow(a, w, signed=signed, name=f"m{a}x{w}{'u' + 's' * signed}")
        for a, w in WIDTHS
        for signed in (True, False)
    ]
    multipliers.append(narrow(4, 4, signed=True, name="e", intervals={"power_mw": (0, 0.3)}))
    multipliers.append(load_library()["mul8s_1L2H"])
    MultiplierLibrary(multipliers).save(tmp_path / "lib")
    loaded = load_library(tmp_path / "lib")
    assert list(loaded) == [multiplier.key for multiplier in multipliers]
    for multiplier in multipliers:
        twin = loaded[multiplier.key]
        np.testing.assert_array_equal(twin.table, multiplier.table)
        assert twin.digest == multiplier.digest
        assert twin.intervals == multiplier.intervals
        assert twin.signed == multiplier.signed


def test_optional_columns_are_written_only_where_they_are_needed(tmp_path):
    load_library().select(names=["mul8s_1L2H"]).save(tmp_path / "plain")
    header = (tmp_path / "plain" / "library.csv").read_text().splitlines()[0]
    assert "bits" not in header
    assert "low" not in header
    MultiplierLibrary([narrow(3, 5, signed=True)]).save(tmp_path / "narrow")
    header = (tmp_path / "narrow" / "library.csv").read_text().splitlines()[0]
    assert header.endswith(",source,bits_a,bits_w")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("bits_a", "9", r"`bits_a` must be 2..8 bits, got '9'"),
        ("bits_w", "four", r"`bits_w` must be 2..8 bits, got 'four'"),
        ("power_mw_low", "", "power_mw_low` must be a number"),
        ("power_mw_high", "0.01", "must hold the figure 0.1"),
    ],
)
def test_damaged_columns_are_refused(tmp_path, column, value, message):
    MultiplierLibrary([narrow(3, 5, signed=True, intervals={"power_mw": (0.05, 0.2)})]).save(
        tmp_path
    )
    with open(tmp_path / "library.csv", newline="") as file:
        row = next(csv.DictReader(file))
    row[column] = value
    with open(tmp_path / "library.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(LutFormatError, match=f"library.csv:2: .*{message}"):
        load_library(tmp_path)


def test_table_of_other_widths_than_its_row_is_refused(tmp_path):
    MultiplierLibrary([narrow(3, 5, signed=True)]).save(tmp_path)
    file = tmp_path / "library.csv"
    file.write_text(file.read_text().replace(",3,5\n", ",5,3\n"))
    with pytest.raises(LutFormatError, match=r"expected integers of shape \(2, 32, 8\)"):
        load_library(tmp_path)["mine"]


def test_select_keeps_widths_and_compares_equal_ones_only():
    library = MultiplierLibrary(
        [
            narrow(4, 4, signed=True, name="a", seed=1),
            narrow(4, 8, signed=True, name="b", seed=2),
            narrow(8, 8, signed=True, name="c", seed=3),
        ]
    )
    assert list(library.select(bits_a=4)) == ["user/a", "user/b"]
    assert list(library.select(bits_a=4, bits_w=8)) == ["user/b"]
    # equal power, errors of other sizes: across widths, none dominates another
    assert len(library.select(pareto="mae")) == 3
    for bits in (1, 9, "8", True):
        with pytest.raises(ArgumentError, match=r"`bits_w` must be in 2\.\.8"):
            library.select(bits_w=bits)


def test_exact_multiplier_of_a_library_is_the_one_of_8_x_8_bits():
    assert load_library(narrow=True).exact(signed=False).key == "v1/mul8u_1JFF"


def test_formats_of_8_x_8_bits_refuse_narrow_tables(tmp_path):
    multiplier = narrow(4, 4, signed=False)
    for suffix in (".bin", ".h"):
        with pytest.raises(LutFormatError, match=r"8 x 8 bits, got one of 4 x 4 bits"):
            export_multiplier(multiplier, tmp_path / f"m{suffix}")
        assert not (tmp_path / f"m{suffix}").exists()


def test_importers_may_return_narrow_tables(tmp_path):
    from axopt.multipliers import IMPORTERS, Imported, register_importer

    table = narrow(4, 6, signed=True).table

    @register_importer("narrow", suffixes=(".narrow",))
    def read(path, signed):
        return [Imported(table, True)]

    try:
        (tmp_path / "x.narrow").touch()
        imported = import_multiplier(tmp_path / "x.narrow", **FIGURES)
        assert (imported.bits_a, imported.bits_w) == (4, 6)
        assert (Imported(table, True).bits_a, Imported(table, True).bits_w) == (4, 6)
        table = np.zeros((512, 512), int)
        with pytest.raises(LutFormatError, match="m and n in 2..8"):
            import_multiplier(tmp_path / "x.narrow", **FIGURES)
    finally:
        IMPORTERS.remove("narrow")


# --- the bundled narrow multipliers


@pytest.fixture(scope="module")
def everything():
    return load_library(narrow=True)


def test_narrow_multipliers_are_bundled_beside_the_others(everything, library):
    assert len(everything) == 489
    counts = {
        (bits_a, bits_w): len(
            everything.select(signed=False, bits_a=bits_a, bits_w=bits_w, degenerate=True)
        )
        for bits_a, bits_w in [(7, 7), *((8, bits) for bits in range(2, 9))]
    }
    assert counts.pop((8, 8)) == 73
    assert list(counts.values()) == [36, 50, 57, 58, 68, 53, 68]
    assert set(library) < set(everything)
    assert everything["mul8x4u_2UU"].is_exact
    assert everything["mul8x4u_2UU"].power_mw == 0.137
    assert "ICCAD" in everything["mul7u_01L"].source


def test_published_figures_of_narrow_multipliers_follow_from_their_tables(everything):
    problems = check_library(everything.select(bits_w=3)) | check_library(
        everything.select(bits_a=7)
    )
    assert len(problems) > 50
    assert not any(problems.values())


def test_gate_lists_give_the_narrow_tables(everything):
    netlists = load_netlists()
    for key in list(everything.select(bits_w=4))[::5]:
        np.testing.assert_array_equal(netlists[key].table(), everything[key].table)


def test_default_library_names_the_one_with_narrow_multipliers(library):
    with pytest.raises(UnknownMultiplierError, match="load_library.narrow=True.. has it"):
        library["mul8x4u_2UU"]
    assert "mul8x4u_2UU" not in library


def test_what_a_function_returns_is_shown_in_short():
    with pytest.raises(MultiplierError, match="must return an array of that shape, got list") as e:
        Multiplier.from_function(lambda a, w: (a * w).tolist(), name="f", signed=True, **FIGURES)
    assert len(str(e.value)) < 300
