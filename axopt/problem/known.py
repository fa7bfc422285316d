"""What is known of objectives before any evaluation: values of the options of every gene."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.errors import ArgumentError
from axopt.exploration import Known
from axopt.model import EmulatedModel
from axopt.multipliers import Multiplier
from axopt.problem.candidate import Candidates
from axopt.problem.objectives import Objective, figure_of
from axopt.problem.options import Option

Values = tuple[tuple[float, ...], ...]
"""What options add to an objective: one tuple a gene with one value an option."""


def figures_of_genes(
    objective: Objective,
    options: Sequence[Sequence[Option]],
    macs: Sequence[int],
    reference: Multiplier,
) -> Values:
    """Return the values of an objective that follows from figures; () if it does not.

    Args:
        objective: The objective.
        options: The options of every gene.
        macs: Multiplications of every gene.
        reference: The multiplier that sums are relative to.
    """
    total = sum(macs)
    exact = figure_of(objective, reference)
    if exact is None:
        return ()
    every = {option.multiplier: 0.0 for of_gene in options for option in of_gene}
    figures = {m: figure for m in every if (figure := figure_of(objective, m)) is not None}
    if objective.combine == "max":
        return tuple(tuple(figures[o.multiplier] for o in of_gene) for of_gene in options)
    if total == 0 or exact <= 0:
        return ()
    return tuple(
        tuple(share / total * (figures[o.multiplier] / exact) for o in of_gene)
        for share, of_gene in zip(macs, options, strict=True)
    )


def powers_under_data(
    emulated: EmulatedModel,
    genes: Sequence[tuple[Sequence[str], Sequence[Option]]],
    reference: Multiplier,
    candidates: Candidates,
    *,
    order: bool,
) -> Values:
    """Return the values of relative power under data; () if the reference needs none.

    A layer's power depends on nothing but its own option and corrections. Every layer is
    corrected and simulated with every option for this, as the uniform assignments ask for too.

    Args:
        emulated: The model.
        genes: Layers and options of every gene.
        reference: The multiplier that powers are relative to.
        candidates: Settles the corrections of layers.
        order: Whether corrections may choose operand orders.
    """
    from axopt.layers.powers import LayerPowers  # gate lists, which most searches never need

    exact = sum(
        emulated.macs[name] * LayerPowers.of(layer).reference_mw(reference)
        for name, layer in emulated.emulated_layers.items()
    )
    if exact <= 0:
        return ()
    return tuple(
        tuple(
            candidates.power_under_data(names, option, order=order) / exact for option in options
        )
        for names, options in genes
    )


def kinds_of_genes(
    options: Sequence[Sequence[Option]], every: Sequence[Option]
) -> tuple[tuple[int, ...], ...]:
    """Return the number of the multiplier of every option of every gene.

    Args:
        options: The options of every gene.
        every: The options that some gene has. Multipliers are numbered in this order; equal
            tables have one number.
    """
    numbers: dict[tuple[bool, str], int] = {}
    for option in every:
        numbers.setdefault((option.multiplier.signed, option.multiplier.digest), len(numbers))
    return tuple(
        tuple(numbers[o.multiplier.signed, o.multiplier.digest] for o in of_gene)
        for of_gene in options
    )


def check_reachable(argument: str, limit: float, known: Sequence[Known], objective: int) -> None:
    """Refuse a limit of an objective that is a sum and that no point can keep.

    Raises:
        ArgumentError: If the smallest sum is above the limit.
    """
    for found in known:
        if found.objective == objective and found.exact and found.combine == "sum":
            least = sum(map(min, found.values))
            if least > limit:
                raise ArgumentError(
                    f"`{argument}` must be at least {least:.4f}, got {limit:g}: no assignment of "
                    "these multipliers has less."
                )
