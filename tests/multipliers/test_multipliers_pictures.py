"""Pictures of multipliers: what is drawn, told from the SVG text and from the pixels."""

import re

import numpy as np
import pytest

from axopt import Multiplier, load_library
from axopt.errors import ArgumentError
from axopt.multipliers import COMPARED, compare_picture, error_picture

LIBRARY = load_library(narrow=True)
FIGURES = {"area_um2": 200, "delay_ns": 1.0}
EXACT = LIBRARY["mul8s_1KV8"]


def own(name, power_mw, *, estimated, signed=True):
    intervals = {"power_mw": (0.5 * power_mw, 2 * power_mw)} if estimated else {}
    table = LIBRARY["mul8s_1L1G" if signed else "mul8u_2HH"].table
    return Multiplier.from_table(
        name, table, signed=signed, power_mw=power_mw, intervals=intervals, **FIGURES
    )


def texts(file):
    """The texts of an SVG, kept as comments beside their outlines, and the names of points."""
    found = re.findall(r'<!-- (.*?) -->|<g id="(?:user/)?(\w+)">', file.read_text("utf-8"))
    return [comment or name for comment, name in found]


def test_the_heat_map_has_operands_as_axes(tmp_path):
    drawn = texts(error_picture(LIBRARY["mul8s_1L1G"], tmp_path / "x.svg"))
    for expected in ("−128", "−64", "0", "64", "127", "First operand (rows)"):
        assert expected in drawn
    assert any("MAE 339.9, WCE 1743, bias 15.75" in text for text in drawn)
    drawn = texts(error_picture(LIBRARY["v2022/mul8x2u_0AJ"], tmp_path / "x.svg"))
    assert {"0", "1", "2", "3", "64", "255"} <= set(drawn)


def test_colours_of_the_heat_map_are_symmetric_about_zero(tmp_path):
    """Errors of one size and both signs are as far from white; no error is white."""
    from matplotlib.image import imread

    table = np.multiply.outer(np.arange(4), np.arange(4))
    table[3, 0] += 1  # upper left
    table[0, 3] += 2  # lower right: the largest error
    table[3, 3] -= 1  # upper right
    multiplier = Multiplier.from_table("x", table, signed=False, power_mw=1, **FIGURES)
    image = imread(error_picture(multiplier, tmp_path / "x.png"))[..., :3]
    map_ = image[:, : int(image.shape[1] * 0.77)]
    colours, counts = np.unique(map_.reshape(-1, 3).round(3), axis=0, return_counts=True)
    large = {tuple(c) for c in colours[counts > 0.02 * map_[..., 0].size].tolist()}
    white = [c for c in large if min(c) > 0.95]
    red = [c for c in large if c[0] > c[2] + 0.1]
    blue = [c for c in large if c[2] > c[0] + 0.1]
    assert len(white) == 2  # the paper, and no error
    assert len(red) == 2  # +1 and +2
    assert len(blue) == 1  # -1
    assert max(red)[1] == pytest.approx(blue[0][1], abs=0.2)  # +1 is as strong as -1


@pytest.mark.parametrize("table", [0, 1, -1])
def test_constant_errors_are_drawn(table, tmp_path):
    shifted = np.multiply.outer(np.arange(1, 5), np.arange(1, 5)) + table
    multiplier = Multiplier.from_table("x", shifted % 16, signed=False, power_mw=1, **FIGURES)
    assert error_picture(multiplier, tmp_path / "x.png").stat().st_size > 1000


def test_published_and_estimated_figures_are_told_apart(tmp_path):
    chosen = [EXACT, own("given", 0.2, estimated=False), own("guess", 0.1, estimated=True)]
    drawn = texts(compare_picture(chosen, tmp_path / "x.svg"))
    assert "Signed, published" in drawn
    assert "Signed, estimated, with interval" in drawn
    assert {"mul8s_1KV8", "given", "guess"} <= set(drawn)
    drawn = texts(compare_picture(chosen[:2], tmp_path / "x.svg"))
    assert not any("estimated" in text for text in drawn)
    chosen = [own("u", 0.2, estimated=True, signed=False)]
    drawn = texts(compare_picture(chosen, tmp_path / "x.svg"))
    assert "Unsigned, estimated, with interval" in drawn
    assert "Signed, published" not in drawn


@pytest.mark.parametrize("metric", ["wcre", "ep", "mse"])
def test_every_error_is_drawn(metric, tmp_path):
    chosen = [EXACT, LIBRARY["mul8s_1L1G"]]
    drawn = texts(compare_picture(chosen, tmp_path / "x.svg", metric=metric))
    assert COMPARED[metric] in drawn
    assert "Power (mW)" in drawn


def test_widths_with_different_ranges_share_an_axis_in_per_cent(tmp_path):
    narrow = LIBRARY["v2022/mul8x2u_0AJ"]
    drawn = texts(compare_picture([EXACT, narrow], tmp_path / "x.svg"))
    assert "Mean absolute error (% of the product's range)" in drawn
    drawn = texts(compare_picture([narrow], tmp_path / "x.svg"))
    assert "Mean absolute error" in drawn


def test_names_that_would_hide_the_points_are_left_out(tmp_path):
    chosen = [own(f"mine_{i}", 0.1 + i / 100, estimated=False) for i in range(41)]
    assert "mine_3" in texts(compare_picture(chosen[:4], tmp_path / "x.svg"))
    assert "mine_3" not in texts(compare_picture(chosen, tmp_path / "x.svg"))


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_equal_multipliers_give_equal_bytes(suffix, tmp_path):
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    for file in (first, second):
        compare_picture([EXACT], file)
    assert first.read_bytes() == second.read_bytes()


def test_no_global_state_of_matplotlib_is_changed(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    compare_picture([own("a_b", 0.2, estimated=False)], tmp_path / "x.svg")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: error_picture(EXACT, p / "x.jpg"), r"`file` must end in one of \.png"),
        (lambda p: error_picture(EXACT, 3), "`file` must be a path"),
        (lambda p: error_picture("x", p / "x.png"), "`multiplier` must be a Multiplier"),
        (lambda p: compare_picture([], p / "x.png"), "`multipliers` must be at least one"),
        (lambda p: compare_picture(["x"], p / "x.png"), "`multiplier` must be a Multiplier"),
        (lambda p: compare_picture([EXACT], p / "x.png", metric="mea"), "`metric` must be one of"),
    ],
)
def test_bad_arguments(call, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        call(tmp_path)
    assert not list(tmp_path.iterdir())
