"""Assignments with few distinct multipliers: hardware has few kinds of them."""

from __future__ import annotations

from collections.abc import Sequence

from axopt.exploration import Genes
from axopt.multipliers import Multiplier
from axopt.problem.options import Option


def limited(genes: Genes, options: Sequence[Option], macs: Sequence[int], most: int) -> Genes:
    """Return genes with at most ``most`` distinct multipliers.

    While there are more, the multiplier that does the smallest share of the multiplications is
    replaced by the remaining one that is nearest to it in power, in the same operand order if that
    is an option. Of equal ones, the one with the lower power goes or is taken.

    Args:
        genes: The option of every gene.
        options: The options, the same for every gene.
        macs: Multiplications of every gene.
        most: Most distinct multipliers, at least 1.

    Returns:
        The genes; those given if they are within the limit.

    Example:
        >>> from axopt.problem import options_of
        >>> options = options_of(["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L1G"], False)
        >>> limited((0, 1, 2), options, macs=[10, 5, 20], most=2)
        (0, 0, 2)
    """
    while True:
        used: dict[str, int] = {}
        for gene, count in zip(genes, macs, strict=True):
            digest = _table_of(options[gene].multiplier)
            used[digest] = used.get(digest, 0) + count
        if len(used) <= most:
            return genes
        first = {
            _table_of(options[gene].multiplier): options[gene].multiplier
            for gene in sorted(genes, reverse=True)
        }
        gone = min(used, key=lambda table: (used[table], first[table].power_mw, table))
        power = first.pop(gone).power_mw
        kept = min(first.values(), key=lambda m: (abs(m.power_mw - power), m.power_mw, m.key))
        genes = tuple(
            _number_of(kept, options[gene].swap, options)
            if _table_of(options[gene].multiplier) == gone
            else gene
            for gene in genes
        )


def _table_of(multiplier: Multiplier) -> str:
    return f"{multiplier.signed}{multiplier.digest}"


def _number_of(multiplier: Multiplier, swap: bool, options: Sequence[Option]) -> int:
    """Return the option of a multiplier in an order; in its only order if it has one."""
    numbers = {o.swap: n for n, o in enumerate(options) if o.multiplier is multiplier}
    return numbers[swap] if swap in numbers else numbers[not swap]
