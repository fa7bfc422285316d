"""Plans: the decompositions found for a table, and the choice of a method by measured time."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from axopt.errors import ArgumentError
from axopt.kernels import available, explain, force_isa, plan
from axopt.kernels.operations import METHODS
from axopt.kernels.timing import Shape, TimingModel, choose_method, timing_model
from axopt.multipliers import load_library

LIBRARY = load_library()
LAYER = Shape(pixels=4096, channels=32, depth=288, groups=1)


def test_a_plan_is_made_once_for_the_same_entries():
    table = LIBRARY["mul8s_1L2D"].table
    assert plan(table) is plan(table.astype(np.int64).copy())
    assert plan(table) is not plan(LIBRARY["mul8s_1KR6"].table.T)
    assert np.array_equal(plan(table).table, table)
    assert not plan(table).table.flags.writeable


@pytest.mark.parametrize(
    ("name", "terms"),
    [("mul8s_1KV8", 1), ("mul8s_1KX2", 5), ("mul8u_1JFF", 1), ("mul8u_L40", 0), ("mul8u_E9R", 0)],
)
def test_terms_where_there_are_some(name, terms):
    found = plan(LIBRARY[name].table)
    assert found.term_count == terms
    assert (found.terms is None) == (terms == 0)


def test_the_table_of_a_plan_is_its_own():
    table = LIBRARY["mul8s_1L2H"].table.copy()
    found = plan(table)
    table[:] = 0
    assert np.array_equal(found.table, LIBRARY["mul8s_1L2H"].table)


def test_a_table_of_another_shape_is_refused():
    with pytest.raises(ArgumentError, match=r"\(256, 256\)"):
        plan(np.zeros((16, 16), np.int32))


def test_plans_print_their_terms():
    assert "(a & 0b11111100) * ((w & 0b11111100) - 128)" in str(plan(LIBRARY["mul8s_1L2D"].table))
    assert "map(a)" in str(plan(LIBRARY["mul8u_Y48"].table))
    assert "look-up" in str(plan(LIBRARY["mul8u_L40"].table))


@pytest.mark.parametrize("name", ["mul8u_1JFF", "mul8u_L40", "mul8u_E9R"])
def test_the_bound_of_affine_sums_holds_for_any_zero_points(name):
    """The largest term over all operands and the extreme zero points, by brute force."""
    found, codes = plan(LIBRARY[name].table), np.arange(256, dtype=np.int64)
    largest = max(
        int(np.abs(found.table - zw * codes[:, None] - za * codes + za * zw).max())
        for za in (0, 128, 255)
        for zw in (0, 128, 255)
    )
    assert found.k_max_affine(signed=False) * largest <= 2**31 - 1


@pytest.mark.parametrize("name", ["mul8s_1KV8", "mul8s_1KR3", "mul8s_1L2D"])
def test_the_bound_of_affine_sums_holds_for_signed_multipliers(name):
    """Their weights are symmetric; the activations' zero point is any."""
    found, values = plan(LIBRARY[name].table), np.arange(-128, 128, dtype=np.int64)
    largest = max(int(np.abs(found.table - za * values).max()) for za in (-128, 0, 127))
    assert found.k_max_affine(signed=True) * largest <= 2**31 - 1


def test_the_bound_of_affine_sums_is_no_smaller_than_exact_products_need():
    unsigned, signed = (plan(LIBRARY[name].table) for name in ("mul8u_1JFF", "mul8s_1KV8"))
    assert unsigned.k_max_affine(signed=False) == (2**31 - 1) // 255**2
    assert signed.k_max_affine(signed=True) == (2**31 - 1) // (255 * 128)


@pytest.mark.parametrize("isa", available())
def test_costs_are_measured_on_each_instruction_set(isa):
    with force_isa(isa):
        costs = timing_model()
        assert costs is timing_model()
        assert all(value >= 0 for value in vars(costs).values())
        assert costs.term > 0
        assert costs.row > 0
        assert costs.pixel_lanes > 0
        for plan_ in (None, of_terms(1), of_terms(8)):
            assert choose_method(plan_, LAYER) in METHODS
        assert explain(plan(LIBRARY["mul8s_1KR6"].table)).count("chosen") == 1


def of_terms(count, residual=None):
    """As much of a plan as the choice looks at."""
    return SimpleNamespace(term_count=count, residual=residual)


def fixed(monkeypatch, **changes):
    values = {
        "term": 1.0,
        "depthwise_term": 1.0,
        "residual": 2.5,
        "residual_row": 0.0,
        "row": 3.0,
        "row_build": 100.0,
        "pixel_lanes": 4.0,
        "channel_lanes": 4.0,
        "depthwise_lanes": 4.0,
    }
    costs = TimingModel(**{**values, **changes})
    monkeypatch.setattr("axopt.kernels.timing.timing_model", lambda: costs)


def test_the_choice_follows_the_costs(monkeypatch):
    fixed(monkeypatch)
    assert choose_method(None, LAYER) == "rows"
    methods = [choose_method(of_terms(count), LAYER) for count in (0, 1, 2, 4)]
    assert methods == ["rows", "terms", "terms", "rows"]
    assert choose_method(of_terms(4, residual="some"), LAYER) == "residual"
    assert choose_method(of_terms(2, residual="some"), LAYER) == "terms"
    fixed(monkeypatch, term=0.5)
    assert choose_method(of_terms(4, residual="some"), LAYER) == "terms"
    fixed(monkeypatch, pixel_lanes=2.0)
    assert choose_method(None, LAYER) == "pixel_lanes"


def test_the_choice_follows_the_shape(monkeypatch):
    fixed(monkeypatch)
    few_pixels = Shape(pixels=1, channels=512, depth=512, groups=1)
    assert choose_method(None, few_pixels) == "channel_lanes"
    few_channels = Shape(pixels=4096, channels=3, depth=288, groups=1)
    assert choose_method(None, few_channels) == "pixel_lanes"
    depthwise = Shape(pixels=4096, channels=1, depth=9, groups=96)
    assert choose_method(None, depthwise) == "pixel_lanes"
    assert choose_method(of_terms(3, residual="some"), depthwise) == "terms"
    thin = Shape(pixels=4096, channels=1, depth=288, groups=1)
    assert (
        choose_method(of_terms(5), thin) == "pixel_lanes"
    )  # a block of 16 channels would hold one


def test_methods_that_do_not_apply_cost_infinitely(monkeypatch):
    fixed(monkeypatch)
    costs = TimingModel(1, 1, 1, 1, 1, 1, 1, 1, 1)
    assert costs.estimate("terms", of_terms(0), LAYER) == math.inf
    assert costs.estimate("residual", of_terms(3), LAYER) == math.inf
    assert costs.estimate("rows", of_terms(1), Shape(100, 2, 9, 1)) == math.inf
