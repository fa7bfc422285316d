import json
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_records import make_record, wilson

from axopt.errors import AxoptError, ReportError
from axopt.report import Quality, RunRecord, TrialRow


def test_json_round_trip_is_exact(record):
    assert RunRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("kind", [{"n_front": 0}, {"uniform": False}, {"n_trials": 0}])
def test_json_round_trip_of_partial_runs(kind):
    record = replace(make_record(**kind), float_quality=None)
    assert RunRecord.from_json(record.to_json()) == record


def test_json_is_deterministic(record):
    assert record.to_json() == make_record().to_json()


def test_front_may_be_one_point_of_perfect_quality(record):
    # the Wilson interval of 100 % may end a rounding error below 100 %
    point = replace(record.front[0], quality=100.0, quality_high=99.99999999999999)
    assert replace(record, front=(point,)).front == (point,)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), "80", None, True])
@pytest.mark.parametrize("field", ["quality", "rel_power", "delay_ns"])
def test_point_numbers_must_be_finite(record, field, number):
    with pytest.raises(ReportError, match=f"`{field}` must be a finite number"):
        replace(record.front[0], **{field: number})


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.json", "a/../../b.json"])
def test_assignment_must_stay_in_the_run_folder(record, name):
    with pytest.raises(ReportError, match="`assignment`"):
        replace(record.front[0], assignment=name)


def test_quality_must_lie_in_its_interval(record):
    with pytest.raises(ReportError, match="`quality` must lie in its interval"):
        replace(record.front[0], quality_low=99.0)
    with pytest.raises(ReportError, match="`validation` must lie in its interval"):
        replace(record.front[0], validation=Quality(80.0, 81.0, 82.0))
    with pytest.raises(ReportError, match="`float_quality` must hold finite numbers"):
        replace(record, float_quality=Quality(80.0, float("nan"), 82.0))


def test_front_must_be_sorted_by_power(record):
    with pytest.raises(ReportError, match="`front` must be sorted"):
        replace(record, front=record.front[::-1])


def test_front_labels_must_be_distinct(record):
    with pytest.raises(ReportError, match="`front` must have distinct labels"):
        replace(record, front=(record.front[0], record.front[0]))


def test_points_must_share_the_split_of_the_exact_model(record):
    stray = replace(record.front[1], split="validation")
    with pytest.raises(ReportError, match=r"`front\[0\]` must be on the split 'test'"):
        replace(record, front=(stray,))


def test_points_must_cover_every_layer(record):
    short = replace(record.uniform[2], layers=record.uniform[2].layers[1:])
    with pytest.raises(ReportError, match=r"`uniform\[0\].layers` .* 20 layers, got 19"):
        replace(record, uniform=(short,))


def test_number_of_samples_follows_the_split(record):
    assert record.n_samples == record.n_test
    exact = replace(record.exact, split="validation")
    assert replace(record, exact=exact, uniform=(), front=()).n_samples == record.n_validation


def test_failed_trial_has_no_quality():
    assert TrialRow(3, "failed", None, None).quality is None
    with pytest.raises(ReportError, match="`number` must be an integer in .*, got -1"):
        TrialRow(-1, "complete", 80.0, 0.5)


def edited(record, edit):
    document = json.loads(record.to_json())
    edit(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(schema=3), "`schema` of the run record must be 1 or 2, got 3"),
        (lambda d: d.update(schema=True), "`schema` of the run record must be 1 or 2, got True"),
        (lambda d: d.update(record=[]), "`record` must be an object"),
        (lambda d: d["record"].pop("seed"), r"check \['seed'\]"),
        (lambda d: d["record"].update(color=1), r"check \['color'\]"),
        (lambda d: d["record"].update(front={}), "`record.front` must be a list"),
        (
            lambda d: d["record"].update(seed="0"),
            r"`seed` must be an integer in 0\.\.2\*\*63 - 1, got '0'",
        ),
        (lambda d: d["record"]["front"][3].update(quality=None), r"record.front\[3\]`: `quality`"),
        (lambda d: d["record"]["exact"]["layers"][0].update(swap=1), "`swap` must be true or"),
        (lambda d: d["record"].update(float_quality=[1, 2]), r"must be \[value, low, high\]"),
        (lambda d: d["record"].update(float_quality=["a", 1, 2]), "must hold finite numbers"),
    ],
)
def test_damaged_json_names_the_field(record, edit, message):
    with pytest.raises(ReportError, match=message):
        RunRecord.from_json(edited(record, edit))


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "3", "[" * 100_000, '{"schema": 1' + "0" * 5000 + "}"]
)
def test_not_a_record_is_an_axopt_error(text):
    with pytest.raises(AxoptError, match="run record"):
        RunRecord.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quality", 10**400),
        ("quality", -(10**400)),
        ("quality_high", 1.7e308),
        ("quality_low", -1e308),
        ("rel_power", 1e101),
        ("label", "\ud800"),
        ("split", "x" * 10_001),
        ("assignment", "a\udfffb"),
    ],
)
def test_values_that_no_report_can_show_are_refused_by_name(record, field, value):
    with pytest.raises(ReportError, match=f"`{field}`") as caught:
        replace(record.front[0], **{field: value})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seconds", 10**400),
        ("budget", 2**63),
        ("title", "\udfff"),
        ("title", "T" * 1_000_000),
        ("options", {"rate": 10**5000}),
        ("options", {"rate\ud800": 1}),
        ("float_quality", Quality(1.0, -1e308, 1.7e308)),
    ],
)
def test_settings_that_no_report_can_show_are_refused_by_name(record, field, value):
    with pytest.raises(ReportError, match=f"`{field}`") as caught:
        replace(record, **{field: value})
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_report_errors_are_argument_errors():
    assert issubclass(ReportError, AxoptError)
    assert issubclass(ReportError, ValueError)


def test_nan_in_json_is_refused(record):
    text = record.to_json().replace('"seconds": 1834.5', '"seconds": NaN')
    with pytest.raises(ReportError, match="`seconds` must be a finite number"):
        RunRecord.from_json(text)


def test_wilson_helper_brackets_its_value():
    assert wilson(0.0).low == 0.0
    assert wilson(50.0).low < 50.0 < wilson(50.0).high


def test_json_round_trip_of_every_field(full_record):
    again = RunRecord.from_json(full_record.to_json())
    assert again == full_record
    assert again.front[0].drop_high == full_record.front[0].drop_high
    assert again.left_out[0].multiplications == 120_000
    assert again.options["crossover"] == 0.9


def test_a_record_of_schema_1_loads_with_defaults():
    # written by `axopt search --budget 30 --population 8` before schema 2
    text = (Path(__file__).parent / "assets" / "record_v1.json").read_text("utf-8")
    record = RunRecord.from_json(text)
    assert (record.model, record.n_evaluated, len(record.front)) == ("digits_cnn", 30, 3)
    assert (record.baseline, record.coverage, record.algorithm_asked) == (None, None, None)
    assert (record.left_out, record.notes, record.options) == ((), (), {})
    assert not record.partial
    assert all(point.drop is None and not point.dominated for point in record.front)
    assert RunRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": 1.0}, "`drop`, `drop_low` and `drop_high` must be all numbers or all null"),
        ({"drop": 1.0, "drop_low": 2.0, "drop_high": 3.0}, "`drop` must lie in its interval"),
        ({"drop": "1", "drop_low": 2.0, "drop_high": 3.0}, "`drop` must be a finite number"),
        ({"dominated": 1}, "`dominated` must be true or false"),
    ],
)
def test_drop_and_dominance_have_rules(record, changes, message):
    with pytest.raises(ReportError, match=message):
        replace(record.front[0], **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coverage": 1.5}, r"`coverage` must be in 0\.\.1, got 1\.5"),
        ({"coverage": float("nan")}, "`coverage` must be a finite number"),
        ({"notes": (3,)}, r"`notes\[0\]` must be a text of .* got 3"),
        ({"options": {"rate": float("inf")}}, "`options` must map names to .* 'rate': inf"),
        ({"options": {"rate": [1]}}, "`options` must map names to"),
        ({"partial": None}, "`partial` must be true or false"),
    ],
)
def test_extent_of_a_run_has_rules(record, changes, message):
    with pytest.raises(ReportError, match=message):
        replace(record, **changes)


def test_baseline_must_fit_the_other_points(record):
    with pytest.raises(ReportError, match="`baseline` must be on the split 'test'"):
        replace(record, baseline=replace(record.exact, split="validation"))


def test_records_that_do_not_say_so_mean_that_higher_is_better(record):
    document = json.loads(record.to_json())
    del document["record"]["higher_is_better"]
    assert RunRecord.from_json(json.dumps(document)) == record


def test_drops_are_relative_to_the_baseline(record, full_record):
    measured = full_record.front[0]
    assert full_record.drop(measured) == measured.drop
    unmeasured = replace(measured, drop=None, drop_low=None, drop_high=None)
    assert full_record.drop(unmeasured) == full_record.baseline.quality - measured.quality
    assert record.reference_point is record.exact
    assert record.drop(record.front[0]) == record.exact.quality - record.front[0].quality
