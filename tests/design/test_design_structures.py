"""Sets of partial products: their search, their forms and their multipliers."""

import numpy as np
import pytest

import axopt
from axopt.circuits import generate, multiplier_of
from axopt.design.statistics import LayerStatistics
from axopt.design.structures import (
    canonical,
    layer_errors,
    structure_of,
    sweep,
    truncation,
    truncations,
)

LIBRARY = axopt.load_library().select(release="v1", signed=True)


def staircases():
    """All sets where partial products of higher bits are kept too, by their rows' lengths."""
    rows = [[]]
    for _ in range(8):
        rows = [[*row, n] for row in rows for n in range(row[-1] if row else 0, 9)]
    for row in rows:
        yield np.array([[column >= 8 - n for column in range(8)] for n in row])


def test_sweep_finds_the_best_staircases_of_a_sum():
    weights = np.add.outer(np.arange(8), np.arange(8)) ** 3.0
    calls = []

    def error(sets):
        calls.append(len(sets))
        return (~sets * (weights + weights.T)).sum((1, 2))

    found = sweep(error, truncations())
    best = {}
    for kept in staircases():
        size = int(kept.sum())
        best[size] = min(best.get(size, np.inf), float(error(kept[None])[0]))
    assert [int(kept.sum()) for kept in found] == list(range(64, 1, -1))
    for kept in found:
        assert error(kept[None])[0] == best[int(kept.sum())]


@pytest.mark.slow
def test_sweep_finds_the_best_staircases_of_a_layer():
    data = axopt.load_data("digits")
    network = axopt.create_model("digits_cnn")
    emulated = axopt.prepare(network, data.train.take(256).batches(64))
    statistics = LayerStatistics(emulated.emulated_layers["fc"], signed=True)
    distinct = {canonical(kept).tobytes(): canonical(kept) for kept in staircases()}
    best = {}
    for kept in distinct.values():
        size = int(kept.sum())
        best.setdefault(size, []).append(kept)
    for kept in sweep(lambda sets: layer_errors(statistics, sets), truncations()):
        errors = layer_errors(statistics, np.stack(best[int(kept.sum())]))
        assert layer_errors(statistics, kept[None])[0] == pytest.approx(errors.min(), rel=1e-9)


def test_sweep_is_no_worse_than_truncations():
    rng = np.random.default_rng(3)
    weights = rng.random((8, 8))
    weights += weights.T

    def error(sets):
        return np.square((~sets * weights).sum((1, 2)))

    found = {int(kept.sum()): float(error(kept[None])[0]) for kept in sweep(error, truncations())}
    for kept in truncations():
        assert found[int(kept.sum())] <= float(error(kept[None])[0])


def test_canonical_form_uses_fewer_bits_of_the_first_operand():
    kept = truncation(6, 3)
    assert canonical(kept).any(1).sum() == 3
    np.testing.assert_array_equal(canonical(kept), canonical(kept.T))


@pytest.mark.parametrize("signed", [True, False])
def test_multiplier_computes_its_structure(signed):
    kept = truncation(4, 5)
    kept[3, 7] = True
    structure = structure_of(kept, signed=signed)
    operands = np.arange(256) - (128 if signed else 0)
    table = np.zeros((256, 256), np.int64)
    for i, j in np.argwhere(kept):
        bits = [(operands >> n & 1) * (-(2**n) if signed and n == 7 else 2**n) for n in (i, j)]
        table += np.multiply.outer(*bits)
    np.testing.assert_array_equal(structure.multiplier.table, table)
    np.testing.assert_array_equal(structure.netlist.table(), table)
    assert structure.multiplier.is_estimated
    assert structure.text.split()[0] == "a7:xxxxx..."


def test_published_figures_where_the_table_is_published():
    structure = structure_of(truncation(5, 5), signed=True)
    assert structure.multiplier.power_mw == LIBRARY["mul8s_1L1G"].power_mw
    assert not structure.multiplier.is_estimated
    swapped = structure_of(truncation(5, 8), signed=True)
    assert swapped.multiplier.power_mw == LIBRARY["mul8s_1KTY"].power_mw


def test_narrow_forms_have_the_gates_and_products_of_truncations():
    narrow = generate("exact", bits_a=3, bits_w=5, signed=True)
    truncated = structure_of(truncation(3, 5), signed=True)
    assert truncated.netlist.counts == narrow.counts
    np.testing.assert_array_equal(
        truncated.multiplier.table, multiplier_of(narrow, "n").code_table
    )
