import re
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from synthetic_records import EXACT, KEYS, make_record

from axopt.report import view
from axopt.report.labels import line_obstacles, place_labels
from axopt.report.page import report_html
from axopt.report.svg import pareto_svg


def test_points_at_chance_level_do_not_squeeze_the_front(record):
    limits = view.limits(record)
    assert EXACT - 25 < limits.y_low < EXACT - 5
    below = {point.label for point in record.uniform if limits.is_below(point)}
    assert below == {f"v1/mul8s_{name}" for name in ("1KVL", "1L2D", "1L1G", "1KR3")}
    assert limits.x_low < min(point.rel_power for point in record.uniform)


def test_a_small_range_is_shown_whole():
    record = make_record(uniform=False)
    limits = view.limits(record)
    assert not any(limits.is_below(point) for point in record.front)
    assert limits.y_low < min(point.quality_low for point in record.front)
    assert limits.y_high > max(point.quality_high for point in record.front)


@pytest.mark.parametrize("n_front", [0, 1])
def test_limits_are_never_empty(n_front):
    record = make_record(n_front=n_front, uniform=False)
    exact = replace(record.exact, quality_low=EXACT, quality_high=EXACT)
    limits = view.limits(replace(record, exact=exact, float_quality=None))
    assert limits.y_high - limits.y_low >= view.MIN_SPAN_PP
    assert limits.x_high - limits.x_low >= view.MIN_SPAN_POWER


def test_reference_is_not_drawn_twice(record):
    labels = [point.label for point in view.compared_points(record)]
    assert labels == [key for key in KEYS if key != record.reference]


def test_labels_below_the_plane_state_their_quality(record):
    labels = [text for _, text in view.uniform_labels(record, view.limits(record))]
    assert "1KR3: 10.0 %" in labels
    assert "1L2H" in labels


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], ("", [])),
        (["v1/mul8s_1L2H"], ("", ["v1/mul8s_1L2H"])),
        (["v1/mul8s_1L2H", "v1/mul8s_1L2D"], ("v1/mul8s_", ["1L2H", "1L2D"])),
        (["v1/mul8s_1L2H", "v1/mul8u_1JFF"], ("v1/", ["mul8s_1L2H", "mul8u_1JFF"])),
        (["mine", "v1/mul8u_1JFF"], ("", ["mine", "v1/mul8u_1JFF"])),
    ],
)
def test_short_names_cut_at_a_separator(keys, expected):
    assert view.short_names(keys) == expected


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 1.0, 5, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (69.3, 82.4, 8, [70, 72, 74, 76, 78, 80, 82]),
        (99.2, 100.3, 6, [99.2, 99.4, 99.6, 99.8, 100.0, 100.2]),
    ],
)
def test_ticks_are_round_and_inside(low, high, most, expected):
    assert view.ticks(low, high, most) == pytest.approx(expected)


def boxes_of(centres, sizes):
    return [
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for (x, y), (w, h) in zip(centres, sizes, strict=True)
    ]


def disjoint(one, other):
    apart_x = one[2] <= other[0] + 1e-6 or other[2] <= one[0] + 1e-6
    apart_y = one[3] <= other[1] + 1e-6 or other[3] <= one[1] + 1e-6
    return apart_x or apart_y


def test_labels_cover_neither_marks_nor_each_other():
    anchors = [(200.0 + 9 * (i % 4), 150.0 + 11 * (i // 4)) for i in range(12)]
    sizes = [(30.0, 10.0)] * 12
    marks = [(x - 3, y - 3, x + 3, y + 3) for x, y in anchors]
    frame = (0.0, 0.0, 400.0, 300.0)
    labels = boxes_of(place_labels(anchors, sizes, marks, frame, 6.0), sizes)
    assert all(disjoint(one, other) for one, other in combinations(labels, 2))
    assert all(disjoint(label, mark) for label in labels for mark in marks)
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 400 and box[3] <= 300 for box in labels)


def test_label_turns_inwards_at_the_edge():
    (centre,) = place_labels([(399.0, 150.0)], [(30.0, 10.0)], [], (0, 0, 400, 300), 6.0)
    assert centre == (399.0 - 15 - 6, 150.0)


def test_labels_are_placed_even_where_nothing_is_free():
    everything = [(-1e4, -1e4, 1e4, 1e4)]
    centres = place_labels([(5.0, 5.0)], [(30.0, 10.0)], everything, (0, 0, 10, 10), 6.0)
    assert len(centres) == 1


def test_line_obstacles_follow_the_line():
    boxes = line_obstacles([(0.0, 0.0), (10.0, 0.0)], step=2.0)
    assert boxes[0] == (-0.5, -0.5, 0.5, 0.5)
    assert boxes[-1] == (9.5, -0.5, 10.5, 0.5)
    assert len(boxes) == 6
    assert line_obstacles([(1.0, 1.0)], step=2.0) == []
    assert len(line_obstacles([(1.0, 1.0), (1.0, 1.0)], step=2.0)) == 1


def upside_down(record):
    """The record as if qualities were distances: 100 minus what they are."""

    def turned(point):
        return replace(
            point,
            quality=100 - point.quality,
            quality_low=100 - point.quality_high,
            quality_high=100 - point.quality_low,
        )

    return replace(
        record,
        exact=turned(record.exact),
        uniform=tuple(map(turned, record.uniform)),
        front=tuple(map(turned, record.front)),
        float_quality=None,
        metric="frechet",
        unit="",
        higher_is_better=False,
    )


def test_where_smaller_is_better_the_same_points_are_shown(record):
    record = replace(record, float_quality=None)
    turned_record = replace(upside_down(record), unit="%")
    usual, turned = view.limits(record), view.limits(turned_record)
    assert turned.y_low == pytest.approx(100 - usual.y_low)
    assert turned.y_high == pytest.approx(100 - usual.y_high)
    for before, after in zip(record.uniform, turned_record.uniform, strict=True):
        assert usual.is_below(before) == turned.is_below(after)
    assert view.ticks(turned.y_low, turned.y_high, 9) == view.ticks(turned.y_high, turned.y_low, 9)


def test_where_smaller_is_better_the_page_says_how_much_worse(record):
    page = report_html(upside_down(record), {})
    assert "Frechet distance, test split" in page
    assert "lower is better" in page
    assert '<th scope="col">Drop</th>' in page
    assert "(pp)" not in page
    assert "(%)" not in page.replace("Power saved (%)", "")
    point = record.front[-1]
    turned = upside_down(record)
    assert turned.drop(turned.front[-1]) == pytest.approx(record.drop(point))
    assert record.drop(record.exact) == 0


def test_the_metric_has_the_title_that_its_record_states(record, full_record):
    assert "Share of right answers (%), test split" in report_html(full_record, {})
    assert "Top-1 accuracy (%), test split" in report_html(record, {})  # schema 1: by name
    assert "my_metric (%), test split" in report_html(replace(record, metric="my_metric"), {})


def test_the_line_runs_through_the_points_that_are_not_dominated(full_record):
    line = view.front_line(full_record)
    assert 0 < len(line) < len(full_record.front)
    assert [point.label for point in line] == [
        point.label for point in full_record.front if not point.dominated
    ]
    solid, dotted = view.line_parts(full_record)
    assert (solid, dotted) == (list(pairwise(line)), [])
    (path,) = re.findall('<path class="line" d="([^"]*)"', pareto_svg(full_record))
    assert path.count("L") == len(line) - 1


def test_the_line_is_dotted_between_points_that_cannot_be_told_apart(full_record):
    line = view.front_line(full_record)
    marked = tuple(
        replace(point, alike=line[1].label) if point is line[0] else point
        for point in full_record.front
    )
    record = replace(full_record, front=marked)
    solid, dotted = view.line_parts(record)
    assert [(a.label, b.label) for a, b in dotted] == [(line[0].label, line[1].label)]
    assert len(solid) == len(line) - 2
    page = report_html(record, {})
    assert page.count('class="line alike"') == 2  # in the plot and in the legend
    assert f"front ~ {line[1].label}" in page
    assert "~ marks a point that the samples cannot tell apart" in page
    assert "~" not in report_html(full_record, {}).split("<main>")[1].split("</main>")[0]


def test_at_most_so_many_points_are_labelled_the_best_ones_first(record):
    qualities = [81.6, *(79 + i % 10 / 10 for i in range(399))]
    uniform = tuple(
        replace(
            record.uniform[2],
            label=f"user/m{i}",
            rel_power=0.1 + i / 1000,
            quality=quality,
            quality_low=quality - 0.1,
            quality_high=quality + 0.1,
        )
        for i, quality in enumerate(qualities)
    )
    crowded = replace(record, uniform=uniform)
    labelled = view.uniform_labels(crowded, view.limits(crowded))
    assert len(labelled) == view.MAX_LABELS
    assert labelled[0] == (uniform[0], "m0")  # the best quality at the least power


def test_labels_are_elided(record):
    uniform = tuple(replace(p, label=f"{i}{p.label * 50}") for i, p in enumerate(record.uniform))
    crowded = replace(record, uniform=uniform)
    labels = view.uniform_labels(crowded, view.limits(crowded))
    assert max(len(text) for _, text in labels) <= view.LABEL_CHARACTERS + len(": 55.1 %")


def test_figures_without_a_scale_are_shown_at_their_own(record):
    """Qualities of a thousandth, such as a root mean square error, must not be a flat line."""

    def small(point):
        return replace(
            point,
            quality=(100 - point.quality) / 1e5,
            quality_low=(100 - point.quality_high) / 1e5,
            quality_high=(100 - point.quality_low) / 1e5,
            validation=None,
        )

    errors = replace(
        record,
        exact=small(record.exact),
        uniform=tuple(map(small, record.uniform)),
        front=tuple(map(small, record.front)),
        float_quality=None,
        unit="",
        metric="rmse",
        higher_is_better=False,
    )
    limits = view.limits(errors)
    assert 0 < limits.y_low - limits.y_high < 0.01
    page = report_html(errors, {})
    assert f"{errors.exact.quality:.4g} [" in page


@pytest.mark.parametrize("size", [1e12, 1e50, 1e100])
def test_limits_of_huge_numbers_are_not_empty(record, size):
    exact = replace(record.exact, quality=size, quality_low=-size, quality_high=size)
    limits = view.limits(replace(record, exact=exact, uniform=(), front=(), float_quality=None))
    assert limits.y_low < limits.y_high
    assert len(view.ticks(limits.y_low, limits.y_high, 9)) > 2


def test_trials_that_were_pruned_are_not_shown_as_evaluated(record):
    pruned = replace(record.trials[0], state="pruned")
    trials = (pruned, *record.trials[1:])
    assert len(view.completed_trials(replace(record, trials=trials))) == (
        len(view.completed_trials(record)) - 1
    )
