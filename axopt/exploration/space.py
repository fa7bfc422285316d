"""The points that a search chooses from, and the bookkeeping of those not seen yet."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from axopt.errors import ArgumentError

Genes = tuple[int, ...]
"""One gene a layer or group of layers: the number of one of its options."""

COMBINES = ("sum", "max", "distinct")
"""How values of genes make an objective, see `Known`."""


@dataclass(frozen=True)
class Known:
    """What is known of one objective before any evaluation: one value an option of every gene.

    Args:
        objective: Position of the objective, 0 for the first.
        values: One tuple a gene with one value an option.
        exact: Whether the combined values are the objective, as for power; otherwise they are an
            estimate, as sensitivities are.
        combine: How values of genes make the objective of a point: "sum" (power), "max" (delay)
            or "distinct" (values are numbers of multipliers; the number of distinct ones).

    Example:
        >>> from axopt.exploration import Known
        >>> power = Known(objective=1, values=((0.5, 0.3), (0.5, 0.1)), exact=True)
        >>> round(power.estimate((1, 1)), 6)
        0.4
        >>> Known(1, ((3.0, 2.0), (3.0, 1.0)), exact=True, combine="max").estimate((1, 1))
        2.0
        >>> Known(1, ((0.0, 1.0), (0.0, 1.0)), exact=True, combine="distinct").estimate((1, 1))
        1.0
    """

    objective: int
    values: tuple[tuple[float, ...], ...]
    exact: bool
    combine: str = "sum"

    def estimate(self, genes: Genes) -> float:
        """Return the combined values of ``genes``."""
        chosen = (of_gene[gene] for of_gene, gene in zip(self.values, genes, strict=True))
        if self.combine == "distinct":
            return float(len(set(chosen)))
        return math.fsum(chosen) if self.combine == "sum" else max(chosen)


@dataclass(frozen=True)
class SearchSpace:
    """A finite grid: gene ``names[i]`` has the options ``0 .. sizes[i] - 1``.

    What is known and what is of interest is no part of what makes two spaces equal.

    Args:
        names: Names of the genes, distinct; for layers in the order of execution.
        sizes: Number of options of each gene, at least 1.
        known: What is known of objectives before any evaluation, at most once an objective.
            Algorithms may use it.
        kinds: Number of the multiplier of every option of every gene: options that differ only in
            the operand order have one kind. () where options have no kinds.
        max_kinds: Most distinct kinds of a point, None for any number. The loop repairs
            proposals that have more.
        limits: Worst value of interest of every objective, None for no limit; () for none at all.
            Algorithms should look for points within them.

    Raises:
        ArgumentError: If there is no gene, a name repeats, a size is below 1, the two tuples
            differ in length, ``known`` does not have one finite value an option, or ``kinds``,
            ``max_kinds`` or ``limits`` do not fit.

    Example:
        >>> from axopt.exploration import SearchSpace
        >>> space = SearchSpace(("conv", "fc"), (13, 13))
        >>> space.n_points, space.contains((0, 12)), space.contains((0, 13))
        (169, True, False)
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    known: tuple[Known, ...] = field(default=(), compare=False)
    kinds: tuple[tuple[int, ...], ...] = field(default=(), compare=False, kw_only=True)
    max_kinds: int | None = field(default=None, compare=False, kw_only=True)
    limits: tuple[float | None, ...] = field(default=(), compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.sizes):
            raise ArgumentError(
                f"`sizes` must have one entry a name, got {len(self.sizes)} for "
                f"{len(self.names)} names."
            )
        if not self.names:
            raise ArgumentError("`names` must hold at least one layer, got none.")
        if len(set(self.names)) != len(self.names):
            raise ArgumentError(f"`names` must be distinct, got {list(self.names)}.")
        for name, size in zip(self.names, self.sizes, strict=True):
            if size < 1:
                raise ArgumentError(f"`sizes` must be >= 1, got {size} for layer {name!r}.")
        self._check_known()
        if self.kinds and tuple(map(len, self.kinds)) != self.sizes:
            raise ArgumentError("`kinds` must have one number an option of every gene.")
        if self.max_kinds is not None and (self.max_kinds < 1 or not self.kinds):
            raise ArgumentError(
                f"`max_kinds` must be >= 1, in a space with `kinds`, got {self.max_kinds}."
            )
        if not all(limit is None or math.isfinite(limit) for limit in self.limits):
            raise ArgumentError(f"`limits` must be finite or None, got {self.limits}.")

    def _check_known(self) -> None:
        if len({known.objective for known in self.known}) != len(self.known):
            raise ArgumentError("`known` must hold each objective once.")
        for known in self.known:
            if known.combine not in COMBINES:
                raise ArgumentError(
                    f"`combine` must be one of {', '.join(COMBINES)}, got {known.combine!r}."
                )
            fits = tuple(map(len, known.values)) == self.sizes
            if not fits or not all(math.isfinite(v) for gene in known.values for v in gene):
                raise ArgumentError(
                    "`known` must have one finite value an option of every gene, got "
                    f"{known.values!r} for objective {known.objective}."
                )

    @property
    def additive(self) -> tuple[Known, ...]:
        """What is known of objectives that are sums over genes, exact or estimated."""
        return tuple(known for known in self.known if known.combine == "sum")

    def known_of(self, objective: int) -> Known | None:
        """Return what is known of an objective, None if nothing is.

        Args:
            objective: Its position, 0 for the first.
        """
        return next((known for known in self.known if known.objective == objective), None)

    def n_kinds(self, genes: Genes) -> int:
        """Return the number of distinct kinds of a point; 0 in a space without kinds."""
        return len({of_gene[gene] for of_gene, gene in zip(self.kinds, genes, strict=False)})

    @property
    def n_points(self) -> int:
        """Number of points, an exact integer however large."""
        return math.prod(self.sizes)

    def contains(self, genes: Genes) -> bool:
        """Return whether ``genes`` is a point of this space."""
        return len(genes) == len(self.sizes) and all(
            0 <= gene < size for gene, size in zip(genes, self.sizes, strict=True)
        )


class Unseen:
    """Hands out points that were not seen before; every point handed out counts as seen.

    Args:
        space: The space to draw from.
        rng: The generator of every draw, advanced by them.
    """

    def __init__(self, space: SearchSpace, rng: np.random.Generator) -> None:
        self._space = space
        self._rng = rng
        self._seen: set[Genes] = set()

    def __contains__(self, genes: Genes) -> bool:
        """Return whether ``genes`` is still unseen."""
        return genes not in self._seen

    def mark(self, genes: Genes) -> None:
        """Count ``genes`` as seen."""
        self._seen.add(genes)

    def draw(self) -> Genes | None:
        """Return a random unseen point; None when there is none.

        If the point drawn was seen, the next unseen one in lexicographic order is taken. So a
        draw takes at most as many steps as points were seen, even in an almost exhausted space.
        """
        if len(self._seen) >= self._space.n_points:
            return None
        genes = tuple(int(gene) for gene in self._rng.integers(0, self._space.sizes))
        while genes in self._seen:
            genes = self._successor(genes)
        self.mark(genes)
        return genes

    def near(self, genes: Genes) -> Genes | None:
        """Return a random unseen point with one gene changed; if there is none, `draw`."""
        neighbours = [
            (*genes[:layer], option, *genes[layer + 1 :])
            for layer, size in enumerate(self._space.sizes)
            for option in range(size)
        ]
        unseen = [point for point in neighbours if point in self]
        if not unseen:
            return self.draw()
        point = unseen[int(self._rng.integers(len(unseen)))]
        self.mark(point)
        return point

    def _successor(self, genes: Genes) -> Genes:
        """Return the next point in lexicographic order; after the last one, the first."""
        following = list(genes)
        for layer in reversed(range(len(following))):
            following[layer] += 1
            if following[layer] < self._space.sizes[layer]:
                break
            following[layer] = 0
        return tuple(following)
