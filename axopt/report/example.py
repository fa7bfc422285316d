"""A small record, made up, for examples in docstrings and for tests of exporters."""

from axopt.report.entries import Layer, LayerOption, LeftOut, TrialRow
from axopt.report.record import Point, Quality, RunRecord

EXACT, SAVING, CHEAP = "v1/mul8s_1KV8", "v1/mul8s_1L2H", "v1/mul8s_1KR3"


def example_record() -> RunRecord:
    """Return the record of a made-up search: two layers, three points of a front.

    Example:
        >>> record = example_record()
        >>> [layer.name for layer in record.layers], [point.label for point in record.front]
        (['conv', 'fc'], ['point-00', 'point-01', 'point-02'])
    """
    baseline = _point("baseline", 99.2, 1.0, (EXACT, EXACT), validation=True)
    front = (
        _point("point-00", 99.2, 0.82, (SAVING, EXACT), drop=0.0, file=True),
        _point("point-01", 98.6, 0.71, (SAVING, SAVING), drop=0.6, dominated=True, file=True),
        _point("point-02", 98.9, 0.25, (CHEAP, EXACT), drop=0.3, file=True),
    )
    return RunRecord(
        title="small_cnn on digits",
        model="small_cnn",
        data="digits",
        metric="top1",
        unit="%",
        n_validation=359,
        n_test=359,
        algorithm="nsga2",
        seed=0,
        budget=4,
        n_evaluated=4,
        n_cached=0,
        n_failed=1,
        stop_reason="budget",
        seconds=1.5,
        reference=EXACT,
        layers=(Layer("conv", "conv2d", 9216), Layer("fc", "linear", 640)),
        exact=_point("exact", 99.0, 1.0, (EXACT, EXACT)),
        float_quality=Quality(99.2, 97.6, 99.7),
        uniform=(
            _point(EXACT, 99.2, 1.0, (EXACT, EXACT)),
            _point(CHEAP, 96.9, 0.12, (CHEAP, CHEAP)),
        ),
        front=front,
        trials=(
            TrialRow(0, "complete", 99.4, 1.0),
            TrialRow(1, "complete", 97.2, 0.12),
            TrialRow(2, "failed", None, None),
            TrialRow(3, "complete", 98.9, 0.25),
        ),
        metric_title="Top-1 accuracy",
        baseline=baseline,
        coverage=0.995,
        left_out=(LeftOut("head.matmul", 50),),
    )


def _point(
    label: str,
    quality: float,
    rel_power: float,
    multipliers: tuple[str, str],
    drop: float | None = None,
    dominated: bool = False,
    file: bool = False,
    validation: bool = False,
) -> Point:
    quality_seen = Quality(quality, quality - 1.5, min(100.0, quality + 0.5))
    return Point(
        label=label,
        split="test",
        quality=quality,
        quality_low=quality - 1.5,
        quality_high=min(100.0, quality + 0.5),
        rel_power=rel_power,
        rel_area=rel_power,
        delay_ns=1.4,
        layers=tuple(LayerOption(multiplier, False) for multiplier in multipliers),
        assignment=f"assignments/{label}.json" if file else "",
        validation=quality_seen if file or validation else None,
        drop=drop,
        drop_low=None if drop is None else drop - 0.4,
        drop_high=None if drop is None else drop + 0.4,
        dominated=dominated,
    )
