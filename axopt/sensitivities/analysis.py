"""`sensitivity`: what each multiplier costs in each layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from axopt.corrections import Corrections
from axopt.data import Dataset, Split
from axopt.errors import ArgumentError
from axopt.evaluation import BATCH_SIZE, Metric
from axopt.model import Assignment, EmulatedModel
from axopt.multipliers import Multiplier, MultiplierLibrary
from axopt.problem import AssignmentProblem, Candidate, LayerSetting, Measured, Option, options_of
from axopt.problem.groups import Groups
from axopt.problem.objectives import DIVERGENCE
from axopt.sensitivities.bases import Around, Base, base_of, label_of
from axopt.sensitivities.gradients import PASSES, estimated_values
from axopt.sensitivities.measured import Measurements, OnStep
from axopt.sensitivities.result import GRADIENT, MEASURED, METHODS, Sensitivity, Values

Place = tuple[int, int]
"""Number of a gene, and of an option of it."""

CHECKED = 12
"""Default number of measured values that check estimates."""

SAMPLES = 128
"""Default number of samples: divergences on 128 rank assignments as those on 500 do."""


def sensitivity(
    emulated: EmulatedModel,
    data: Dataset | Split,
    *,
    library: MultiplierLibrary | Iterable[str | Multiplier] | None = None,
    reference: Multiplier | None = None,
    samples: int | None = SAMPLES,
    around: str | Assignment | Mapping[str, str] = "exact",
    method: str = MEASURED,
    check: int = CHECKED,
    groups: Groups | None = None,
    operand_order: bool = False,
    metric: str | Metric = "top1",
    objective: str = "divergence",
    divergence_outputs: Mapping[str, float] | None = None,
    correct: bool | Corrections = True,
    batch_size: int = BATCH_SIZE,
    on_step: Callable[[int, int], object] | None = None,
) -> Sensitivity:
    """Measure what each multiplier costs in each layer, one change at a time.

    It shows which layers break a network, and which tolerate cheap multipliers. Assignments share
    the results of the layers before the changed one, so that the cost is about half of that of as
    many evaluations.

    Args:
        emulated: A model made by `prepare`; its assignment stays as it is.
        data: Samples: of a data set the validation split. Labels are needed for metrics that
            compare with labels, not for the divergence.
        library: Multipliers, or their names in the bundled library; by default the 13 signed
            multipliers of release v1.
        reference: The exact multiplier; see `axopt.search`.
        samples: How many samples to use, balanced over the classes; all if None or if there are
            fewer.
        around: The base assignment: "exact"; "uniform" for a uniform assignment that is chosen by
            its loss; the name of a multiplier for every layer; or an `Assignment` or a mapping
            of layers to multipliers, exact in the layers that it does not name.
        method: "measured"; or "gradient" for estimates of the divergence from backward passes,
            which cost one call of each layer for each option and a few passes.
        check: For "gradient": how many values are also measured, to show the rank correlation.
        groups: Layers that share a multiplier, see `axopt.search`.
        operand_order: Whether operand orders of multipliers that do not commute are options.
        metric: The metric of the task.
        objective: What is measured besides the metric; see `axopt.search`.
        divergence_outputs: Path of an output -> weight of its divergence; see `axopt.search`.
        correct: Corrections that layers may get; see `axopt.search`.
        batch_size: Samples at a time; results do not depend on it.
        on_step: Called with the number of steps done and of all.

    Returns:
        Objective and metric for every option of every layer.

    Raises:
        ArgumentError: If an argument breaks its rule.
        DatasetError: If the metric needs labels and there are none.
        UnknownLayerError: If ``groups`` or ``around`` names a layer that the model does not have.

    Example:
        >>> import axopt, torch
        >>> from axopt.data import Split
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 3))
        >>> samples = Split(torch.rand(60, 8), torch.arange(60) % 3)
        >>> emulated = axopt.prepare(net, samples.batches(60))
        >>> found = axopt.sensitivity(emulated, samples, library=["mul8s_1KV8", "mul8s_1L2D"])
        >>> found.names, found.options[0]
        (('0', '1'), ('v1/mul8s_1KV8', 'v1/mul8s_1L2D'))
        >>> found.values[0][0], found.values[0][1] > 0
        (0.0, True)
    """
    if not isinstance(emulated, EmulatedModel):
        raise ArgumentError(
            f"`emulated` must be a model made by `axopt.prepare`, got {type(emulated).__name__}."
        )
    if not isinstance(data, Dataset | Split):
        raise ArgumentError(f"`data` must be a Dataset or a Split, got {type(data).__name__}.")
    split = data.validation if isinstance(data, Dataset) else data
    problem = AssignmentProblem(
        emulated,
        split,
        options_of(library, operand_order),
        reference=reference,
        metric=metric,
        objective=objective,
        divergence_outputs=divergence_outputs,
        correct=correct,
        groups=groups,
        batch_size=batch_size,
    )
    before = Candidate(
        {
            name: LayerSetting(layer.multiplier, layer.swap, layer.correction)
            for name, layer in emulated.emulated_layers.items()
        }
    )
    try:
        return sensitivity_of(
            problem, samples, around=around, method=method, check=check, on_step=on_step
        )
    finally:
        before.apply_(emulated)


def sensitivity_of(
    problem: AssignmentProblem,
    samples: int | None = SAMPLES,
    *,
    around: Around = "exact",
    method: str = MEASURED,
    check: int = CHECKED,
    on_step: Callable[[int, int], object] | None = None,
) -> Sensitivity:
    """Measure the sensitivities of a problem on its samples.

    Args:
        problem: Genes and options; another assignment is applied to its model.
        samples: See `sensitivity`.
        around: See `sensitivity`.
        method: See `sensitivity`.
        check: See `sensitivity`.
        on_step: See `sensitivity`.

    Returns:
        The sensitivities.

    Raises:
        ArgumentError: If an argument breaks its rule.

    Example:
        >>> import axopt, torch
        >>> from axopt.data import Split
        >>> from axopt.problem import AssignmentProblem, options_of
        >>> samples = Split(torch.rand(30, 4), torch.arange(30) % 3)
        >>> emulated = axopt.prepare(torch.nn.Linear(4, 3), samples.batches(30))
        >>> options = options_of(["mul8s_1KV8", "mul8s_1L2H"], False)
        >>> sensitivity_of(AssignmentProblem(emulated, samples, options)).samples
        30
    """
    if type(check) is not int or check < 0:
        raise ArgumentError(f"`check` must be an integer >= 0, got {check!r}.")
    if method == GRADIENT and problem.objective_names[0] != DIVERGENCE:
        raise ArgumentError(
            f"`method`={GRADIENT!r} estimates the divergence, but `objective` is "
            f"{problem.objective_names[0]!r}."
        )
    if method not in METHODS:
        raise ArgumentError(f"`method` must be one of {', '.join(METHODS)}, got {method!r}.")
    if samples is not None and (type(samples) is not int or samples < 1):
        raise ArgumentError(f"`samples` must be an integer >= 1, got {samples!r}.")
    split = problem.split
    if samples is not None and samples < len(split):
        split = split.take(samples)
    measurements = Measurements(problem, split)
    base = base_of(measurements, around)
    found = _estimated if method == GRADIENT else _measured
    return found(measurements, base, check, on_step)


def _measured(
    measurements: Measurements, base: Base, _: int, on_step: OnStep | None
) -> Sensitivity:
    """Return the result of an evaluation for every option of every gene."""
    problem = measurements.problem
    places = _places(problem, base)
    exact, own, *points = measurements.measure(
        [_exact(problem), base.options, *(_changed(problem, base, p) for p in places)], on_step
    )
    values = dict(zip(places, (problem.objectives(point)[0] for point in points), strict=True))
    qualities = dict(zip(places, (point.quality.value for point in points), strict=True))
    return _result(
        measurements,
        base,
        (exact, own),
        values=_filled(problem, values, problem.objectives(own)[0]),
        qualities=_filled(problem, qualities, own.quality.value),
        method=MEASURED,
    )


def _estimated(
    measurements: Measurements, base: Base, check: int, on_step: OnStep | None
) -> Sensitivity:
    """Return the result of gradients, and of a few evaluations that check it."""
    problem = measurements.problem
    exact, own = measurements.measure([_exact(problem), base.options])
    value = problem.objectives(own)[0]
    estimates = estimated_values(problem, base, value, measurements.split, on_step)
    places = _places(problem, base)
    n_layers = sum(map(len, problem.genes.values()))
    calls = sum(len(list(problem.genes.values())[gene]) for gene, _ in places)
    measurements.pay(PASSES + calls / n_layers)
    agreement = None
    checked = _spread(places, estimates, check)
    if checked:
        points = measurements.measure([_changed(problem, base, place) for place in checked])
        values = [problem.objectives(point)[0] for point in points]
        agreement = rank_correlation([estimates[g][n] for g, n in checked], values)
    return _result(
        measurements,
        base,
        (exact, own),
        values=estimates,
        qualities=None,
        method=GRADIENT,
        agreement=agreement,
        checked=0 if agreement is None else len(checked),
    )


def _result(
    measurements: Measurements, base: Base, points: tuple[Measured, Measured], **found: Any
) -> Sensitivity:
    """Return the result; ``points`` are the exact network and the base."""
    problem = measurements.problem
    exact, own = points
    return Sensitivity(
        names=tuple(problem.genes),
        layers=tuple(problem.genes.values()),
        options=tuple(tuple(map(label_of, options)) for options in problem.options_of_genes),
        around=base.around,
        base=tuple(map(label_of, base.options)),
        base_value=problem.objectives(own)[0],
        base_quality=own.quality.value,
        exact_quality=exact.quality.value,
        reference=problem.reference.key,
        objective=problem.objective_names[0],
        metric=problem.metric.name,
        unit=problem.metric.unit,
        higher_is_better=problem.metric.higher_is_better,
        samples=len(measurements.split),
        sample_layers=measurements.sample_layers,
        evaluations=measurements.evaluations,
        **found,
    )


def rank_correlation(some: Sequence[float], others: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation of two lists of values; None if one is constant.

    Args:
        some: Values.
        others: As many values.
    """
    import pandas as pd

    found = float(pd.Series(list(some)).rank().corr(pd.Series(list(others)).rank()))
    return None if found != found else found


def _spread(places: Sequence[Place], values: Values, count: int) -> list[Place]:
    """Return changes whose values are spread evenly over the ranks, those of last genes first."""
    by_value = sorted(places, key=lambda place: values[place[0]][place[1]])
    count = min(count, len(by_value))
    chosen = {round(i * (len(by_value) - 1) / max(count - 1, 1)) for i in range(count)}
    kept = {by_value[rank] for rank in chosen}
    return [place for place in places if place in kept]


def _exact(problem: AssignmentProblem) -> Sequence[Option]:
    return [Option(problem.reference, False)] * len(problem.genes)


def _places(problem: AssignmentProblem, base: Base) -> list[Place]:
    """Return the changes of a base, those of the last genes first.

    In this order, the results of layers before the changed one are those used most recently.
    """
    return [
        (gene, number)
        for gene, options in reversed(list(enumerate(problem.options_of_genes)))
        for number, option in enumerate(options)
        if option != base.options[gene]
    ]


def _changed(problem: AssignmentProblem, base: Base, place: Place) -> Sequence[Option]:
    """Return the options of a base with one change."""
    gene, number = place
    option = problem.options_of_genes[gene][number]
    return (*base.options[:gene], option, *base.options[gene + 1 :])


def _filled(problem: AssignmentProblem, found: Mapping[Place, float], of_base: float) -> Values:
    """Return a value an option of every gene: that of the base where nothing was changed."""
    return tuple(
        tuple(found.get((gene, number), of_base) for number in range(size))
        for gene, size in enumerate(problem.space.sizes)
    )
