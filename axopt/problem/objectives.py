"""What a search minimises: the registry of objectives. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from axopt.errors import ArgumentError, described
from axopt.registry import Registry, blamed_on

if TYPE_CHECKING:
    from axopt.evaluation import Evaluation, Metric
    from axopt.model import Cost, EmulatedModel
    from axopt.multipliers import Multiplier
    from axopt.problem.candidate import Candidate

DIVERGENCE = "divergence"
"""The objective that comes first by default."""

ERROR = "error"
"""The error of the metric of the task."""

POWER_UNDER_DATA = "rel_power_activity"
"""Relative power under the layers' own data."""


@dataclass(frozen=True)
class Measured:
    """A candidate that was measured: what an objective is computed from.

    Attributes:
        candidate: The multiplier, operand order and correction of every layer.
        emulated: The model, with the candidate applied.
        cost: Hardware cost of its multipliers.
        quality: Quality on the samples that it was measured on.
        metric: The metric of ``quality``.
        cost_under_data: Hardware cost with power under the layers' own data; None where no
            objective of the search needs it.
        divergence: Mean divergence of the outputs from those of the exact network on the samples;
            None where they were not compared.
        others: Name of another metric that an objective needs -> its value.
        reference: The exact multiplier that relative figures refer to; None for the one of
            `axopt.cost`.

    Example:
        >>> from axopt.problem import Measured
        >>> "divergence" in Measured.__dataclass_fields__
        True
    """

    candidate: Candidate
    emulated: EmulatedModel
    cost: Cost
    quality: Evaluation
    metric: Metric
    cost_under_data: Cost | None = None
    divergence: float | None = None
    others: Mapping[str, Evaluation] = field(default_factory=dict)
    reference: Multiplier | None = None


@dataclass(frozen=True)
class Objective:
    """A figure of a candidate that a search can minimise.

    Attributes:
        name: Its name in code, on the command line and in files.
        function: A measured candidate -> the value, a finite number; smaller is better.
        title: Its name in tables and plots.
        unit: "%", "ns", ..., or "" for a plain number.
        multiplier_figure: Figure of one multiplier that the objective follows from. Algorithms
            then know the objective before any evaluation.
        combine: How: "sum" for the mean over the layers, weighted by their multiplications and
            relative to the reference multiplier; "max" for the largest figure in use; "distinct"
            for the number of distinct multipliers in use, which needs no figure.
        check: Raises an `AxoptError` for a multiplier whose value cannot be computed; it is
            called for all multipliers of a search before the first evaluation.

    Example:
        >>> from axopt.problem import OBJECTIVES
        >>> OBJECTIVES["delay_ns"].unit
        'ns'
    """

    name: str
    function: Callable[[Measured], float]
    title: str
    unit: str
    multiplier_figure: Callable[[Multiplier], float] | None = None
    check: Callable[[Multiplier], object] | None = None
    combine: str = "sum"


def value_of(objective: Objective, point: Measured) -> float:
    """Compute an objective of a measured candidate.

    Raises:
        ArgumentError: If its function returns no number.
        PluginError: If its function fails.
    """
    with blamed_on("objective", objective.name, "function"):
        value = objective.function(point)
    number = _number(value)
    if number is None:
        raise ArgumentError(
            f"objective {objective.name!r} must be a number, got {described(value)}."
        )
    return number


def figure_of(objective: Objective, multiplier: Multiplier) -> float | None:
    """Compute the figure of a multiplier that an objective follows from.

    Returns:
        The figure, or None if the objective does not follow from figures.

    Raises:
        ArgumentError: If ``multiplier_figure`` returns no finite number.
        PluginError: If it fails.
    """
    if objective.multiplier_figure is None:
        return None
    with blamed_on("objective", objective.name, "multiplier_figure"):
        value = objective.multiplier_figure(multiplier)
    number = _number(value)
    if number is None or not isfinite(number):
        raise ArgumentError(
            f"`multiplier_figure` of the objective {objective.name!r} must return a finite "
            f"number, got {described(value)} for {multiplier.key}."
        )
    return number


def _number(value: Any) -> float | None:
    """Return a number of any package as a float, None for anything else."""
    try:
        return None if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last one of torch
        return None


class ObjectiveRegistry(Registry[Objective], Mapping[str, Objective]):
    """The known objectives by name; see `Registry`."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


OBJECTIVES = ObjectiveRegistry(
    "objective", group="axopt.objectives", argument="objectives", kind=Objective
)
"""The objectives by name: those of axopt, of `register_objective` and of installed packages.

* ``divergence``: mean divergence of the outputs from those of the exact 8-bit network with the
  same corrections, see `axopt.evaluation.References`; what a search minimises first by default.
* ``error``: the error of the metric of the task.
* ``rel_power``, ``rel_area``: mean power and area of the multipliers, weighted by the layers'
  multiplications, relative to the reference multiplier.
* ``rel_power_activity``: like ``rel_power``, but with power under each layer's own data, see
  `axopt.cost`. Every multiplier needs a gate list. A layer is simulated once for each multiplier,
  order and correction, for about 10 ms, and corrected with all of them before the first trial:
  algorithms know the objective then, as they know ``rel_power`` (`SearchSpace.known`).
* ``rel_energy``: mean power-delay product of the multipliers, weighted and relative likewise: the
  energy of the multiplications if each takes as long as its multiplier needs. At a fixed clock,
  energy is proportional to power, and ``rel_power`` is the relative energy, as in [Mrazek2019]_.
* ``delay_ns``: largest delay of the multipliers in use.
* ``distinct``: number of distinct multipliers in use; equal tables count once.

.. [Mrazek2019] V. Mrazek et al., "ALWANN: Automatic Layer-Wise Approximation of Deep Neural
   Network Accelerators without Retraining", ICCAD 2019.
"""


def register_objective(
    name: str,
    function: Callable[[Measured], float],
    *,
    title: str,
    unit: str,
    multiplier_figure: Callable[[Multiplier], float] | None = None,
    check: Callable[[Multiplier], object] | None = None,
    combine: str = "sum",
) -> Objective:
    """Make an objective known to `search` and to the command line by its name.

    Args:
        name: A new name; a search stores it.
        function: A measured candidate (see `Measured`) -> a finite number; smaller is better. It
            must depend on the candidate only, so that a search can be resumed. A trial for which
            it returns anything else has failed, with that as the reason.
        title: Its name in tables and plots.
        unit: Its unit, "" for a plain number.
        multiplier_figure: Figure of one multiplier, a finite number, if the objective follows
            from these; see `Objective`.
        check: Raises an `AxoptError` for a multiplier whose value cannot be computed.
        combine: How the objective follows from the multipliers: "sum", "max" or "distinct"; see
            `Objective`.

    Returns:
        The objective.

    Raises:
        ArgumentError: If the name is taken, ``function``, ``multiplier_figure`` or ``check`` is
            not callable, ``title`` or ``unit`` is no printable text, or ``combine`` is none of
            its values.

    Example:
        >>> from axopt.problem import OBJECTIVES, register_objective
        >>> objective = register_objective(
        ...     "energy", lambda point: point.cost.power_mw_macs, title="energy", unit="mW MACs"
        ... )
        >>> "energy" in OBJECTIVES
        True
        >>> OBJECTIVES.remove("energy")
    """
    if not callable(function):
        raise ArgumentError(f"`function` must be callable, got {type(function).__name__}.")
    if multiplier_figure is not None and not callable(multiplier_figure):
        raise ArgumentError(f"`multiplier_figure` must be callable, got {multiplier_figure!r}.")
    if check is not None and not callable(check):
        raise ArgumentError(f"`check` must be callable, got {check!r}.")
    for argument, text in (("title", title), ("unit", unit)):
        if not isinstance(text, str) or not text.isprintable():
            raise ArgumentError(f"`{argument}` must be a printable text, got {text!r}.")
    if combine not in ("sum", "max", "distinct"):
        raise ArgumentError(f"`combine` must be sum, max or distinct, got {combine!r}.")
    objective = Objective(name, function, title, unit, multiplier_figure, check, combine)
    OBJECTIVES.add(name, objective)
    return objective


def of_metric(metric: Metric) -> Objective:
    """Return the objective that is the error of a metric, which need not be that of the task.

    Args:
        metric: The metric.
    """

    def error(point: Measured) -> float:
        same = metric.name == point.metric.name
        quality = point.quality if same else point.others[metric.name]
        return metric.error(quality.value)

    return Objective(metric.error_name, error, f"error of {metric.title}", metric.unit)


def _divergence(point: Measured) -> float:
    if point.divergence is None:  # measured by other code than that of a search
        raise ArgumentError("`divergence` of what was measured must be a number, got None.")
    return point.divergence


def _power_under_data(point: Measured) -> float:
    found = point.cost_under_data
    if found is None:  # measured by other code than that of a search
        raise ArgumentError("`cost_under_data` of what was measured must be a Cost, got None.")
    return found.rel_power


def _power_delay(multiplier: Multiplier) -> float:
    """Return the power-delay product of a multiplier in pJ."""
    return multiplier.power_mw * multiplier.delay_ns


def _rel_energy(point: Measured) -> float:
    reference = point.reference
    if reference is None:
        from axopt.multipliers import load_library

        reference = load_library()[point.cost.reference]
    macs, layers = point.emulated.macs, point.candidate.layers
    energy = sum(macs[name] * _power_delay(s.multiplier) for name, s in layers.items())
    exact = sum(macs[name] * _power_delay(reference) for name in layers)
    return energy / exact if exact > 0 else 1.0


def _with_gates(multiplier: Multiplier) -> None:
    from axopt.circuits import netlist_of  # needs NumPy, which `axopt --help` must not import

    netlist_of(multiplier)


register_objective(DIVERGENCE, _divergence, title="divergence from the exact network", unit="")
register_objective(
    ERROR, lambda point: point.metric.error(point.quality.value), title="error", unit=""
)
register_objective(
    "rel_power",
    lambda point: point.cost.rel_power,
    title="relative power",
    unit="",
    multiplier_figure=lambda multiplier: multiplier.power_mw,
)
register_objective(
    "rel_area",
    lambda point: point.cost.rel_area,
    title="relative area",
    unit="",
    multiplier_figure=lambda multiplier: multiplier.area_um2,
)
register_objective(
    "rel_energy", _rel_energy, title="relative energy", unit="", multiplier_figure=_power_delay
)
register_objective(
    POWER_UNDER_DATA,
    _power_under_data,
    title="relative power under data",
    unit="",
    check=_with_gates,
)
register_objective(
    "distinct",
    lambda point: len(
        {(s.multiplier.signed, s.multiplier.digest) for s in point.candidate.layers.values()}
    ),
    title="distinct multipliers",
    unit="",
    combine="distinct",
)
register_objective(
    "delay_ns",
    lambda point: point.cost.delay_ns,
    title="delay",
    unit="ns",
    multiplier_figure=lambda multiplier: multiplier.delay_ns,
    combine="max",
)
