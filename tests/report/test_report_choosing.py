"""Points chosen on the validation split and reported on the test split."""

import io
from dataclasses import replace

import pytest
from matplotlib.image import imread

from axopt.errors import ArgumentError
from axopt.report import (
    Quality,
    RunRecord,
    best_point,
    example_record,
    knee_point,
    pareto_figure,
    validation_drop,
)

# relative power, drop on validation, drop on test
FRONT = [(1.0, 0.0, 0.0), (0.6, 0.4, 1.5), (0.4, 0.9, 0.2), (0.2, 2.0, 1.9), (0.1, 9.0, 9.1)]


def record_of(front, *, higher=True, **changes):
    """Return a record with these points; a drop of 1 is 1 worse than 90."""
    record = example_record()
    sign = 1 if higher else -1
    points = tuple(
        replace(
            record.front[0],
            label=f"point-{i:02}",
            assignment=f"assignments/point-{i:02}.json",
            rel_power=power,
            quality=90 - sign * on_test,
            quality_low=0.0,
            quality_high=200.0,
            validation=Quality(90 - sign * on_validation, 0.0, 200.0),
            drop=on_test,
            drop_low=on_test - 0.5,
            drop_high=on_test + 0.5,
        )
        for i, (power, on_validation, on_test) in enumerate(front)
    )
    exact = replace(record.baseline, validation=Quality(90.0, 0.0, 200.0))
    return replace(record, front=points, baseline=exact, higher_is_better=higher, **changes)


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize(
    ("caps", "label"),
    [
        ({"max_drop": 1.0}, "point-02"),  # by the test split it would be the same: 0.2
        ({"max_drop": 0.5}, "point-01"),  # though its drop on the test split is 1.5
        ({"max_drop": 0}, "point-00"),
        ({"max_drop": 100}, "point-04"),
        ({"max_power": 0.45}, "point-02"),
        ({"max_power": 0.1}, "point-04"),
        ({"max_drop": 3.0, "max_power": 0.5}, "point-03"),
    ],
)
def test_best_is_chosen_on_validation(higher, caps, label):
    chosen = best_point(record_of(FRONT, higher=higher), **caps)
    assert chosen.point.label == label
    assert chosen.point.split == "test"
    assert chosen.validation_drop == pytest.approx(FRONT[int(label[-2:])][1])


def test_of_equal_savings_the_smaller_drop_is_best():
    chosen = best_point(record_of([(0.5, 0.8, 0), (0.5, 0.4, 0)]), max_drop=1.0)
    assert chosen.point.label == "point-01"


def test_the_text_says_how_it_was_chosen_and_both_drops():
    text = str(best_point(record_of(FRONT), max_drop=0.5, max_power=0.7))
    assert text.splitlines() == [
        "point-01: the largest saving with a drop of at most 0.5 pp and at most 0.7 of the power, "
        "chosen on the validation split",
        "saves 40.0 % of the power",
        "drop on validation: 0.40 pp (359 samples)",
        "drop on test: 1.50 pp, 95 % interval 1.00..2.00 (359 samples)",
    ]


@pytest.mark.parametrize(
    ("caps", "message"),
    [
        ({}, "`max_drop` or `max_power` must be given, got neither"),
        ({"max_drop": "1"}, "`max_drop` must be a finite number, got '1'"),
        ({"max_drop": float("nan")}, "`max_drop` must be a finite number, got nan"),
        ({"max_power": True}, "`max_power` must be a finite number, got True"),
        (
            {"max_drop": 0.1, "max_power": 0.5},
            "no point of the front is within `max_drop` 0.1 and `max_power` 0.5 .* the smallest "
            "drop is 0.00 pp .point-00, power 1.000., the least power 0.100 .point-04, drop 9.00",
        ),
    ],
)
def test_caps_that_no_point_keeps_are_told(caps, message):
    with pytest.raises(ArgumentError, match=message):
        best_point(record_of(FRONT), **caps)


def test_the_knee_is_farthest_below_the_line_between_the_ends():
    assert knee_point(record_of(FRONT)).point.label == "point-03"
    assert knee_point(record_of([*FRONT[:3], (0.3, 2.0, 0.0)])).point.label == "point-02"
    scaled = [(0.5 + power / 10, 7 * drop, 0.0) for power, drop, _ in FRONT]
    assert knee_point(record_of(scaled)).point.label == "point-03"


@pytest.mark.parametrize(
    "front",
    [FRONT[:1], FRONT[:2], [(1, 0, 0), (0.5, 0.9, 0), (0, 1, 0)], [(1, 0, 0), (0.5, 0, 0)]],
)
def test_a_front_without_a_point_below_the_line_has_no_knee(front):
    with pytest.raises(ArgumentError, match="the front has no knee"):
        knee_point(record_of(front))


def test_records_of_earlier_versions_have_no_validation_quality_of_the_exact_one():
    record = record_of(FRONT)
    old = replace(record, baseline=replace(record.baseline, validation=None))
    assert RunRecord.from_json(old.to_json()) == old
    with pytest.raises(ArgumentError, match="no validation quality of the exact multiplier"):
        best_point(old, max_drop=1.0)


def test_an_interrupted_run_has_drops_of_the_validation_split():
    record = example_record()
    seen = {"split": "validation", "drop": None, "drop_low": None, "drop_high": None}
    partial = replace(
        record,
        exact=replace(record.exact, split="validation"),
        baseline=replace(record.baseline, **seen),
        front=tuple(replace(point, **seen) for point in record.front),
        uniform=(),
        partial=True,
    )
    chosen = best_point(partial, max_drop=0.4)
    assert chosen.point.label == "point-02"
    assert "drop on test: not measured" in str(chosen)


def test_drops_of_metrics_where_lower_is_better_are_positive_where_worse():
    record = record_of(FRONT, higher=False)
    assert validation_drop(record, record.front[3]) == pytest.approx(2.0)


def test_the_figure_is_shown_by_notebooks():
    figure = pareto_figure(example_record())
    assert imread(io.BytesIO(figure._repr_png_())).shape[:2] == (600, 800)  # what IPython calls
