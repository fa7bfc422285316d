"""The points that a search chooses from, and the bookkeeping of those not seen yet."""

import math
from dataclasses import dataclass

import numpy as np

from axopt.errors import ArgumentError

Genes = tuple[int, ...]
"""One gene a layer: the index of the layer's multiplier among its choices."""


@dataclass(frozen=True)
class SearchSpace:
    """A finite grid: layer ``names[i]`` has the choices ``0 .. sizes[i] - 1``.

    Args:
        names: Layer names, in execution order, distinct.
        sizes: Number of choices of each layer, at least 1.

    Raises:
        ArgumentError: If there is no layer, a name repeats, a size is below 1 or the two
            tuples differ in length.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

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

    @property
    def n_points(self) -> int:
        """The number of points, exact however large."""
        return math.prod(self.sizes)

    def contains(self, genes: Genes) -> bool:
        """Whether ``genes`` is a point of this space."""
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
        """Whether ``genes`` is still unseen."""
        return genes not in self._seen

    def mark(self, genes: Genes) -> None:
        """Count ``genes`` as seen."""
        self._seen.add(genes)

    def draw(self) -> Genes | None:
        """A random unseen point; None when there is none.

        A seen draw moves on to the next unseen point in lexicographic order, so the draw ends
        after at most as many steps as points were seen, even in an almost exhausted space.
        """
        if len(self._seen) >= self._space.n_points:
            return None
        genes = tuple(int(gene) for gene in self._rng.integers(0, self._space.sizes))
        while genes in self._seen:
            genes = self._successor(genes)
        self.mark(genes)
        return genes

    def near(self, genes: Genes) -> Genes | None:
        """A random unseen point with one gene changed, else `draw`."""
        neighbours = [
            (*genes[:layer], choice, *genes[layer + 1 :])
            for layer, size in enumerate(self._space.sizes)
            for choice in range(size)
        ]
        unseen = [point for point in neighbours if point in self]
        if not unseen:
            return self.draw()
        point = unseen[int(self._rng.integers(len(unseen)))]
        self.mark(point)
        return point

    def _successor(self, genes: Genes) -> Genes:
        """The next point in lexicographic order, the first after the last."""
        following = list(genes)
        for layer in reversed(range(len(following))):
            following[layer] += 1
            if following[layer] < self._space.sizes[layer]:
                break
            following[layer] = 0
        return tuple(following)
