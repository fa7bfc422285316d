"""Assignments with few distinct multipliers: hardware has few kinds of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from axopt.exploration import Genes
from axopt.multipliers import Multiplier
from axopt.problem.options import Option

Table = tuple[bool, str]
"""What tells multipliers apart: those with equal tables are one."""


def limited(
    genes: Genes, options: Sequence[Sequence[Option]], macs: Sequence[int], most: int
) -> Genes:
    """Return genes with at most ``most`` distinct multipliers.

    While there are more, the multiplier that does the smallest share of the multiplications is
    replaced by the remaining one that is nearest to it in power, in the same operand order if that
    is an option. Of equal ones, the one with the lower power goes or is taken. A multiplier stays
    if a gene that uses it may have none of the others. If all stay, the point gets the first set
    of multipliers that serves all genes, by falling shares of the multiplications.

    Args:
        genes: The option of every gene.
        options: The options of every gene.
        macs: Multiplications of every gene.
        most: Most distinct multipliers, at least `fewest` of these options.

    Returns:
        The genes; those given if they are within the limit.

    Example:
        >>> from axopt.problem import options_of
        >>> options = options_of(["mul8s_1KV8", "mul8s_1L2H", "mul8s_1L1G"], False)
        >>> limited((0, 1, 2), [options] * 3, macs=[10, 5, 20], most=2)
        (0, 0, 2)
    """
    while True:
        shares = _shares(genes, options, macs)
        if len(shares) <= most:
            return genes
        first = _first_of_tables(genes, options)
        for gone in sorted(shares, key=lambda t: (shares[t], first[t].power_mw, t[1], t[0])):
            left = {table: multiplier for table, multiplier in first.items() if table != gone}
            without = _replaced(genes, options, gone, first[gone].power_mw, left)
            if without is not None:
                genes = without
                break
        else:
            return _served(genes, options, shares, most)


def fewest(options: Sequence[Sequence[Option]], most: int) -> int | None:
    """Return with how few distinct multipliers all genes can be served.

    Args:
        options: The options of every gene.
        most: More than these are of no interest.

    Returns:
        The least number; None if it is above ``most``.

    Example:
        >>> from axopt.problem import options_of
        >>> options = options_of(["mul8s_1KV8", "mul8s_1L2H"], False)
        >>> fewest([options, options[:1]], most=2), fewest([options[1:], options[:1]], most=1)
        (1, None)
    """
    tables = [{_table_of(o.multiplier) for o in of_gene} for of_gene in options]
    for number in range(1, min(most, len(options)) + 1):
        if _cover(tables, number, {}) is not None:
            return number
    return None


def _shares(
    genes: Genes, options: Sequence[Sequence[Option]], macs: Sequence[int]
) -> dict[Table, int]:
    """Return the multiplications that each multiplier in use does."""
    shares: dict[Table, int] = {}
    for gene, of_gene, count in zip(genes, options, macs, strict=True):
        table = _table_of(of_gene[gene].multiplier)
        shares[table] = shares.get(table, 0) + count
    return shares


def _first_of_tables(genes: Genes, options: Sequence[Sequence[Option]]) -> dict[Table, Multiplier]:
    """Return one multiplier in use for each table: of several, the one with the most power."""
    used = {of_gene[g].multiplier for g, of_gene in zip(genes, options, strict=True)}
    first: dict[Table, Multiplier] = {}
    for multiplier in sorted(used, key=lambda m: (-m.power_mw, m.key)):
        first.setdefault(_table_of(multiplier), multiplier)
    return first


def _replaced(
    genes: Genes,
    options: Sequence[Sequence[Option]],
    gone: Table,
    power: float,
    left: Mapping[Table, Multiplier],
) -> Genes | None:
    """Return genes without a multiplier; None if a gene may have none of ``left``."""
    found = []
    for gene, of_gene in zip(genes, options, strict=True):
        if _table_of(of_gene[gene].multiplier) == gone:
            number = _nearest(of_gene, power, of_gene[gene].swap, left)
            if number is None:
                return None
            gene = number
        found.append(gene)
    return tuple(found)


def _nearest(
    options: Sequence[Option], power: float, swap: bool, left: Mapping[Table, Multiplier]
) -> int | None:
    """Return the number of the option with a table of ``left`` that is nearest in power."""
    allowed = [n for n, o in enumerate(options) if _table_of(o.multiplier) in left]
    return min(
        allowed,
        key=lambda n: (
            options[n].multiplier is not left[_table_of(options[n].multiplier)],
            abs(options[n].multiplier.power_mw - power),
            options[n].multiplier.power_mw,
            options[n].multiplier.key,
            options[n].swap != swap,
        ),
        default=None,
    )


def _served(
    genes: Genes, options: Sequence[Sequence[Option]], shares: Mapping[Table, int], most: int
) -> Genes:
    """Return the point whose genes have the nearest options in a set that serves all of them."""
    tables = [{_table_of(o.multiplier) for o in of_gene} for of_gene in options]
    cover = _cover(tables, most, shares)
    if cover is None:  # refused before the search
        raise AssertionError(f"no {most} multipliers serve all genes")
    every = {_table_of(o.multiplier): o.multiplier for of_gene in options for o in of_gene}
    left = {table: every[table] for table in cover}
    given = [of_gene[gene] for gene, of_gene in zip(genes, options, strict=True)]
    numbers = (
        _nearest(of_gene, old.multiplier.power_mw, old.swap, left)
        for of_gene, old in zip(options, given, strict=True)
    )
    return tuple(number for number in numbers if number is not None)


def _cover(
    sets: Sequence[Collection[Table]], most: int, shares: Mapping[Table, int]
) -> frozenset[Table] | None:
    """Return at most ``most`` tables of which every set has one; None if there are none.

    Of several answers the first is returned, where tables are tried by falling share.
    """
    distinct = sorted({frozenset(s) for s in sets}, key=lambda s: (len(s), sorted(s)))

    def search(chosen: frozenset[Table], left: int) -> frozenset[Table] | None:
        missing = [s for s in distinct if not s & chosen]
        if not missing:
            return chosen
        if _disjoint(missing) > left:
            return None
        for table in sorted(missing[0], key=lambda t: (-shares.get(t, 0), t)):
            found = search(chosen | {table}, left - 1)
            if found is not None:
                return found
        return None

    return search(frozenset(), most)


def _disjoint(sets: Sequence[frozenset[Table]]) -> int:
    """Return a number of sets no two of which share a table: each needs a table of its own."""
    taken: set[Table] = set()
    number = 0
    for tables in sets:
        if not tables & taken:
            taken |= tables
            number += 1
    return number


def _table_of(multiplier: Multiplier) -> Table:
    return multiplier.signed, multiplier.digest
