"""A synthetic record in the manner of a ResNet-20 run, and smaller and larger ones."""

from dataclasses import replace
from math import sqrt

from axopt.report.record import Layer, LayerOption, LeftOut, Point, Quality, RunRecord, TrialRow

N_TEST = 10_000
EXACT = 81.65
REFERENCE = "v1/mul8s_1KV8"
UNIFORM = {  # power in mW, accuracy when used everywhere
    REFERENCE: (0.425, EXACT),
    "v1/mul8s_1KVA": (0.422, 81.6),
    "v1/mul8s_1KVB": (0.410, 81.3),
    "v1/mul8s_1KX2": (0.391, 72.4),
    "v1/mul8s_1KR8": (0.369, 80.7),
    "v1/mul8s_1KR6": (0.363, 80.5),
    "v1/mul8s_1KRC": (0.351, 74.9),
    "v1/mul8s_1L2H": (0.301, 72.7),
    "v1/mul8s_1KVL": (0.289, 55.1),
    "v1/mul8s_1KTY": (0.237, 69.9),
    "v1/mul8s_1L2D": (0.200, 29.5),
    "v1/mul8s_1L1G": (0.126, 12.8),
    "v1/mul8s_1KR3": (0.052, 10.0),
}
KEYS = tuple(UNIFORM)


def wilson(percent: float, n: int = N_TEST) -> Quality:
    z = 1.959963984540054
    p = percent / 100
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Quality(percent, 100 * min(p, middle - half), 100 * max(p, middle + half))


def make_point(
    label: str,
    quality: float,
    rel_power: float,
    layers: tuple[LayerOption, ...],
    assignment: str = "",
) -> Point:
    interval = wilson(quality)
    return Point(
        label=label,
        split="test",
        quality=interval.value,
        quality_low=interval.low,
        quality_high=interval.high,
        rel_power=rel_power,
        rel_area=0.3 + 0.7 * rel_power,
        delay_ns=1.48 - 0.3 * (1 - rel_power),
        layers=layers,
        assignment=assignment,
        validation=wilson(quality + 0.2, 1000) if assignment else None,
    )


def make_front(n_points: int, n_layers: int) -> tuple[Point, ...]:
    points = []
    for i in range(n_points):
        share = i / max(n_points - 1, 1)
        power = 0.97 - 0.72 * share
        quality = EXACT + 0.1 * ((i * 7) % 3 - 1) - 3.4 * share**3 - 70 * max(0, share - 0.93)
        layers = tuple(
            LayerOption(KEYS[(i * 5 + k * 3) % (1 + min(12, i // 2))], (i + k) % 4 == 0)
            for k in range(n_layers)
        )
        name = f"point-{i:02d}"
        points.append(make_point(name, quality, power, layers, f"assignments/{name}.json"))
    return tuple(points)


def make_trials(count: int) -> tuple[TrialRow, ...]:
    trials = []
    for i in range(count):
        power = 0.2 + 0.8 * ((i * 37) % 101) / 100
        loss = ((i * 53) % 97) / 97 * 25 + 12 * (1 - power) ** 3
        failed = i % 50 == 49
        state = "failed" if failed else "complete"
        trials.append(
            TrialRow(i, state, None if failed else EXACT - loss, None if failed else power)
        )
    return tuple(trials)


def make_record(
    *,
    n_front: int = 24,
    n_layers: int = 20,
    n_trials: int = 500,
    uniform: bool = True,
    title: str = "ResNet-20 on CIFAR-10",
    layer_name: str = "layer{group}.{block}.conv",
) -> RunRecord:
    layers = tuple(
        Layer(layer_name.format(group=k // 7 + 1, block=k), "Conv2d", 442_368 + 300_000 * (k % 5))
        for k in range(n_layers)
    )
    same = {key: (LayerOption(key, False),) * n_layers for key in KEYS}
    points = tuple(
        make_point(key, quality, power / 0.425, same[key])
        for key, (power, quality) in UNIFORM.items()
    )
    return RunRecord(
        title=title,
        model="resnet20",
        data="cifar10:../shared/data/cifar10-jpeg.zip",
        metric="top1",
        unit="%",
        n_validation=1000,
        n_test=N_TEST,
        algorithm="nsga2",
        seed=0,
        budget=500,
        n_evaluated=n_trials,
        n_cached=41,
        n_failed=sum(trial.quality is None for trial in make_trials(n_trials)),
        stop_reason="budget spent",
        seconds=1834.5,
        reference=REFERENCE,
        layers=layers,
        exact=make_point("exact", EXACT, 1.0, same[REFERENCE]),
        float_quality=wilson(82.1),
        uniform=points if uniform else (),
        front=make_front(n_front, n_layers),
        trials=make_trials(n_trials),
    )


def make_full_record() -> RunRecord:
    """A record with every field: a baseline, drops, dominated points, coverage, notes."""
    record = make_record()
    baseline = make_point("baseline", EXACT + 0.1, 1.0, record.exact.layers)
    points = [with_drop(point, baseline.quality) for point in record.front]
    best = [max((p.quality for p in points[i + 1 :]), default=0) for i in range(len(points))]
    return replace(
        record,
        front=tuple(
            replace(point, dominated=cheaper >= point.quality)
            for point, cheaper in zip(points, best, strict=True)
        ),
        uniform=tuple(with_drop(point, baseline.quality) for point in record.uniform),
        baseline=baseline,
        metric_title="Share of right answers",
        coverage=0.9749,
        left_out=(LeftOut("head.matmul", 120_000), LeftOut("gate", 300)),
        algorithm="exhaustive",
        algorithm_asked="nsga2",
        options={"crossover": 0.9, "elitist": True, "start": None, "mutation": "bit"},
        notes=("The budget leaves no generation beyond the uniform and random points.",),
        partial=True,
        objectives=("divergence", "rel_power"),
        corner=(0.2, 1.0),
        hypervolumes=tuple(0.15 * (1 - 0.97 ** (i // 7)) for i in range(len(record.trials))),
    )


def with_drop(point: Point, baseline: float) -> Point:
    drop = baseline - point.quality
    return replace(point, drop=drop, drop_low=drop - 0.3, drop_high=drop + 0.4)
