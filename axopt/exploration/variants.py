"""Small problems of all kinds that a search may meet, for conformance checks of algorithms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from axopt.exploration.space import Genes, Known, SearchSpace
from axopt.exploration.trial import Outcome

SIZES = (4, 1, 3, 6, 2)


class Variant:
    """Loss, power and perhaps a third objective of a made-up network with uneven genes.

    The loss grows with the options and with neighbours that are both cheap; the power falls.

    Args:
        estimated: Whether the space estimates the loss, with an error of a quarter.
        third: How values of genes make a third objective, "sum", "max" or "distinct"; "" for none.
        max_kinds: Most distinct kinds of a point.
        limits: Worst values of interest.
        costs_known: Whether the space knows power and third objective.

    Example:
        >>> Variant(third="distinct").evaluate((3, 0, 1, 5, 1)).objectives
        (65.0, 11.125, 4.0)
    """

    def __init__(
        self,
        *,
        estimated: bool = False,
        third: str = "",
        max_kinds: int | None = None,
        limits: tuple[float | None, ...] = (),
        costs_known: bool = True,
    ) -> None:
        loss = [[(gene % 2 + 1) * option**2 * 1.25 for option in range(size)] for gene, size in _G]
        power = [[(gene + 1) * (1 - option / 8) for option in range(size)] for gene, size in _G]
        kinds = tuple(tuple(range(size)) for size in SIZES)
        values = [[6.0 - option for option in range(size)] for _, size in _G]
        if third == "distinct":
            values = [[float(kind) for kind in of_gene] for of_gene in kinds]
        known = [Known(1, _frozen(power), exact=True)] if costs_known else []
        self.objective_names: tuple[str, ...] = ("loss", "power")
        self._third = Known(2, _frozen(values), exact=True, combine=third) if third else None
        if self._third is not None:
            self.objective_names += ("third",)
            known += [self._third] if costs_known else []
        if estimated:
            known.append(Known(0, _frozen(loss), exact=False))
        self.space = SearchSpace(
            tuple(f"layer{gene}" for gene, _ in _G),
            SIZES,
            tuple(known),
            kinds=kinds,
            max_kinds=max_kinds,
            limits=limits,
        )

    def evaluate(self, genes: Genes) -> Outcome:
        """Return the objectives of ``genes``, exact in binary floating point."""
        loss = float(sum((gene % 2 + 1) * option**2 for gene, option in enumerate(genes)))
        loss += 2.0 * sum(a + b > 4 for a, b in zip(genes[:-1], genes[1:], strict=True))
        power = sum((gene + 1) * (1 - option / 8) for gene, option in enumerate(genes))
        third = () if self._third is None else (self._third.estimate(genes),)
        return Outcome((loss, power, *third))

    def repaired(self, genes: Genes) -> Genes:
        """Return genes with no more kinds than allowed: the largest options become smaller."""
        most = self.space.max_kinds
        while most is not None and self.space.n_kinds(genes) > most:
            kinds = sorted(set(genes))
            genes = tuple(kinds[-2] if gene == kinds[-1] else gene for gene in genes)
        return genes


_G = tuple(enumerate(SIZES))


def _frozen(values: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values))


VARIANTS: dict[str, Callable[[bool], Variant]] = {
    "genes of different sizes": lambda estimated: Variant(estimated=estimated),
    "few kinds": lambda estimated: Variant(estimated=estimated, max_kinds=3),
    "limits": lambda estimated: Variant(estimated=estimated, limits=(20.0, 12.0)),
    "a maximum": lambda estimated: Variant(estimated=estimated, third="max"),
    "a number of kinds": lambda estimated: Variant(
        estimated=estimated, third="distinct", limits=(None, None, 3.0)
    ),
    "unknown costs": lambda estimated: Variant(
        estimated=estimated, third="sum", costs_known=False
    ),
}
"""Name -> makes the problem; the argument says whether the loss is estimated."""
